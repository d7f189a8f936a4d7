package store_test

import (
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"gantry/server/broker"
	"gantry/server/store"
)

const lease = 30 * time.Second

func newTask() *broker.Task {
	return &broker.Task{
		Kind: "create", State: broker.TaskReady, StepName: "first", StepSince: start, CreatedAt: start, UpdatedAt: start,
		RunAfter: start, Deadline: start.Add(time.Hour),
	}
}

func addTask(t testing.TB, s broker.Tx, change ...func(task *broker.Task)) *broker.Task {
	t.Helper()
	task := newTask()
	for _, each := range change {
		each(task)
	}
	check(t, s.InsertTask(t.Context(), task))
	return task
}

func claim(t testing.TB, s broker.Tx, owner string, count int, limits broker.TaskLimits, now time.Time) []broker.Task {
	t.Helper()
	tasks, err := s.ClaimTasks(t.Context(), owner, count, limits, now, now.Add(lease))
	check(t, err)
	return tasks
}

func claimOne(t testing.TB, s broker.Tx, owner string, now time.Time) *broker.Task {
	t.Helper()
	tasks := claim(t, s, owner, 1, broker.TaskLimits{}, now)
	if len(tasks) != 1 {
		t.Fatalf("claimed %d tasks, want 1", len(tasks))
	}
	return &tasks[0]
}

func findTask(t testing.TB, s broker.Tx, id int64) *broker.Task {
	t.Helper()
	task, err := s.FindTask(t.Context(), id)
	check(t, err)
	return task
}

func ids(tasks []broker.Task) (list []int64) {
	for _, task := range tasks {
		list = append(list, task.ID)
	}
	return list
}

func TestTasksAreKeptWhole(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		vm, end := int64(4), start.Add(time.Minute)
		task := &broker.Task{
			Kind: "create", VM: &vm, ClusterID: 1, NodeID: 2, State: broker.TaskWaiting, Undoing: true, Step: 3, StepName: "start",
			StepSince: start, Data: []byte(`{"a":"中"}`), Operation: "UPID:x", OperationNode: "pve1", Progress: 40, Note: "n", Error: "e",
			Reason: broker.ReasonCancelled, Attempts: 2, Deadline: start.Add(time.Hour), RunAfter: start.Add(time.Second),
			IdempotencyKey: "create:4", Tenant: 5, NodeKey: "node/2", StorageKey: "s", TemplateKey: "t", CancelledBy: "admin:x",
			RequestedBy: "api:1", RequestID: "r", CreatedAt: start, UpdatedAt: start, FinishedAt: &end,
		}
		check(t, s.InsertTask(ctx, task))
		if found := findTask(t, s, task.ID); !reflect.DeepEqual(found, task) {
			t.Errorf("got  %+v\nwant %+v", found, task)
		}
		if found, err := s.FindTaskByKey(ctx, "create:4"); err != nil || found.ID != task.ID {
			t.Errorf("by key: %+v, %v", found, err)
		}
		refused(t, s.InsertTask(ctx, &broker.Task{Kind: "create", IdempotencyKey: "create:4"}), broker.Exists, "the same key twice")
		addTask(t, s)
		addTask(t, s) // no key is no key
		_, err := s.FindTask(ctx, 999)
		refused(t, err, broker.NotFound, "unknown task")
		_, err = s.FindTaskByKey(ctx, "")
		refused(t, err, broker.NotFound, "empty key")
		_, err = s.ListTaskSteps(ctx, 999)
		refused(t, err, broker.NotFound, "history of an unknown task")
	})
}

func TestTaskLists(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		vm := int64(7)
		ready := addTask(t, s, func(task *broker.Task) { task.VM = &vm })
		done := addTask(t, s, func(task *broker.Task) { task.State = broker.TaskDone })
		stuck := addTask(t, s, func(task *broker.Task) { task.State, task.Kind, task.VM = broker.TaskStuck, "delete", &vm })
		waiting := addTask(t, s, func(task *broker.Task) { task.State = broker.TaskWaiting })
		for what, row := range map[string]struct {
			filter broker.TaskFilter
			want   []int64
		}{
			"newest first": {broker.TaskFilter{}, []int64{waiting.ID, stuck.ID, done.ID, ready.ID}},
			"of a VM":      {broker.TaskFilter{VM: 7}, []int64{stuck.ID, ready.ID}},
			"final":        {broker.TaskFilter{State: broker.TaskDone}, []int64{done.ID}},
			"kind":         {broker.TaskFilter{Kind: "delete"}, []int64{stuck.ID}},
			"active":       {broker.TaskFilter{Active: true}, []int64{waiting.ID, ready.ID}},
			"active of VM": {broker.TaskFilter{Active: true, VM: 7}, []int64{ready.ID}},
		} {
			list, total, err := s.ListTasks(ctx, row.filter, broker.Page{Number: 1, Size: 10})
			if err != nil || int(total) != len(row.want) || !slices.Equal(ids(list), row.want) {
				t.Errorf("%s: %v of %d, %v, want %v", what, ids(list), total, err, row.want)
			}
		}
	})
}

func TestAClaimedTaskIsNobodyElses(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		task := addTask(t, s)
		early := addTask(t, s, func(task *broker.Task) { task.RunAfter = start.Add(time.Second) })
		claimed := claim(t, s, "a", 5, broker.TaskLimits{}, start)
		if len(claimed) != 1 || claimed[0].ID != task.ID || claimed[0].State != broker.TaskRunning || claimed[0].Attempts != 1 ||
			claimed[0].LeaseOwner != "a" || !claimed[0].LeaseUntil.Equal(start.Add(lease)) {
			t.Fatalf("claimed %+v", claimed)
		}
		held := claimed[0]
		if got := claim(t, s, "b", 5, broker.TaskLimits{}, start.Add(time.Second)); !slices.Equal(ids(got), []int64{early.ID}) {
			t.Fatalf("the second claim got %v", ids(got))
		}
		next := held
		refused(t, s.SaveTask(ctx, &next, "b", nil), broker.Conflict, "saving under another's lease")
		check(t, s.RenewLeases(ctx, "b", []int64{task.ID}, start.Add(time.Hour))) // is not b's: nothing happens
		check(t, s.EndLeases(ctx, "b", start))
		check(t, s.RenewLeases(ctx, "a", []int64{task.ID}, start.Add(2*lease)))
		if got := claim(t, s, "b", 1, broker.TaskLimits{}, start.Add(lease)); slices.Contains(ids(got), task.ID) {
			t.Error("a renewed lease was taken over")
		}
		taken := claim(t, s, "c", 5, broker.TaskLimits{}, start.Add(2*lease))
		index := slices.Index(ids(taken), task.ID)
		if index < 0 || taken[index].Attempts != 2 || taken[index].LeaseOwner != "c" {
			t.Fatalf("a lease that ran out: %+v", taken)
		}
		refused(t, s.SaveTask(ctx, &held, "a", nil), broker.Conflict, "saving under a lost lease")
		refused(t, s.SaveTask(ctx, &broker.Task{ID: 999, State: broker.TaskRunning}, "a", nil), broker.Conflict, "saving an unknown task")
	})
}

func TestWhoDiedTakesItsTasksBackAtOnce(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		dead := addTask(t, s)
		claimOne(t, s, "a", start)
		addTask(t, s)
		claimOne(t, s, "b", start)
		check(t, s.EndLeases(t.Context(), "a", start.Add(time.Second)))
		got := claim(t, s, "a", 5, broker.TaskLimits{}, start.Add(time.Second))
		if !slices.Equal(ids(got), []int64{dead.ID}) || got[0].Attempts != 2 {
			t.Errorf("got %+v", got)
		}
	})
}

func TestSavingATask(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		addTask(t, s)
		task := claimOne(t, s, "a", start)
		until := start.Add(2 * lease)
		task.Step, task.StepName, task.StepSince, task.Data, task.Progress = 1, "second", start.Add(time.Second), []byte(`{"b":1}`), 60
		task.Undoing, task.Error, task.Reason, task.Note, task.Attempts, task.LeaseUntil = true, "e", broker.ReasonVMBusy, "n", 1, &until
		task.Deadline, task.UpdatedAt = start.Add(2*time.Hour), start.Add(time.Second)
		first := &broker.TaskStep{TaskID: task.ID, Name: "first", State: "done", Note: "a\nb", Operation: "UPID", StartedAt: start, EndedAt: start.Add(time.Second)}
		check(t, s.SaveTask(ctx, task, "a", first))
		if found := findTask(t, s, task.ID); !reflect.DeepEqual(found, task) {
			t.Errorf("got  %+v\nwant %+v", found, task)
		}
		check(t, s.SaveTask(ctx, task, "a", nil))
		second := &broker.TaskStep{TaskID: task.ID, Name: "second", Undo: true, State: "failed", StartedAt: start, EndedAt: start}
		task.Progress, task.State, task.RunAfter = 10, broker.TaskReady, start.Add(time.Minute)
		check(t, s.SaveTask(ctx, task, "a", second))
		found := findTask(t, s, task.ID)
		if found.Progress != 60 || found.LeaseOwner != "" || found.LeaseUntil != nil || task.LeaseOwner != "" {
			t.Errorf("progress falls, or the lease does not end: %+v", found)
		}
		first.Number, second.Number = 1, 2
		if steps, err := s.ListTaskSteps(ctx, task.ID); err != nil || !reflect.DeepEqual(steps, []broker.TaskStep{*first, *second}) {
			t.Errorf("history %+v, %v", steps, err)
		}
		refused(t, s.SaveTask(ctx, task, "a", second), broker.Conflict, "saving after the lease ended")
	})
}

func TestCancellingAndRetrying(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		later := start.Add(time.Minute)
		addTask(t, s)
		task := claimOne(t, s, "a", start)
		check(t, s.RequestCancel(ctx, task.ID, "admin:x", later))
		check(t, s.RequestCancel(ctx, task.ID, "admin:y", later)) // is under way already
		check(t, s.SaveTask(ctx, task, "a", nil))
		if task.CancelledBy != "admin:x" {
			t.Errorf("the save did not read the cancel back: %q", task.CancelledBy)
		}
		task.State, task.Undoing = broker.TaskStuck, true
		check(t, s.SaveTask(ctx, task, "a", nil))
		refused(t, s.RequestCancel(ctx, task.ID, "admin:x", later), broker.Conflict, "cancelling what has ended")
		check(t, s.RetryTask(ctx, task.ID, start.Add(2*time.Hour), later))
		again := claimOne(t, s, "b", later)
		if !again.Undoing || again.Attempts != 2 || !again.Deadline.Equal(start.Add(2*time.Hour)) || again.FinishedAt != nil || again.CancelledBy != "admin:x" {
			t.Errorf("retried: %+v", again)
		}
		refused(t, s.RetryTask(ctx, task.ID, later, later), broker.Conflict, "retrying what is not stuck")
		waiting := addTask(t, s, func(task *broker.Task) { task.State, task.RunAfter = broker.TaskWaiting, start.Add(time.Hour) })
		check(t, s.RequestCancel(ctx, waiting.ID, "admin:x", later))
		if got := claimOne(t, s, "a", later); got.ID != waiting.ID || got.CancelledBy != "admin:x" {
			t.Errorf("a cancelled task was not woken: %+v", got)
		}
		refused(t, s.RequestCancel(ctx, 999, "x", later), broker.NotFound, "cancelling an unknown task")
		refused(t, s.RetryTask(ctx, 999, later, later), broker.NotFound, "retrying an unknown task")
	})
}

func TestWaitingTasks(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		far := start.Add(time.Hour)
		task := addTask(t, s, func(task *broker.Task) {
			task.State, task.ClusterID, task.Operation, task.RunAfter, task.Progress = broker.TaskWaiting, 3, "UPID:1", far, 20
		})
		addTask(t, s, func(task *broker.Task) { task.State, task.ClusterID, task.RunAfter = broker.TaskWaiting, 3, far })
		addTask(t, s, func(task *broker.Task) { task.Operation, task.RunAfter = "UPID:2", far })
		for cluster, want := range map[int64]int{0: 1, 3: 1, 4: 0} {
			if list, err := s.WaitingTasks(ctx, cluster); err != nil || len(list) != want {
				t.Errorf("waiting in cluster %d: %d, %v", cluster, len(list), err)
			}
		}
		check(t, s.NoteProgress(ctx, task.ID, "UPID:1", 43, "downloading"))
		check(t, s.NoteProgress(ctx, task.ID, "UPID:1", 30, "downloading still"))
		if found := findTask(t, s, task.ID); found.Progress != 43 || found.Note != "downloading still" {
			t.Errorf("noted %+v", found)
		}
		for what, err := range map[string]error{
			"wake for another operation": s.WakeTask(ctx, task.ID, "UPID:9", start), "note for another operation": s.NoteProgress(ctx, task.ID, "UPID:9", 99, ""),
			"wake an unknown task": s.WakeTask(ctx, 999, "UPID:1", start),
		} {
			refused(t, err, broker.NotFound, what)
		}
		if got := claim(t, s, "a", 5, broker.TaskLimits{}, start); len(got) != 0 {
			t.Errorf("claimed what waits: %v", ids(got))
		}
		check(t, s.WakeTask(ctx, task.ID, "UPID:1", start))
		woken := claimOne(t, s, "a", start)
		if woken.ID != task.ID || woken.Operation != "UPID:1" || woken.Attempts != 1 {
			t.Errorf("woken: %+v", woken)
		}
		refused(t, s.WakeTask(ctx, task.ID, "UPID:1", start), broker.NotFound, "wake what runs")
	})
}

func TestNextRunAfter(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		next := func(want time.Time, what string) {
			t.Helper()
			if got, err := s.NextRunAfter(t.Context()); err != nil || !got.Equal(want) {
				t.Errorf("%s: %v, %v, want %v", what, got, err, want)
			}
		}
		next(time.Time{}, "no task")
		addTask(t, s, func(task *broker.Task) { task.State = broker.TaskDone })
		next(time.Time{}, "a task that has ended")
		addTask(t, s, func(task *broker.Task) { task.State, task.RunAfter = broker.TaskWaiting, start.Add(time.Hour) })
		next(start.Add(time.Hour), "one that waits")
		addTask(t, s)
		next(start, "one that is ready")
		claimOne(t, s, "a", start)
		next(start.Add(lease), "one that runs")
	})
}

func TestTenantsTakeTurns(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		var order []int64
		for _, tenant := range []int64{1, 1, 1, 1, 1, 1, 2, 2, 3} {
			addTask(t, s, func(task *broker.Task) { task.Tenant = tenant })
		}
		for _, count := range []int{1, 2, 1, 3, 2} {
			for _, task := range claim(t, s, "a", count, broker.TaskLimits{}, start.Add(time.Duration(len(order))*time.Second)) {
				order = append(order, task.Tenant)
			}
		}
		if want := []int64{1, 2, 3, 1, 2, 1, 1, 1, 1}; !slices.Equal(order, want) {
			t.Errorf("turns %v, want %v", order, want)
		}
	})
}

func TestLimits(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		limits := broker.TaskLimits{PerNode: 4, PerStorage: 2, PerTemplate: 1}
		add := func(node, storage, template string) int64 {
			return addTask(t, s, func(task *broker.Task) { task.NodeKey, task.StorageKey, task.TemplateKey = node, storage, template }).ID
		}
		var want []int64
		for i := range 40 { // a long queue in front of one node
			if id := add("n1", "", ""); i < 4 {
				want = append(want, id)
			}
		}
		for i := range 3 { // shared storage
			if id := add("n2", "s", ""); i < 2 {
				want = append(want, id)
			}
		}
		for i := range 2 { // template
			if id := add("n3", "", "t"); i < 1 {
				want = append(want, id)
			}
		}
		want = append(want, add("", "", ""), add("n3", "s2", "t2"))
		got := ids(claim(t, s, "a", 20, limits, start))
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Fatalf("claimed %v, want %v", got, want)
		}
		none := func(what string) {
			t.Helper()
			if got := claim(t, s, "b", 20, limits, start); len(got) != 0 {
				t.Errorf("%s: claimed %v beyond the limits", what, ids(got))
			}
		}
		none("all running")
		waits := findTask(t, s, want[0])
		waits.State, waits.RunAfter, waits.Operation = broker.TaskWaiting, start.Add(time.Hour), "UPID"
		check(t, s.SaveTask(ctx, waits, "a", nil))
		none("one waits")
		check(t, s.WakeTask(ctx, waits.ID, "UPID", start))
		if got := ids(claim(t, s, "a", 20, limits, start)); !slices.Equal(got, want[:1]) {
			t.Errorf("a woken task has to wait for the limits, or others passed it: %v", got)
		}
		for number, state := range []broker.TaskState{broker.TaskDone, broker.TaskReady, broker.TaskUndone} {
			ends := findTask(t, s, want[number])
			ends.State, ends.RunAfter = state, start.Add(time.Hour)
			check(t, s.SaveTask(ctx, ends, "a", nil))
			if got := claim(t, s, "a", 20, limits, start); len(got) != 1 || got[0].NodeKey != "n1" {
				t.Errorf("after one became %s, claimed %v", state, ids(got))
			}
		}
	})
}

func TestConcurrentClaims(t *testing.T) {
	const tasks, nodes = 300, 5
	for name, dsn := range databases {
		t.Run(name, func(t *testing.T) {
			d := dsn(t)
			servers := []*store.Store{open(t, d), open(t, d)}
			for i := range tasks {
				addTask(t, servers[0], func(task *broker.Task) { task.NodeKey, task.Tenant = fmt.Sprint("n", i%nodes), int64(i%7) })
			}
			limits := broker.TaskLimits{PerNode: 4}
			var mu sync.Mutex
			atWork, ran := map[string]int{}, map[int64]int{}
			var group sync.WaitGroup
			for worker := range 8 {
				s, owner := servers[worker%2], fmt.Sprint("engine-", worker)
				group.Go(func() {
					for {
						claimed, err := s.ClaimTasks(t.Context(), owner, 1+worker%3, limits, start, start.Add(lease))
						if err != nil {
							t.Error(err)
							return
						}
						mu.Lock()
						for _, task := range claimed {
							ran[task.ID]++
							if atWork[task.NodeKey]++; atWork[task.NodeKey] > 4 {
								t.Errorf("%d tasks at work on %s", atWork[task.NodeKey], task.NodeKey)
							}
						}
						all := len(ran) == tasks
						mu.Unlock()
						for _, task := range claimed {
							mu.Lock()
							atWork[task.NodeKey]--
							mu.Unlock()
							task.State = broker.TaskDone
							if err := s.SaveTask(t.Context(), &task, owner, nil); err != nil {
								t.Error(err)
								return
							}
						}
						if all || t.Failed() {
							return
						}
					}
				})
			}
			group.Wait()
			for id, times := range ran {
				if times != 1 {
					t.Errorf("task %d was claimed %d times", id, times)
				}
			}
		})
	}
}

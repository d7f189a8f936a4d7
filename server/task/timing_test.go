package task_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
	"gantry/server/task"
)

// The tests of this file run in synctest bubbles, on SQLite: minutes pass at once.

func TestFailuresForNowAreTriedAgainUntilTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var entered []time.Duration
		begun := time.Now()
		b := newBench(t, openStore(t, databases["sqlite"](t)), func(b *bench) []task.Workflow {
			workflow := threeSteps(b, func(steps []task.Step) {
				steps[1].Do = func(_ context.Context, run *task.Run) (task.Outcome, error) {
					if run.Attempt != len(entered)+1 {
						t.Errorf("entry %d is attempt %d", len(entered)+1, run.Attempt)
					}
					entered = append(entered, time.Since(begun).Round(100*time.Millisecond))
					return task.Outcome{}, broker.Errorf(broker.Unreachable, "no route to pve1")
				}
			})
			workflow.Deadline = time.Minute
			return []task.Workflow{workflow}
		})
		b.start()
		id := b.add("three")
		undone := b.awaitState(id, broker.TaskUndone)
		// Pauses of 0.5, 1, 2, 4, 8, 16 and 30 s, the last cut off by the deadline.
		want := []time.Duration{0, 500, 1500, 3500, 7500, 15500, 31500}
		if len(entered) != len(want) {
			t.Fatalf("entered at %v", entered)
		}
		for i := range want {
			if entered[i] != want[i]*time.Millisecond {
				t.Errorf("entry %d at %v, want %v", i+1, entered[i], want[i]*time.Millisecond)
			}
		}
		if over := time.Since(begun); over < time.Minute || over > time.Minute+time.Second {
			t.Errorf("undone after %v, the deadline is a minute", over)
		}
		if undone.Reason != broker.ReasonTaskDeadline || undone.Error != "not finished in time: b (trying again: no route to pve1)" {
			t.Errorf("undone: %q", undone.Error)
		}
		wantEvents(t, b.history(id), "a done", "b retried", "b retried", "b retried", "b failed", "b undo done", "a undo done")
	})
}

func TestUndoingHasADeadlineOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, openStore(t, databases["sqlite"](t)), func(b *bench) []task.Workflow {
			workflow := threeSteps(b, func(steps []task.Step) {
				steps[2].Do = func(context.Context, *task.Run) (task.Outcome, error) {
					return task.Outcome{}, broker.Errorf(broker.Failed, "no")
				}
				steps[1].Undo = func(context.Context, *task.Run) (task.Outcome, error) {
					return task.Outcome{}, broker.Errorf(broker.Locked, "backup is running")
				}
			})
			workflow.Deadline, workflow.UndoDeadline = time.Minute, 2*time.Hour
			return []task.Workflow{workflow}
		})
		b.start()
		begun := time.Now()
		stuck := b.awaitLong(b.add("three"), broker.TaskStuck)
		if over := time.Since(begun); over < 2*time.Hour || over > 2*time.Hour+time.Minute {
			t.Errorf("stuck after %v", over)
		}
		if stuck.Error != "no" || stuck.Note != "can't be undone: not undone in time: b (trying again: backup is running)" {
			t.Errorf("stuck: %q, %q", stuck.Error, stuck.Note)
		}
	})
}

func TestAnOperationThatHangsIsOverAtTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b *bench
		b = newBench(t, openStore(t, databases["sqlite"](t)), func(b2 *bench) []task.Workflow {
			workflow := threeSteps(b2, waits(&b))
			workflow.Deadline, workflow.UndoDeadline = 10*time.Minute, time.Hour
			return []task.Workflow{workflow}
		})
		b.ops.set("op", hypervisor.OperationState{Progress: -1}, nil)
		b.start()
		begun := time.Now()
		id := b.add("three")
		b.awaitLong(id, broker.TaskStuck)
		if over := time.Since(begun); over < 70*time.Minute || over > 71*time.Minute {
			t.Errorf("given up after %v", over)
		}
		// It was never undone beside the operation, and looked at about once a second.
		wantEvents(t, b.noted(), "do a", "begin", "finish stuck")
		if asked := b.ops.questions("op"); asked < 70*60/2 || asked > 70*60*2 {
			t.Errorf("asked %d times in 70 minutes", asked)
		}
	})
}

func TestAfterIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entries := 0
		b := newBench(t, openStore(t, databases["sqlite"](t)), only(func(steps []task.Step) {
			next := steps[1].Do
			steps[1].Do = func(ctx context.Context, run *task.Run) (task.Outcome, error) {
				if entries++; run.Attempt != 1 {
					t.Errorf("entry %d is attempt %d", entries, run.Attempt)
				}
				if entries < 5 {
					return task.Outcome{After: 10 * time.Second, Note: "shutting down"}, nil
				}
				return next(ctx, run)
			}
		}))
		b.start()
		begun := time.Now()
		id := b.add("three")
		b.awaitState(id, broker.TaskDone)
		if over := time.Since(begun); over < 40*time.Second || over > 41*time.Second {
			t.Errorf("done after %v", over)
		}
		wantEvents(t, b.history(id), "a done", "b done", "c done")
	})
}

// countingStore counts what an idle engine asks of the database.
type countingStore struct {
	broker.Store
	calls *atomic.Int64
}

func (s countingStore) NextRunAfter(ctx context.Context) (time.Time, error) {
	s.calls.Add(1)
	return s.Store.NextRunAfter(ctx)
}

func (s countingStore) WaitingTasks(ctx context.Context, cluster int64) ([]broker.Task, error) {
	s.calls.Add(1)
	return s.Store.WaitingTasks(ctx, cluster)
}

// ClaimTasks and RenewLeases are transactions of up to nine statements.
func (s countingStore) ClaimTasks(ctx context.Context, owner string, count int, limits broker.TaskLimits, now, until time.Time) ([]broker.Task, error) {
	s.calls.Add(9)
	return s.Store.ClaimTasks(ctx, owner, count, limits, now, until)
}

func (s countingStore) RenewLeases(ctx context.Context, owner string, tasks []int64, until time.Time) error {
	s.calls.Add(3)
	return s.Store.RenewLeases(ctx, owner, tasks, until)
}

func TestAnIdleEngineHardlyAsks(t *testing.T) {
	for name, row := range map[string]struct {
		shared bool
		most   int64 // in ten minutes
	}{"alone": {false, 60}, "one of several": {true, 3 * 600}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := new(atomic.Int64)
				b := newBench(t, openStore(t, databases["sqlite"](t)), only(), func(config *task.Config) {
					config.Store, config.Shared = countingStore{config.Store, calls}, row.shared
				})
				b.start()
				b.awaitState(b.add("three"), broker.TaskDone)
				calls.Store(0)
				time.Sleep(10 * time.Minute) // of the bubble's time
				if got := calls.Load(); got > row.most {
					t.Errorf("%d statements in ten idle minutes, want %d at most", got, row.most)
				}
			})
		})
	}
}

func TestAnotherServersTasksAreFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, databases["sqlite"](t))
		b := newBench(t, s, only(), func(config *task.Config) { config.Shared = true })
		b.start()
		time.Sleep(time.Minute)
		quiet := newBench(t, s, only()) // queues, but its engine does not run
		begun := time.Now()
		b.awaitState(quiet.add("three"), broker.TaskDone)
		if over := time.Since(begun); over > time.Second {
			t.Errorf("found after %v", over)
		}
	})
}

func TestAnotherServersOperationIsAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, databases["sqlite"](t))
		var dead, b *bench
		dead = newBench(t, s, only(waits(&dead)))
		dead.ops.set("op", hypervisor.OperationState{}, nil)
		if err := dead.engine.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		b = newBench(t, s, only(waits(&b)), func(config *task.Config) { config.Shared = true })
		b.ops.set("op", hypervisor.OperationState{Finished: true}, nil)
		b.start()
		time.Sleep(100 * time.Millisecond) // between two looks of b
		id := dead.add("three")
		dead.awaitState(id, broker.TaskWaiting)
		dead.stop()
		b.awaitState(id, broker.TaskDone)
	})
}

// awaitLong is awaitState for tasks that take hours of a bubble's time.
func (b *bench) awaitLong(id int64, state broker.TaskState) *broker.Task {
	b.t.Helper()
	for range 1000 {
		if found, err := b.store.FindTask(context.Background(), id); err != nil || found.State == state {
			return found
		}
		time.Sleep(time.Minute)
	}
	b.t.Fatalf("task is not %s after many hours", state)
	return nil
}

package task_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
	"gantry/server/store"
	"gantry/server/task"
)

// waits makes step b wait for operation op, and note how it ended.
func waits(b **bench) func(steps []task.Step) {
	return func(steps []task.Step) {
		steps[1].Do = func(_ context.Context, run *task.Run) (task.Outcome, error) {
			if ended, err := run.Ended(); ended {
				if run.Operation != (hypervisor.Operation{ID: "op", Node: "pve1"}) {
					(*b).t.Errorf("told of operation %+v", run.Operation)
				}
				(*b).note("ended")
				return task.Outcome{}, err
			}
			(*b).note("begin")
			return task.Outcome{Wait: hypervisor.Operation{ID: "op", Node: "pve1"}, Note: "copying"}, nil
		}
		undo := steps[1].Undo
		steps[1].Undo = func(ctx context.Context, run *task.Run) (task.Outcome, error) {
			(*b).note(fmt.Sprintf("undo knows the end: %v", run.Result != nil))
			return undo(ctx, run)
		}
	}
}

func TestOperations(t *testing.T) {
	for name, row := range map[string]struct {
		state hypervisor.OperationState
		err   error
		final broker.TaskState
		error string
		note  string
	}{
		"ends well":     {state: hypervisor.OperationState{Finished: true}, final: broker.TaskDone},
		"with warnings": {state: hypervisor.OperationState{Finished: true, Warnings: []string{"w1", "w2"}}, final: broker.TaskDone, note: "warnings: w1; w2"},
		"fails": {state: hypervisor.OperationState{Finished: true, Err: broker.Errorf(broker.Failed, "no space left")},
			final: broker.TaskUndone, error: "no space left"},
		"is forgotten": {err: broker.Errorf(broker.NotFound, "no such UPID"), final: broker.TaskUndone, error: "no such UPID"},
	} {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, s *store.Store) {
				var b *bench
				b = newBench(t, s, only(waits(&b)))
				b.ops.set("op", hypervisor.OperationState{Progress: 0.5}, nil)
				b.start()
				id := b.add("three")
				waiting := b.awaitState(id, broker.TaskWaiting)
				if waiting.Operation != "op" || waiting.OperationNode != "pve1" || waiting.Note != "copying" || waiting.LeaseOwner != "" {
					t.Errorf("waiting: %+v", waiting)
				}
				b.await(id, "half way", func(changed *broker.Task) bool { return changed.Progress == 37 }) // (1 + 1/2) of 4
				b.ops.set("op", row.state, row.err)
				final := b.awaitState(id, row.final)
				if final.Error != row.error || final.Operation != "" {
					t.Errorf("final: %+v", final)
				}
				steps, err := s.ListTaskSteps(t.Context(), id)
				if err != nil || steps[1].Name != "b" || steps[1].Operation != "op" || !strings.Contains(steps[1].Note, row.note) {
					t.Errorf("history %+v, %v", steps, err)
				}
			})
		})
	}
}

func TestACancelledTaskWaitsForItsOperationAndUndoes(t *testing.T) {
	eachStore(t, func(t *testing.T, s *store.Store) {
		var b *bench
		b = newBench(t, s, only(waits(&b)))
		b.ops.set("op", hypervisor.OperationState{}, nil)
		b.start()
		id := b.add("three")
		b.awaitState(id, broker.TaskWaiting)
		if err := s.RequestCancel(t.Context(), id, "admin:x", time.Now()); err != nil {
			t.Fatal(err)
		}
		b.engine.Wake()
		turned := b.await(id, "waiting to undo", func(changed *broker.Task) bool {
			return changed.Undoing && changed.State == broker.TaskWaiting
		})
		if turned.Operation != "op" || turned.Error != "cancelled by admin:x" || turned.Reason != broker.ReasonCancelled {
			t.Errorf("turned: %+v", turned)
		}
		b.ops.set("op", hypervisor.OperationState{Finished: true}, nil)
		b.awaitState(id, broker.TaskUndone)
		wantEvents(t, b.noted(), "do a", "begin", "undo knows the end: true", "undo b", "undo a", "finish undone")
	})
}

func TestACancelIsSeenAtTheNextStep(t *testing.T) {
	eachStore(t, func(t *testing.T, s *store.Store) {
		b := newBench(t, s, only(func(steps []task.Step) {
			next := steps[0].Do
			steps[0].Do = func(ctx context.Context, run *task.Run) (task.Outcome, error) {
				if err := s.RequestCancel(ctx, run.Task.ID, "admin:x", time.Now()); err != nil {
					t.Error(err)
				}
				return next(ctx, run)
			}
		}))
		b.start()
		b.awaitState(b.add("three"), broker.TaskUndone)
		wantEvents(t, b.noted(), "do a", "undo b", "undo a", "finish undone")
	})
}

func TestStopGivesTasksBack(t *testing.T) {
	eachStore(t, func(t *testing.T, s *store.Store) {
		entered, release := make(chan struct{}), make(chan struct{})
		b := newBench(t, s, only(func(steps []task.Step) {
			next := steps[0].Do
			steps[0].Do = func(ctx context.Context, run *task.Run) (task.Outcome, error) {
				close(entered)
				<-release
				return next(ctx, run)
			}
		}))
		if err := b.engine.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		id := b.add("three")
		<-entered
		stopped := make(chan error)
		go func() { stopped <- b.engine.Stop(context.Background()) }()
		select {
		case err := <-stopped:
			t.Fatalf("stopped while a step was at work: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
		close(release)
		if err := <-stopped; err != nil {
			t.Fatal(err)
		}
		wantEvents(t, b.noted(), "do a")
		second := newBench(t, s, only(func(steps []task.Step) {
			next := steps[1].Do
			steps[1].Do = func(ctx context.Context, run *task.Run) (task.Outcome, error) {
				if run.Attempt != 1 {
					t.Errorf("a step that never ran is entered as attempt %d", run.Attempt)
				}
				return next(ctx, run)
			}
		}))
		second.start() // the lease was given back: no waiting for its end
		second.awaitState(id, broker.TaskDone)
		wantEvents(t, second.noted(), "do b", "do c", "finish done")
	})
}

func TestStopInterruptsWhatDoesNotEnd(t *testing.T) {
	s := openStore(t, databases["sqlite"](t))
	entered := make(chan struct{})
	b := newBench(t, s, only(func(steps []task.Step) {
		steps[0].Do = func(ctx context.Context, run *task.Run) (task.Outcome, error) {
			close(entered)
			<-ctx.Done()
			return task.Outcome{}, ctx.Err()
		}
	}))
	if err := b.engine.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	id := b.add("three")
	<-entered
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.engine.Stop(over); err != nil {
		t.Fatal(err)
	}
	second := newBench(t, s, only(func(steps []task.Step) {
		next := steps[0].Do
		steps[0].Do = func(ctx context.Context, run *task.Run) (task.Outcome, error) {
			if run.Attempt < 2 {
				t.Errorf("an interrupted step is entered as attempt %d: it would not look first", run.Attempt)
			}
			return next(ctx, run)
		}
	}))
	second.start()
	second.awaitState(id, broker.TaskDone)
}

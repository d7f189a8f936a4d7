package task_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gantry/server/broker"
	"gantry/server/store"
	"gantry/server/task"
)

// state is what the test workflows carry from step to step.
type state struct {
	Visited []string
}

// threeSteps is a workflow a, b, c that notes what happens; change makes single steps behave otherwise.
func threeSteps(b *bench, change ...func(steps []task.Step)) task.Workflow {
	workflow := task.Workflow{Kind: "three"}
	for i, name := range []string{"a", "b", "c"} {
		workflow.Steps = append(workflow.Steps, task.Step{
			Name: name, Weight: i,
			Do: func(_ context.Context, run *task.Run) (task.Outcome, error) {
				var carried state
				if err := run.Load(&carried); err != nil {
					return task.Outcome{}, err
				}
				carried.Visited = append(carried.Visited, name)
				b.note("do " + name)
				return task.Outcome{State: carried, Commit: func(ctx context.Context, tx broker.Tx) error {
					return tx.SaveSetting(ctx, name, "held", false)
				}}, nil
			},
			Undo: func(_ context.Context, run *task.Run) (task.Outcome, error) {
				b.note("undo " + name)
				return task.Outcome{Commit: func(ctx context.Context, tx broker.Tx) error {
					return tx.SaveSetting(ctx, name, "free", false)
				}}, nil
			},
		})
	}
	for _, each := range change {
		each(workflow.Steps)
	}
	workflow.Finish = func(ctx context.Context, tx broker.Tx, run *task.Run, final broker.TaskState) error {
		b.note("finish " + string(final))
		return tx.SaveSetting(ctx, "finished", string(final), false)
	}
	return workflow
}

func only(change ...func(steps []task.Step)) func(b *bench) []task.Workflow {
	return func(b *bench) []task.Workflow { return []task.Workflow{threeSteps(b, change...)} }
}

func setting(t testing.TB, s *store.Store, name string) string {
	t.Helper()
	value, err := s.Setting(context.Background(), name)
	if err != nil && !broker.Is(err, broker.NotFound) {
		t.Fatal(err)
	}
	return value
}

func wantEvents(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("happened %q\nwant     %q", got, want)
	}
}

func TestStepsFollowEachOther(t *testing.T) {
	eachStore(t, func(t *testing.T, s *store.Store) {
		b := newBench(t, s, only())
		b.start()
		id := b.add("three")
		done := b.awaitState(id, broker.TaskDone)
		wantEvents(t, b.noted(), "do a", "do b", "do c", "finish done")
		wantEvents(t, b.history(id), "a done", "b done", "c done")
		if string(done.Data) != `{"Visited":["a","b","c"]}` || done.Progress != 100 || done.FinishedAt == nil || done.Error != "" ||
			done.LeaseOwner != "" || setting(t, s, "c") != "held" || setting(t, s, "finished") != "done" {
			t.Errorf("done: %+v", done)
		}
	})
}

func TestAFailureIsUndoneBackwards(t *testing.T) {
	eachStore(t, func(t *testing.T, s *store.Store) {
		b := newBench(t, s, only(func(steps []task.Step) {
			steps[2].Do = func(context.Context, *task.Run) (task.Outcome, error) {
				return task.Outcome{}, fmt.Errorf("make the guest: %w", broker.Because(broker.Exhausted, broker.ReasonNoVMID, 7))
			}
		}))
		b.start()
		id := b.add("three")
		undone := b.awaitState(id, broker.TaskUndone)
		wantEvents(t, b.noted(), "do a", "do b", "undo c", "undo b", "undo a", "finish undone")
		wantEvents(t, b.history(id), "a done", "b done", "c failed", "c undo done", "b undo done", "a undo done")
		if undone.Error != "cluster 7 has no free VMID left" || undone.Reason != broker.ReasonNoVMID || undone.Progress == 100 {
			t.Errorf("undone: %+v", undone)
		}
		if setting(t, s, "a") != "free" || setting(t, s, "b") != "free" {
			t.Error("what the steps held was not given back")
		}
	})
}

func TestStepsWithoutUndoAreSteppedOver(t *testing.T) {
	fails := func(context.Context, *task.Run) (task.Outcome, error) {
		return task.Outcome{}, broker.Errorf(broker.Failed, "no")
	}
	for name, row := range map[string]struct {
		without []int
		events  []string
		history []string
	}{
		"the failed one":    {[]int{2}, []string{"do a", "do b", "undo b", "undo a", "finish undone"}, []string{"a done", "b done", "c failed", "b undo done", "a undo done"}},
		"one in the middle": {[]int{1}, []string{"do a", "do b", "undo c", "undo a", "finish undone"}, []string{"a done", "b done", "c failed", "c undo done", "a undo done"}},
		"none has anything": {[]int{0, 1, 2}, []string{"do a", "do b", "finish undone"}, []string{"a done", "b done", "c failed"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, openStore(t, databases["sqlite"](t)), only(func(steps []task.Step) {
				steps[2].Do = fails
				for _, i := range row.without {
					steps[i].Undo = nil
				}
			}))
			b.start()
			id := b.add("three")
			b.awaitState(id, broker.TaskUndone)
			wantEvents(t, b.noted(), row.events...)
			wantEvents(t, b.history(id), row.history...)
		})
	}
}

func TestEffectAndStateAreSeenTogetherOrNotAtAll(t *testing.T) {
	eachStore(t, func(t *testing.T, s *store.Store) {
		tries := 0
		b := newBench(t, s, only(func(steps []task.Step) {
			steps[1].Do = func(_ context.Context, run *task.Run) (task.Outcome, error) {
				return task.Outcome{State: state{Visited: []string{"b"}}, Commit: func(ctx context.Context, tx broker.Tx) error {
					if err := tx.SaveSetting(ctx, "b", "held", false); err != nil {
						return err
					}
					if tries++; tries == 1 {
						// Fails for now; nothing of it may be seen.
						return broker.Errorf(broker.Busy, "later")
					}
					return nil
				}}, nil
			}
			steps[2].Do = func(_ context.Context, run *task.Run) (task.Outcome, error) {
				return task.Outcome{State: state{Visited: []string{"c"}}, Commit: func(ctx context.Context, tx broker.Tx) error {
					if err := tx.SaveSetting(ctx, "c", "held", false); err != nil {
						return err
					}
					return broker.Errorf(broker.Conflict, "never")
				}}, nil
			}
		}), func(config *task.Config) { config.Random = func() float64 { return -0.49 } })
		b.start()
		id := b.add("three")
		retried := b.await(id, "to be tried again", func(changed *broker.Task) bool { return changed.State == broker.TaskReady })
		if setting(t, s, "b") == "held" && retried.Step == 1 && tries == 1 {
			t.Error("the effect of a commit that failed is seen")
		}
		undone := b.awaitState(id, broker.TaskUndone)
		if undone.Error != "never" || setting(t, s, "c") == "held" || strings.Contains(string(undone.Data), `"c"`) {
			t.Errorf("the failed commit of c left %q, %s", setting(t, s, "c"), undone.Data)
		}
		wantEvents(t, b.history(id), "a done", "b retried", "b done", "c failed", "c undo done", "b undo done", "a undo done")
	})
}

func TestWhatCannotBeUndoneIsStuckUntilItIsRetried(t *testing.T) {
	eachStore(t, func(t *testing.T, s *store.Store) {
		broken := true
		b := newBench(t, s, only(func(steps []task.Step) {
			steps[2].Do = func(context.Context, *task.Run) (task.Outcome, error) {
				return task.Outcome{}, broker.Errorf(broker.Failed, "disk full")
			}
			undo := steps[1].Undo
			steps[1].Undo = func(ctx context.Context, run *task.Run) (task.Outcome, error) {
				if broken {
					return task.Outcome{}, broker.Errorf(broker.HypervisorAuth, "token revoked")
				}
				if run.Attempt < 2 {
					t.Errorf("a retry is attempt %d: the step would not look first", run.Attempt)
				}
				return undo(ctx, run)
			}
		}))
		b.start()
		id := b.add("three")
		stuck := b.awaitState(id, broker.TaskStuck)
		if stuck.Error != "disk full" || stuck.Note != "can't be undone: token revoked" || setting(t, s, "a") != "held" ||
			setting(t, s, "finished") != "stuck" {
			t.Errorf("stuck: %+v; a is %s", stuck, setting(t, s, "a"))
		}
		broken = false
		if err := s.RetryTask(t.Context(), id, time.Now().Add(time.Hour), time.Now()); err != nil {
			t.Fatal(err)
		}
		b.engine.Wake()
		b.awaitState(id, broker.TaskUndone)
		wantEvents(t, b.noted(), "do a", "do b", "undo c", "finish stuck", "undo b", "undo a", "finish undone")
	})
}

func TestFinishMayRefuse(t *testing.T) {
	b := newBench(t, openStore(t, databases["sqlite"](t)), func(b *bench) []task.Workflow {
		workflow := threeSteps(b)
		workflow.Finish = func(ctx context.Context, tx broker.Tx, run *task.Run, final broker.TaskState) error {
			b.note("finish " + string(final))
			if final != broker.TaskStuck {
				return broker.Errorf(broker.Conflict, "the VM is gone")
			}
			return errors.New("a defect")
		}
		return []task.Workflow{workflow}
	})
	b.start()
	stuck := b.awaitState(b.add("three"), broker.TaskStuck)
	if stuck.Error != "the VM is gone" {
		t.Errorf("stuck: %+v", stuck)
	}
	wantEvents(t, b.noted(), "do a", "do b", "do c", "finish done", "undo c", "undo b", "undo a", "finish undone", "finish stuck")
}

func TestAStepThatPanicsHasFailed(t *testing.T) {
	b := newBench(t, openStore(t, databases["sqlite"](t)), only(func(steps []task.Step) {
		steps[1].Do = func(context.Context, *task.Run) (task.Outcome, error) { panic("a defect with a s3cret") }
	}))
	b.start()
	if undone := b.awaitState(b.add("three"), broker.TaskUndone); undone.Error != "internal error" {
		t.Errorf("people are told %q", undone.Error)
	}
}

func TestAnUnknownOutcomeIsLookedAt(t *testing.T) {
	b := newBench(t, openStore(t, databases["sqlite"](t)), only(func(steps []task.Step) {
		next := steps[1].Do
		steps[1].Do = func(ctx context.Context, run *task.Run) (task.Outcome, error) {
			b := fmt.Sprint(run.Attempt)
			if run.Since.IsZero() || run.Since.After(time.Now()) {
				t.Errorf("since %v", run.Since)
			}
			if b == "1" {
				return task.Outcome{}, broker.Errorf(broker.UnknownOutcome, "the reply was lost")
			}
			return next(ctx, run)
		}
	}))
	b.start()
	id := b.add("three")
	b.awaitState(id, broker.TaskDone)
	wantEvents(t, b.history(id), "a done", "b retried", "b done", "c done")
}

func TestUnknownKindsAreLeftToOthers(t *testing.T) {
	b := newBench(t, openStore(t, databases["sqlite"](t)), only())
	b.start()
	id := b.add("of-a-newer-release")
	left := b.awaitState(id, broker.TaskReady)
	if left.Note == "" || !left.RunAfter.After(time.Now()) {
		t.Errorf("left: %+v", left)
	}
}

func TestConfiguration(t *testing.T) {
	s := openStore(t, databases["sqlite"](t))
	step := []task.Step{{Name: "a"}}
	for name, config := range map[string]task.Config{
		"no store":      {Operations: newOperations()},
		"no operations": {Store: s},
		"no steps":      {Store: s, Operations: newOperations(), Workflows: []task.Workflow{{Kind: "x"}}},
		"no kind":       {Store: s, Operations: newOperations(), Workflows: []task.Workflow{{Steps: step}}},
		"twice":         {Store: s, Operations: newOperations(), Workflows: []task.Workflow{{Kind: "x", Steps: step}, {Kind: "x", Steps: step}}},
	} {
		if _, err := task.New(config); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

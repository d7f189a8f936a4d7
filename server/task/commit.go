package task

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"gantry/server/broker"
)

// noteLength bounds notes and errors, which may hold words of the hypervisor.
const noteLength = 1000

// commit stores what a step achieved, together with the task's new state, in one transaction. It tells whether to go on at once.
func (a *attempt) commit(outcome Outcome) bool {
	next := a.task
	now := a.engine.Now()
	if outcome.State != nil {
		data, err := json.Marshal(outcome.State)
		if err != nil {
			return a.fail(&broker.Error{Kind: broker.Internal, Err: fmt.Errorf("state of step %s: %w", a.task.StepName, err)})
		}
		next.Data = data
	}
	if outcome.Note != "" {
		next.Note = shorten(outcome.Note)
	}
	if waits := !outcome.Wait.Done(); waits || outcome.After > 0 {
		next.State, next.Attempts = broker.TaskWaiting, 0
		next.Operation, next.OperationNode = outcome.Wait.ID, outcome.Wait.Node
		next.RunAfter = next.Deadline
		if !waits {
			next.RunAfter = earlier(next.Deadline, now.Add(outcome.After))
		}
		var history *broker.TaskStep
		if warnings := a.warnings(); warnings != "" {
			history = a.history("done", warnings) // the step goes on to its next operation
		}
		saved, goOn := a.saveOrFail(next, outcome.Commit, history, "")
		if saved && waits {
			a.engine.watchers.watch(a.task, firstLook)
		}
		return goOn
	}
	var history *broker.TaskStep
	if !next.Undoing || a.workflow.Steps[next.Step].Undo != nil {
		history = a.history("done", a.stepNote(outcome.Note))
	}
	if warnings := a.warnings(); warnings != "" {
		next.Note = warnings
	} else if outcome.Note == "" {
		next.Note = ""
	}
	next.Operation, next.OperationNode = "", ""
	final := a.goOn(&next, now)
	saved, goOn := a.saveOrFail(next, outcome.Commit, history, final)
	if saved {
		a.result = nil
	}
	return goOn
}

// goOn sets next to the step that follows in its direction; without one, it is the final state that it tells.
func (a *attempt) goOn(next *broker.Task, now time.Time) (final broker.TaskState) {
	if next.Undoing {
		next.Step--
		// Steps without Undo have nothing to take back.
		for next.Step >= 0 && a.workflow.Steps[next.Step].Undo == nil {
			next.Step--
		}
		if next.Step < 0 {
			next.Step = 0
			final = broker.TaskUndone
		}
	} else {
		next.Step++
		if next.Step == len(a.workflow.Steps) {
			next.Step--
			final = broker.TaskDone
		}
	}
	if final != "" {
		next.State, next.FinishedAt, next.LeaseUntil = final, &now, nil
		if final == broker.TaskDone {
			next.Progress = 100
		}
		return final
	}
	next.StepName, next.StepSince, next.Attempts = a.workflow.Steps[next.Step].Name, now, 1
	if !next.Undoing {
		next.Progress = max(next.Progress, a.workflow.progress(next.Step, 0))
	}
	if end := now.Add(a.engine.Lease); next.LeaseUntil == nil || next.LeaseUntil.Sub(now) < a.engine.Lease/2 {
		next.LeaseUntil = &end
	}
	return ""
}

// saveOrFail stores what a step achieved; when the effect or Finish refuses, the step has failed. goOn tells whether there is
// more to do at once, be it forward or backward.
func (a *attempt) saveOrFail(next broker.Task, effect func(ctx context.Context, tx broker.Tx) error, history *broker.TaskStep, final broker.TaskState) (saved, goOn bool) {
	err := a.store(next, effect, history, final)
	switch {
	case err == nil:
		return true, a.task.State == broker.TaskRunning
	case errors.Is(err, errLeaseLost):
		return false, a.abandon(err)
	case broker.Is(err, broker.Internal):
		// The step itself had succeeded: it is the database that failed, which may pass.
		a.log.Error("store a step", "step", a.task.StepName, "error", err)
		return false, a.retry("trying again: the database failed", a.pause(firstPause, longestPause), broker.TaskReady)
	}
	return false, a.fail(err)
}

// save stores a state that no effect and no Finish goes with; it tells whether it did.
func (a *attempt) save(next broker.Task, effect func(ctx context.Context, tx broker.Tx) error, history *broker.TaskStep) bool {
	if err := a.store(next, effect, history, ""); err != nil {
		return a.abandon(err)
	}
	return true
}

// abandon leaves the task to whoever claims it when the lease has run out.
func (a *attempt) abandon(err error) bool {
	a.log.Warn("task left to the next claim", "error", err)
	return false
}

var errLeaseLost = errors.New("another engine works on the task")

// finishing is final if there is anything to finish.
func (a *attempt) finishing(final broker.TaskState) broker.TaskState {
	if a.workflow == nil || a.workflow.Finish == nil {
		return ""
	}
	return final
}

// store is the one transaction of a step border: effect, Finish, history and state.
func (a *attempt) store(next broker.Task, effect func(ctx context.Context, tx broker.Tx) error, history *broker.TaskStep, final broker.TaskState) error {
	e := a.engine
	// What was achieved is to be stored also while the engine is being stopped.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.calls), databaseTimeout)
	defer cancel()
	next.UpdatedAt = e.Now()
	var saved broker.Task
	save := func(tx broker.Tx) error {
		err := tx.SaveTask(ctx, &saved, e.Owner, history)
		if broker.Is(err, broker.Conflict) {
			return fmt.Errorf("%w: %w", errLeaseLost, err)
		}
		return err
	}
	var err error
	if final = a.finishing(final); effect == nil && final == "" {
		saved = next
		err = save(e.Store)
	} else {
		err = e.Store.Transact(ctx, func(tx broker.Tx) error {
			saved = next // anew at each repetition
			if effect != nil {
				if err := effect(ctx, tx); err != nil {
					return err
				}
			}
			if final != "" {
				run := a.run()
				run.Task = saved
				if err := a.workflow.Finish(ctx, tx, run, final); err != nil {
					return err
				}
			}
			// Last, because everybody else locks a VM before its task.
			return save(tx)
		})
	}
	if err != nil {
		return err
	}
	a.task = saved
	if saved.LeaseUntil != nil {
		e.mu.Lock()
		e.running[saved.ID] = *saved.LeaseUntil
		e.mu.Unlock()
	}
	if e.OnChange != nil {
		e.OnChange(saved)
	}
	e.boundary(AfterCommit, &saved)
	return nil
}

// progress is how far a task at a step is, in percent: below 100 as long as it is not done.
func (w *Workflow) progress(step int, part float64) int {
	weight := func(s *Step) float64 { return float64(max(s.Weight, 1)) }
	var before, total float64
	for i := range w.Steps {
		if i < step {
			before += weight(&w.Steps[i])
		}
		total += weight(&w.Steps[i])
	}
	before += weight(&w.Steps[step]) * min(max(part, 0), 1)
	return min(int(100*before/total), 99)
}

func (a *attempt) warnings() string {
	if a.result == nil || len(a.result.Warnings) == 0 {
		return ""
	}
	return shorten("warnings: " + strings.Join(a.result.Warnings, "; "))
}

func (a *attempt) stepNote(note string) string {
	warnings := a.warnings()
	if note != "" && warnings != "" {
		return shorten(note + "; " + warnings)
	}
	return shorten(note + warnings)
}

func shorten(text string) string {
	text = strings.ToValidUTF8(text, "�")
	if len(text) <= noteLength {
		return text
	}
	return strings.ToValidUTF8(text[:noteLength], "") + "…"
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

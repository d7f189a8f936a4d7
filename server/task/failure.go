package task

import (
	"errors"
	"math/bits"
	"time"

	"gantry/server/broker"
)

const (
	// A step that failed for now is tried again after half a second, then after twice as long, up to half a minute; each pause is
	// spread by half to both sides, so that tasks which failed together do not come back together.
	firstPause   = 500 * time.Millisecond
	longestPause = 30 * time.Second
	// A step whose outcome is unknown looks soon: what it may have started is perhaps still running.
	firstLookPause   = 50 * time.Millisecond
	longestLookPause = 5 * time.Second
)

// fail deals with the error of a step, or of its commit: try again, turn round, or give up. It tells whether to go on at once.
func (a *attempt) fail(err error) bool {
	attempts, detail := max(a.task.Attempts, 1), broker.DetailOf(err)
	switch {
	case broker.Is(err, broker.UnknownOutcome):
		a.log.Warn("outcome unknown", "step", a.task.StepName, "attempt", attempts, "error", err)
		// It keeps its place in the limits: something may be going on.
		return a.retry("looking again: "+detail, a.pause(firstLookPause, longestLookPause), broker.TaskWaiting)
	case broker.Temporary(err):
		a.log.Warn("step failed for now", "step", a.task.StepName, "attempt", attempts, "error", err)
		return a.retry("trying again: "+detail, a.pause(firstPause, longestPause), broker.TaskReady)
	}
	a.log.Error("step failed", "step", a.task.StepName, "undo", a.task.Undoing, "error", err)
	if a.task.Undoing {
		return a.stuck(detail)
	}
	return a.turn(err)
}

// pause grows with the attempts at the present step.
func (a *attempt) pause(first, longest time.Duration) time.Duration {
	doublings := min(max(a.task.Attempts-1, 0), 20)
	pause := min(first<<doublings, longest)
	return a.engine.scaled(time.Duration(float64(pause) * (0.5 + a.engine.Random())))
}

func (e *Engine) scaled(pause time.Duration) time.Duration {
	return time.Duration(float64(pause) * e.PauseScale)
}

// retry lets the present step begin again after a pause, as a further attempt, or at the deadline if that is earlier. The history
// gets a line at the first, second, fourth, eighth … failure.
func (a *attempt) retry(note string, pause time.Duration, state broker.TaskState) bool {
	next := a.task
	now := a.engine.Now()
	next.State, next.RunAfter, next.Note = state, now.Add(pause), shorten(note)
	if next.Deadline.After(now) {
		next.RunAfter = earlier(next.RunAfter, next.Deadline)
	}
	next.Attempts = max(next.Attempts, 1)
	if a.result != nil && a.result.Err != nil {
		// The operation is what failed: the step is to begin anew. One that ended well is still to be told at the next entry.
		next.Operation, next.OperationNode = "", ""
	}
	var history *broker.TaskStep
	if bits.OnesCount(uint(next.Attempts)) == 1 {
		history = a.history("retried", note)
	}
	a.save(next, nil, history)
	return false
}

// turn keeps the first error and goes backwards from the present step, whose effect may be there in part. An operation that goes on
// is waited for first: undoing beside it would meet locks and half-made things.
func (a *attempt) turn(err error) bool {
	next := a.task
	now := a.engine.Now()
	next.Undoing, next.Error, next.Attempts = true, shorten(broker.DetailOf(err)), 1
	var known *broker.Error
	if errors.As(err, &known) {
		next.Reason = known.Reason
	}
	next.Note, next.StepSince = "", now
	next.Deadline = now.Add(a.workflow.undoDeadline())
	return a.save(next, nil, a.history("failed", next.Error))
}

// stuck ends a task that can't be undone. What it holds stays held until an operator has looked.
func (a *attempt) stuck(reason string) bool {
	next := a.task
	now := a.engine.Now()
	next.State, next.FinishedAt, next.LeaseUntil = broker.TaskStuck, &now, nil
	next.Note = shorten("can't be undone: " + reason)
	history := a.history("failed", next.Note)
	err := a.store(next, nil, history, broker.TaskStuck)
	if err != nil && !errors.Is(err, errLeaseLost) {
		a.log.Error("finish a stuck task", "error", err)
		err = a.store(next, nil, history, "")
	}
	if err != nil {
		a.abandon(err)
	}
	return false
}

func (a *attempt) history(state, note string) *broker.TaskStep {
	now := a.engine.Now()
	return &broker.TaskStep{
		TaskID: a.task.ID, Name: a.task.StepName, Undo: a.task.Undoing, State: state, Note: shorten(note),
		Operation: a.task.Operation, StartedAt: earlier(a.task.StepSince, now), EndedAt: now,
	}
}

// lastWords say where a task was when its time was over, and why it was still there.
func (a *attempt) lastWords() string {
	if a.task.Note == "" {
		return a.task.StepName
	}
	return a.task.StepName + " (" + a.task.Note + ")"
}

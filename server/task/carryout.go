package task

import (
	"context"
	"log/slog"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// stepTimeout bounds one entry of a step. What takes longer is an operation to wait for.
const stepTimeout = 5 * time.Minute

// attempt is one claim of a task: the engine goes from step to step until the task ends, waits, fails for now, or the lease is lost.
type attempt struct {
	engine   *Engine
	workflow *Workflow
	task     broker.Task // as it is stored
	log      *slog.Logger
	// result is how task.Operation ended, once known.
	result *hypervisor.OperationState
}

// carryOut works on a claimed task. It tells whether another task may begin now: one that ended or failed for now makes room.
func (e *Engine) carryOut(task broker.Task) bool {
	defer func() {
		e.mu.Lock()
		delete(e.running, task.ID)
		e.mu.Unlock()
	}()
	log := e.Log.With("task", task.ID, "kind", task.Kind)
	if task.RequestID != "" {
		log = log.With("request", task.RequestID)
	}
	a := &attempt{engine: e, workflow: e.workflows[task.Kind], task: task, log: log}
	if task.StepSince.IsZero() {
		a.task.StepSince = task.CreatedAt
	}
	if a.workflow == nil || task.Step < 0 || task.Step >= len(a.workflow.Steps) {
		// A newer release made it. Another server, or the next one, will know.
		log.Error("task of an unknown kind or step", "step", task.Step)
		a.task.Note = "this server does not know the task's kind"
		a.later(time.Minute)
		return true
	}
	a.task.StepName = a.workflow.Steps[task.Step].Name // who queues a task knows its kind only
	for a.advance() {
	}
	return a.task.State != broker.TaskWaiting
}

// advance does what is next and tells whether to go on at once.
func (a *attempt) advance() bool {
	e := a.engine
	now := e.Now()
	if a.task.Undoing {
		if !now.Before(a.task.Deadline) {
			return a.stuck("not undone in time: " + a.lastWords())
		}
	} else if a.task.CancelledBy != "" {
		return a.turn(broker.Because(broker.Conflict, broker.ReasonCancelled, a.task.CancelledBy))
	} else if !now.Before(a.task.Deadline) {
		return a.turn(broker.Because(broker.Failed, broker.ReasonTaskDeadline, a.lastWords()))
	}
	if e.stops() {
		// Nothing was called since the claim: it does not count.
		return a.giveBack(a.task.Attempts - 1)
	}
	if a.task.Operation != "" && a.result == nil && !a.operationEnded() {
		return a.waitOn()
	}
	step := &a.workflow.Steps[a.task.Step]
	call := step.Do
	if a.task.Undoing {
		call = step.Undo
		if call == nil {
			return a.commit(Outcome{})
		}
	}
	e.boundary(BeforeDo, &a.task)
	outcome, err := a.call(call)
	if e.calls.Err() != nil && err != nil {
		return a.giveBack(a.task.Attempts) // it was interrupted: what it did is unknown
	}
	if err == nil {
		e.boundary(BeforeCommit, &a.task)
		return a.commit(outcome)
	}
	return a.fail(err)
}

// call enters a step. A panic is a defect of the step, and the task's error.
func (a *attempt) call(step func(ctx context.Context, run *Run) (Outcome, error)) (outcome Outcome, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			a.log.Error("step panicked", "step", a.task.StepName, "cause", cause)
			err = broker.Errorf(broker.Internal, "step %s panicked", a.task.StepName)
		}
	}()
	ctx, cancel := context.WithTimeout(a.engine.calls, stepTimeout)
	defer cancel()
	return step(ctx, a.run())
}

func (a *attempt) run() *Run {
	return &Run{
		Task: a.task, Attempt: max(a.task.Attempts, 1), Since: a.task.StepSince, Operation: a.operation(), Result: a.result,
		Log: a.log.With("step", a.task.StepName),
	}
}

func (a *attempt) operation() hypervisor.Operation {
	return hypervisor.Operation{ID: a.task.Operation, Node: a.task.OperationNode}
}

// operationEnded finds out how the operation that the task waits for stands: the watcher has told, or it asks itself.
func (a *attempt) operationEnded() bool {
	e := a.engine
	if result := e.watchers.take(a.task.ID, a.task.Operation); result != nil {
		a.result = result
		return true
	}
	state, err := e.watchers.ask(&a.task)
	if err != nil {
		a.log.Warn("ask how an operation stands", "operation", a.task.Operation, "error", err)
		return false
	}
	if !state.Finished {
		return false
	}
	a.result = &state
	return true
}

// waitOn lets the task wait for its operation again: it was woken by something else, such as a cancel or the deadline.
func (a *attempt) waitOn() bool {
	next := a.task
	next.State, next.RunAfter, next.Attempts = broker.TaskWaiting, next.Deadline, 0
	if a.save(next, nil, nil) {
		a.engine.watchers.watch(a.task, firstLook)
	}
	return false
}

// giveBack ends the lease, so that another engine goes on at once. The task keeps its place in the limits.
func (a *attempt) giveBack(attempts int) bool {
	next := a.task
	next.State, next.RunAfter, next.Attempts = broker.TaskWaiting, a.engine.Now(), max(attempts, 0)
	a.save(next, nil, nil)
	return false
}

// later tries the present step again after a pause, or at the deadline if that is earlier.
func (a *attempt) later(pause time.Duration) {
	next := a.task
	now := a.engine.Now()
	next.State, next.RunAfter = broker.TaskReady, now.Add(pause)
	if next.Deadline.After(now) && next.RunAfter.After(next.Deadline) {
		next.RunAfter = next.Deadline
	}
	a.save(next, nil, nil)
}

func (e *Engine) boundary(moment Moment, task *broker.Task) {
	if e.Boundary != nil {
		e.Boundary(moment, *task)
	}
}

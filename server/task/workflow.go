// Package task carries out durable tasks: rows that move through a workflow's steps, survive kill -9 of any process at any
// step, and end done, undone or stuck. The engine is in this package's engine*.go files; each workflow has a file of its own.
package task

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// Workflow is an ordered list of named steps for one kind of task.
//
// Step names and their order are part of the stored state: a task that was accepted by an older release is carried on by step
// index. Add steps at the end, or under a new Kind.
type Workflow struct {
	// Kind is what Task.Kind names.
	Kind  string
	Title map[broker.Language]string
	Steps []Step
	// Deadline is how long a task may take forward; after it the task is undone. 0 = one hour.
	Deadline time.Duration
	// UndoDeadline is how long undoing may take, counted from when it began; after it the task is stuck. 0 = six hours.
	UndoDeadline time.Duration
	// Finish runs in the same transaction as the task's final state (done, undone or stuck): it sets the VM's status, clears
	// its task, releases what was reserved. It must have no effect outside tx, since the transaction may be repeated. May be nil.
	// An error keeps the task from ending that way: a temporary or internal one is retried, another one turns done to undoing and
	// undone to stuck; for stuck it is only logged.
	Finish func(ctx context.Context, tx broker.Tx, run *Run, state broker.TaskState) error
}

// Step is one step of a workflow.
//
// Do and Undo may run more than once for the same task: the process can die after the call had its effect and before that was
// stored. Run.Attempt is above 1 then, and the step looks before it acts. They must not block for long: start the operation,
// return it as Outcome.Wait, and be called again when it has ended.
//
// Errors: broker.Temporary ones are tried again with growing pauses until the deadline; UnknownOutcome is tried again soon, with
// Attempt above 1; any other error of Do makes the task undo what it did, beginning with this very step; any other error of Undo
// makes the task stuck.
type Step struct {
	Name  string
	Title map[broker.Language]string
	// Weight is the step's share of the progress bar; 0 counts as 1.
	Weight int
	Do     func(ctx context.Context, run *Run) (Outcome, error)
	// Undo takes back what Do did wholly, partly or not at all. Nil when there is nothing to take back.
	Undo func(ctx context.Context, run *Run) (Outcome, error)
}

// Outcome is what a step achieved. The zero value means: the step is over, go on.
type Outcome struct {
	// Commit is the step's effect on the database. It runs in one transaction with the task's new state: both are seen, or none.
	// It may be run again when the database asks for it, so it must have no effect outside tx.
	Commit func(ctx context.Context, tx broker.Tx) error
	// State replaces the task's Data when not nil; Run.Load reads it back. It is stored as JSON and must not hold a secret.
	State any
	// Wait, when it is not Done, keeps the task at this step until the operation has ended; then the step is entered again with
	// Run.Operation and Run.Result.
	Wait hypervisor.Operation
	// After, when above 0, keeps the task at this step and enters it again after that time. It does not count as a failure.
	After time.Duration
	// Note is shown beside the progress and kept in the history; "" leaves the present note of a step that goes on.
	Note string
}

// Run is one entry of a step.
type Run struct {
	// Task is a copy; changing it has no effect.
	Task broker.Task
	// Attempt is 1 when no earlier entry at this point can have had an effect, else more. A step that is entered again because
	// its operation ended or After is over begins at 1 again.
	Attempt int
	// Since is a time before the step's first entry: what the hypervisor began earlier was not begun by this step.
	Since time.Time
	// Operation is what the step waited for; the zero value when it did not wait. In Undo it is what the step's Do waited for.
	Operation hypervisor.Operation
	// Result is how Operation ended; nil when there was none. Its Err is NotFound when the hypervisor no longer knows the
	// operation: the step has to look for itself then.
	Result *hypervisor.OperationState
	Log    *slog.Logger
}

// Load reads the workflow's state that the last Outcome.State (or the task's creator) stored. Without any, state stays as it is.
func (r *Run) Load(state any) error {
	if len(r.Task.Data) == 0 {
		return nil
	}
	if err := json.Unmarshal(r.Task.Data, state); err != nil {
		return &broker.Error{Kind: broker.Internal, Err: fmt.Errorf("read state of task %d: %w", r.Task.ID, err)}
	}
	return nil
}

// Ended tells that the step was entered because its operation ended, and how. The usual step begins with:
//
//	if ended, err := run.Ended(); ended {
//		return task.Outcome{}, err
//	}
func (r *Run) Ended() (bool, error) {
	if r.Result == nil {
		return false, nil
	}
	return true, r.Result.Err
}

// OperationSource tells how operations stand. A hypervisor driver behind a registry is one, a node's daemon another.
type OperationSource interface {
	// OperationState asks how an operation of a task of that cluster and node stands. NotFound when it is no longer known.
	OperationState(ctx context.Context, cluster, node int64, operation hypervisor.Operation) (hypervisor.OperationState, error)
}

// Moment is a point of a step at which a process can die; see Config.Boundary.
type Moment string

const (
	// BeforeDo: the step was claimed, its function was not called yet.
	BeforeDo Moment = "before-do"
	// BeforeCommit: the function returned, nothing of that is stored yet.
	BeforeCommit Moment = "before-commit"
	// AfterCommit: all is stored.
	AfterCommit Moment = "after-commit"
)

package broker

import (
	"encoding/json"
	"time"
)

// TaskState is where a task stands.
type TaskState string

const (
	// TaskReady: may be claimed once RunAfter has come.
	TaskReady TaskState = "ready"
	// TaskRunning: a worker holds the lease.
	TaskRunning TaskState = "running"
	// TaskWaiting: an operation outside goes on (Operation is set); the watcher wakes the task.
	TaskWaiting TaskState = "waiting"
	// TaskDone: every step was carried out.
	TaskDone TaskState = "done"
	// TaskUndone: it failed or was cancelled, and everything it reserved or made is back.
	TaskUndone TaskState = "undone"
	// TaskStuck: it failed and undoing needs an operator; nothing it still holds was released. It can be retried.
	TaskStuck TaskState = "stuck"
)

// Final tells that no worker will touch the task again by itself.
func (s TaskState) Final() bool { return s == TaskDone || s == TaskUndone || s == TaskStuck }

// Task is one durable long action.
type Task struct {
	ID   int64
	Kind string // create, start, stop, …, reinstall, delete, download-image
	// What it works on. VM may be nil (image download).
	VM        *int64
	ClusterID int64
	NodeID    int64
	State     TaskState
	// Undoing tells the direction: false = forward.
	Undoing bool
	// Step is the index of the step to do (or undo) next; StepName is its name, for people.
	Step     int
	StepName string
	// Data is the workflow's own state. It never holds a secret in the clear.
	Data json.RawMessage
	// StepSince is when the present step became the present one, in the present direction: nothing that began outside before
	// then was begun by it.
	StepSince time.Time
	// Operation is the external operation waited for: a PVE UPID, a daemon's operation id; "" = none.
	Operation string
	// OperationNode is the node the operation runs on, as far as known.
	OperationNode string
	Progress      int // percent of the whole task, never goes back
	// Note is shown beside the progress ("downloading 43 %", warnings of the hypervisor).
	Note string
	// Error is the plain text of what went wrong first; Reason its catalogue word.
	Error  string
	Reason Reason
	// Attempts counts the claims of the present step, 1 at its first run; reset when a step ends or begins to wait.
	Attempts       int
	Deadline       time.Time
	RunAfter       time.Time
	LeaseOwner     string
	LeaseUntil     *time.Time
	IdempotencyKey string // unique when not empty
	// Fair-share and limits: tenants take turns; at most so many running or waiting tasks share a key.
	Tenant      int64
	NodeKey     string
	StorageKey  string // shared storages only
	TemplateKey string
	CancelledBy string // set = cancel was asked for
	RequestedBy string // audit actor
	RequestID   string
	CreatedAt   time.Time
	UpdatedAt   time.Time
	FinishedAt  *time.Time
}

// TaskStep is one line of a task's history.
type TaskStep struct {
	TaskID    int64
	Number    int // order of the history, from 1
	Name      string
	Undo      bool
	State     string // done, failed, retried
	Note      string
	Operation string
	StartedAt time.Time
	EndedAt   time.Time
}

package ams

import (
	"context"
	"time"

	"gantry/server/broker"
)

// Task is a long action as getTask and getTaskByPage show it. These calls are Gantry's own.
type Task struct {
	ID          int64      `json:"id"`
	Kind        string     `json:"kind" doc:"create, power, reinstall, delete, download-image"`
	HostID      *int64     `json:"hostid" doc:"null where it is about no machine"`
	NodeID      int64      `json:"nodeid"`
	State       string     `json:"state" doc:"ready, running, waiting; done, undone, stuck are final"`
	Undoing     bool       `json:"undoing"`
	Step        string     `json:"step"`
	Progress    int        `json:"progress" doc:"percent"`
	Note        string     `json:"note"`
	Error       string     `json:"error"`
	Reason      string     `json:"reason" doc:"stable word for the error"`
	Operation   string     `json:"operation,omitempty" doc:"what is waited for outside, e.g. a UPID; admins only"`
	Attempts    int        `json:"attempts"`
	RequestedBy string     `json:"requestedBy,omitempty" doc:"admins only"`
	RequestID   string     `json:"requestId"`
	CancelledBy string     `json:"cancelledBy,omitempty" doc:"admins only"`
	CreateTime  int64      `json:"createTime"`
	UpdateTime  int64      `json:"updateTime"`
	Deadline    int64      `json:"deadline"`
	FinishTime  *int64     `json:"finishTime"`
	Steps       []TaskStep `json:"steps,omitempty" doc:"history; in getTask only"`
}

// TaskStep is one line of a task's history.
type TaskStep struct {
	Number    int    `json:"number"`
	Name      string `json:"name"`
	Undo      bool   `json:"undo"`
	State     string `json:"state"`
	Note      string `json:"note"`
	Operation string `json:"operation,omitempty"`
	StartTime int64  `json:"startTime"`
	EndTime   *int64 `json:"endTime"`
}

// TaskOf makes the object; inside tells what only admins see.
func TaskOf(task *broker.Task, inside bool) Task {
	record := Task{
		ID: task.ID, Kind: task.Kind, HostID: task.VM, NodeID: task.NodeID, State: string(task.State), Undoing: task.Undoing,
		Step: task.StepName, Progress: task.Progress, Note: task.Note, Error: task.Error, Reason: string(task.Reason),
		Attempts: task.Attempts, RequestID: task.RequestID,
		CreateTime: task.CreatedAt.UnixMilli(), UpdateTime: task.UpdatedAt.UnixMilli(), Deadline: task.Deadline.UnixMilli(),
		FinishTime: milliseconds(task.FinishedAt),
	}
	if inside {
		record.Operation, record.RequestedBy, record.CancelledBy = task.Operation, task.RequestedBy, task.CancelledBy
	}
	return record
}

// Task reads a task with its history. NotFound has ReasonTaskNotFound. With a tenant only tasks that it ordered, or that are
// about its machines, are found.
func (r *Reader) Task(ctx context.Context, id int64, tenant *int64) (Task, error) {
	task, err := r.store.FindTask(ctx, id)
	if err == nil && tenant != nil {
		err = r.belongs(ctx, task, *tenant)
	}
	if broker.Is(err, broker.NotFound) {
		failure := broker.Because(broker.NotFound, broker.ReasonTaskNotFound, id)
		failure.Field = "id"
		return Task{}, failure
	}
	if err != nil {
		return Task{}, broker.Wrap(err, "find the task")
	}
	steps, err := r.store.ListTaskSteps(ctx, id)
	if err != nil {
		return Task{}, broker.Wrap(err, "list the steps of a task")
	}
	inside := tenant == nil
	record := TaskOf(task, inside)
	record.Steps = make([]TaskStep, len(steps))
	for i, step := range steps {
		record.Steps[i] = TaskStep{
			Number: step.Number, Name: step.Name, Undo: step.Undo, State: step.State, Note: step.Note,
			StartTime: step.StartedAt.UnixMilli(), EndTime: ended(step.EndedAt),
		}
		if inside {
			record.Steps[i].Operation = step.Operation
		}
	}
	return record, nil
}

func ended(moment time.Time) *int64 {
	if moment.IsZero() {
		return nil
	}
	return milliseconds(&moment)
}

func (r *Reader) belongs(ctx context.Context, task *broker.Task, tenant int64) error {
	if task.Tenant == tenant {
		return nil
	}
	if task.VM != nil {
		vm, err := r.store.FindVM(ctx, *task.VM)
		if err != nil || vm.Tenant == tenant {
			return err
		}
	}
	return broker.Errorf(broker.NotFound, "another tenant's task")
}

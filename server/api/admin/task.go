package admin

import (
	"context"

	"gantry/server/api/ams"
	"gantry/server/api/route"
	"gantry/server/broker"
)

func (c *Calls) taskRoutes() []route.Route {
	return []route.Route{
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getTaskByPage", Auth: route.Admin, Name: "getTaskByPage", Group: "task",
			Summary: "Lists tasks, newest first.",
		}, c.listTasks),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getTask", Auth: route.Admin, Name: "getTask", Group: "task",
			Summary: "Tells how a task stands, with its history.",
		}, c.task),
		route.Of(route.Route{
			Methods: putPost, Path: "/{adminPath}/cancelTask/{id}", Auth: route.Admin, Name: "cancelTask", Group: "task", Audit: true,
			Summary: "Asks a task to stop; what it made and reserved is put back.",
		}, c.cancelTask),
		route.Of(route.Route{
			Methods: putPost, Path: "/{adminPath}/retryTask/{id}", Auth: route.Admin, Name: "retryTask", Group: "task", Audit: true,
			Summary: "Lets a stuck task try again.",
		}, c.retryTask),
	}
}

// TasksRequest filters tasks.
type TasksRequest struct {
	HostID int64  `json:"hostId" in:"query" rule:"min=1" doc:"tasks of this machine only"`
	State  string `json:"state" in:"query" one:"ready|running|waiting|done|undone|stuck"`
	Kind   string `json:"kind" in:"query" rule:"max=40"`
	Active bool   `json:"active" in:"query" doc:"only tasks that are not final"`
	ams.Paging
}

func (c *Calls) listTasks(ctx context.Context, _ *route.Call, request TasksRequest) (ams.List[ams.Task], error) {
	page := request.Wanted()
	tasks, total, err := c.Store.ListTasks(ctx, broker.TaskFilter{
		VM: request.HostID, State: broker.TaskState(request.State), Kind: request.Kind, Active: request.Active,
	}, page)
	if err != nil {
		return ams.List[ams.Task]{}, broker.Wrap(err, "list tasks")
	}
	return ams.ListOf(tasks, total, page, func(task *broker.Task) ams.Task { return ams.TaskOf(task, true) }), nil
}

// TaskRequest names a task in a query.
type TaskRequest struct {
	ID int64 `json:"id" in:"query" rule:"required,min=1" doc:"task"`
}

func (c *Calls) task(ctx context.Context, _ *route.Call, request TaskRequest) (ams.Task, error) {
	return ams.NewReader(c.Store).Task(ctx, request.ID, nil)
}

// TaskPath names a task in a path.
type TaskPath struct {
	ID int64 `json:"id" in:"path" rule:"required,min=1" doc:"task"`
}

func (c *Calls) cancelTask(ctx context.Context, call *route.Call, request TaskPath) (ams.Task, error) {
	record, err := ams.NewReader(c.Store).Task(ctx, request.ID, nil)
	if err != nil {
		return ams.Task{}, err
	}
	if broker.TaskState(record.State).Final() {
		return ams.Task{}, finished(request.ID, record.State)
	}
	if err := c.Store.RequestCancel(ctx, request.ID, call.Actor.Name, c.Now().UTC()); err != nil {
		return ams.Task{}, broker.Wrap(err, "cancel the task")
	}
	c.Queue.Wake()
	return ams.NewReader(c.Store).Task(ctx, request.ID, nil)
}

func (c *Calls) retryTask(ctx context.Context, _ *route.Call, request TaskPath) (ams.Task, error) {
	record, err := ams.NewReader(c.Store).Task(ctx, request.ID, nil)
	if err != nil {
		return ams.Task{}, err
	}
	if broker.TaskState(record.State) != broker.TaskStuck {
		failure := broker.Errorf(broker.Conflict, "task %d is %s; only a stuck task can be retried", request.ID, record.State)
		failure.Field = "id"
		return ams.Task{}, failure
	}
	now := c.Now().UTC()
	if err := c.Store.RetryTask(ctx, request.ID, now.Add(c.Queue.Deadline(record.Kind)), now); err != nil {
		return ams.Task{}, broker.Wrap(err, "retry the task")
	}
	c.Queue.Wake()
	return ams.NewReader(c.Store).Task(ctx, request.ID, nil)
}

func finished(id int64, state string) error {
	failure := broker.Errorf(broker.Conflict, "task %d is %s already", id, state)
	failure.Field = "id"
	return failure
}

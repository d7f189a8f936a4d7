package ams

import (
	"context"

	"gantry/server/api/route"
	"gantry/server/broker"
)

// RenewalRequest sets when a machine expires.
type RenewalRequest struct {
	HostID  int64     `json:"hostId" rule:"required,min=1" doc:"the machine's id; not its VMID"`
	Expires Timestamp `json:"expirationTime" rule:"required" doc:"Unix time in seconds (10 digits) or milliseconds (13 digits)"`
}

// ending carries out one of the calls that take a machine out of service.
func (m *Machines) ending(ctx context.Context, call *route.Call, host int64, end func(context.Context, int64, broker.Actor) (*broker.Task, error)) (TaskRef, error) {
	if _, err := m.find(ctx, call, host); err != nil {
		return TaskRef{}, err
	}
	task, err := end(ctx, host, call.Actor)
	if err != nil || task == nil {
		return TaskRef{}, err
	}
	call.NoteTask(task)
	return TaskRef{TaskID: task.ID}, nil
}

// Delete queues a machine's way into the recycle bin, or its end where there is none.
func (m *Machines) Delete(ctx context.Context, call *route.Call, request HostPath) (TaskRef, error) {
	return m.ending(ctx, call, request.HostID, m.Orders.Delete)
}

// Destroy queues the end of a machine, in the recycle bin or not.
func (m *Machines) Destroy(ctx context.Context, call *route.Call, request HostPath) (TaskRef, error) {
	return m.ending(ctx, call, request.HostID, m.Orders.Destroy)
}

// DestroyRequest names a machine to destroy.
type DestroyRequest struct {
	HostPath
	DestroyDisks bool `json:"destroyDisks" doc:"of a machine that was taken over: delete its guest with its disks, too; default false: it is switched off and stays on the hypervisor"`
}

// DestroyAll is Destroy for operators, who may also want the guest and the disks of an adopted machine gone.
func (m *Machines) DestroyAll(ctx context.Context, call *route.Call, request DestroyRequest) (TaskRef, error) {
	if request.DestroyDisks {
		return m.ending(ctx, call, request.HostID, m.Orders.DestroyWithDisks)
	}
	return m.ending(ctx, call, request.HostID, m.Orders.Destroy)
}

// Restore takes a machine out of the recycle bin. There is a task where it is started again.
func (m *Machines) Restore(ctx context.Context, call *route.Call, request HostPath) (route.Null, error) {
	if _, err := m.find(ctx, call, request.HostID); err != nil {
		return nil, err
	}
	task, err := m.Orders.Restore(ctx, request.HostID, call.Actor)
	call.NoteTask(task)
	return nil, err
}

// Renew sets when a machine expires. There is a task where an expired one is started again.
func (m *Machines) Renew(ctx context.Context, call *route.Call, request RenewalRequest) (route.Null, error) {
	if _, err := m.find(ctx, call, request.HostID); err != nil {
		return nil, err
	}
	if request.Expires.IsZero() {
		return nil, broker.InvalidField("expirationTime", "is required")
	}
	task, err := m.Orders.Renew(ctx, request.HostID, request.Expires.Time, call.Actor)
	call.NoteTask(task)
	return nil, err
}

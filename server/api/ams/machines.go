package ams

import (
	"context"
	"strings"
	"time"

	"gantry/server/api/route"
	"gantry/server/broker"
	"gantry/server/console"
)

// Orders are the use cases about machines; *broker.Broker has them.
type Orders interface {
	PlaceOrder(ctx context.Context, request broker.OrderRequest, actor broker.Actor) (*broker.VM, *broker.Task, error)
	PlaceAnywhere(ctx context.Context, request broker.OrderRequest, actor broker.Actor) (*broker.VM, *broker.Task, error)
	Power(ctx context.Context, vm int64, action broker.PowerAction, actor broker.Actor) (*broker.Task, error)
	Reinstall(ctx context.Context, request broker.ReinstallRequest, actor broker.Actor) (*broker.Task, error)
	ResetPassword(ctx context.Context, vm int64, password string, actor broker.Actor) (*broker.Task, error)
	SetConsolePassword(ctx context.Context, vm int64, password string) error
	// Resize gives no task where the hypervisor has nothing to do, and pending where part of it waits for the next start.
	Resize(ctx context.Context, request broker.ResizeRequest, actor broker.Actor) (task *broker.Task, pending bool, err error)
	Delete(ctx context.Context, vm int64, actor broker.Actor) (*broker.Task, error)
	Destroy(ctx context.Context, vm int64, actor broker.Actor) (*broker.Task, error)
	DestroyWithDisks(ctx context.Context, vm int64, actor broker.Actor) (*broker.Task, error)
	Restore(ctx context.Context, vm int64, actor broker.Actor) (*broker.Task, error)
	Renew(ctx context.Context, vm int64, until time.Time, actor broker.Actor) (*broker.Task, error)
}

// Links issues console links; *console.Service does.
type Links interface {
	Issue(ctx context.Context, request console.IssueRequest) (console.Link, error)
}

// Machines serves the calls about machines to both surfaces. Billing systems reach the machines that their own key ordered and
// no others: another's machine does not exist for them.
type Machines struct {
	Orders Orders
	Store  broker.Store
	Live   Live
	Links  Links
}

// HostRef names a machine in a query.
type HostRef struct {
	HostID int64 `json:"hostId" in:"query" rule:"required,min=1" doc:"the machine's id; not its VMID"`
}

// HostPath names a machine in a path.
type HostPath struct {
	HostID int64 `json:"hostId" in:"path" rule:"required,min=1" doc:"the machine's id; not its VMID"`
}

// PowerRequest presses a power button.
type PowerRequest struct {
	HostPath
	Action string `json:"action" in:"path" rule:"required,max=20" one:"start|stop|shutdown|reboot|suspend|resume|pause|unpause" doc:"stop asks the guest and then forces, shutdown pulls the plug; pause also forbids the customer to start"`
}

// ReinstallRequest puts a fresh system on a machine.
type ReinstallRequest struct {
	HostID        int64  `json:"hostId" rule:"required,min=1" doc:"the machine's id; not its VMID"`
	Image         string `json:"os" rule:"required,max=255" doc:"image: id, name or file name"`
	NewPassword   string `json:"newPassword" rule:"max=128" doc:"default: the old one stays"`
	ResetDataDisk bool   `json:"resetDataDisk" doc:"make the data disks empty, too; default false"`
}

// TaskRef is the answer of calls whose documentation shows no data.
type TaskRef struct {
	TaskID int64 `json:"taskId" doc:"see getTask"`
}

// find reads a machine that the caller may reach, through the driver in the path if there is one.
func (m *Machines) find(ctx context.Context, call *route.Call, id int64) (*broker.VM, error) {
	vm, err := m.Store.FindVM(ctx, id)
	hidden := err == nil && ((call.Key != nil && vm.Tenant != call.Key.ID) || (call.Kind != "" && vm.Kind != call.Kind))
	if broker.Is(err, broker.NotFound) || hidden {
		failure := broker.Because(broker.NotFound, broker.ReasonVMNotFound, id)
		failure.Field = "hostId"
		return nil, failure
	}
	return vm, broker.Wrap(err, "find the VM")
}

// Order places an order.
func (m *Machines) Order(ctx context.Context, call *route.Call, params VMParams) (OrderReply, error) {
	order, err := params.Order(call)
	if err != nil {
		return OrderReply{}, err
	}
	vm, task, err := m.Orders.PlaceOrder(ctx, order, call.Actor)
	if err != nil {
		return OrderReply{}, err
	}
	call.NoteTask(task)
	return OrderReplyOf(&params.MachineParams, vm, task), nil
}

// Info tells all about one machine, password included, with live values where the hypervisor answers.
func (m *Machines) Info(ctx context.Context, call *route.Call, request HostRef) (VM, error) {
	vm, err := m.find(ctx, call, request.HostID)
	if err != nil {
		return VM{}, err
	}
	record, err := NewReader(m.Store).VM(ctx, vm, true)
	if err != nil {
		return VM{}, err
	}
	return WithLive(ctx, record, vm, m.Live), nil
}

// PageRequest asks for a page of machines. The filters are Gantry's own.
type PageRequest struct {
	Search string `json:"search" in:"query" rule:"max=64" doc:"beginning of a name, an address or a VMID"`
	Status *int   `json:"status" in:"query" rule:"min=0,max=17" doc:"as vmhost.status; also 16 being deleted, 17 needs an operator"`
	NodeID int64  `json:"nodeId" in:"query" rule:"min=1" doc:"machines of this node only"`
	Sort   string `json:"sort" in:"query" one:"newest|oldest|name" doc:"default newest"`
	Paging
}

// Page lists machines out of the store.
func (m *Machines) Page(ctx context.Context, call *route.Call, request PageRequest) (ShortList[VM], error) {
	filter := broker.VMFilter{
		Search: strings.TrimSpace(request.Search), NodeID: request.NodeID, OldestFirst: request.Sort == "oldest", ByName: request.Sort == "name",
	}
	if request.Status != nil {
		status := broker.VMStatus(*request.Status)
		filter.Status = &status
	}
	if call.Key != nil {
		filter.Tenant = &call.Key.ID
	}
	return NewReader(m.Store).VMs(ctx, filter, request.Wanted())
}

// Power queues a power action; its documented data is null.
func (m *Machines) Power(ctx context.Context, call *route.Call, request PowerRequest) (route.Null, error) {
	if _, err := m.find(ctx, call, request.HostID); err != nil {
		return nil, err
	}
	task, err := m.Orders.Power(ctx, request.HostID, broker.PowerAction(request.Action), call.Actor)
	call.NoteTask(task)
	return nil, err
}

// PowerRefusals are what the documentation of power shows.
func PowerRefusals() map[broker.Reason]route.Refusal {
	return map[broker.Reason]route.Refusal{broker.ReasonVMNotFound: {Code: route.CodeFailed, Text: "虚拟机不存在"}}
}

// Reinstall queues a reinstall.
func (m *Machines) Reinstall(ctx context.Context, call *route.Call, request ReinstallRequest) (TaskRef, error) {
	if _, err := m.find(ctx, call, request.HostID); err != nil {
		return TaskRef{}, err
	}
	task, err := m.Orders.Reinstall(ctx, broker.ReinstallRequest{
		VM: request.HostID, Image: request.Image, Password: request.NewPassword, ResetDataDisks: request.ResetDataDisk,
	}, call.Actor)
	if err != nil {
		return TaskRef{}, err
	}
	call.NoteTask(task)
	return TaskRef{TaskID: task.ID}, nil
}

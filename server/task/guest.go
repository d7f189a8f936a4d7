package task

import (
	"context"
	"time"

	"gantry/internal/controlledclient"
	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// Hypervisors opens what the workflows talk to; server/fleet is it.
type Hypervisors interface {
	Driver(ctx context.Context, cluster int64) (hypervisor.Driver, error)
	// Daemon is Unsupported for a node without `gantry controlled`.
	Daemon(ctx context.Context, node int64) (*controlledclient.Client, error)
}

// Workflows are the kinds of task that this broker carries out.
type Workflows struct {
	store       broker.Store
	hypervisors Hypervisors
	rules       broker.Rules
	now         func() time.Time
	// Installation is where node daemons are installed.
	Installation Installation
}

// NewWorkflows makes the workflows.
func NewWorkflows(store broker.Store, hypervisors Hypervisors, rules broker.Rules, now func() time.Time) *Workflows {
	return &Workflows{store: store, hypervisors: hypervisors, rules: rules, now: now, Installation: DefaultInstallation()}
}

// All lists every workflow.
func (w *Workflows) All() []Workflow {
	return []Workflow{w.create(), w.power(), w.reinstall(), w.delete(), w.recycle(), w.downloadImage(), w.deleteImage(), w.password(), w.resize(), w.installDaemon()}
}

// subject is the VM that a task works on, with all that is needed to act on its guest.
type subject struct {
	vm     *broker.VM
	node   *broker.Node
	driver hypervisor.Driver
	ref    hypervisor.GuestRef
}

func (w *Workflows) subject(ctx context.Context, run *Run) (*subject, error) {
	if run.Task.VM == nil {
		return nil, broker.Errorf(broker.Internal, "task %d has no virtual machine", run.Task.ID)
	}
	vm, err := w.store.FindVM(ctx, *run.Task.VM)
	if err != nil {
		return nil, err
	}
	node, err := w.store.FindNode(ctx, vm.NodeID)
	if err != nil {
		return nil, err
	}
	driver, err := w.hypervisors.Driver(ctx, vm.ClusterID)
	if err != nil {
		return nil, err
	}
	return &subject{
		vm: vm, node: node, driver: driver,
		ref: hypervisor.GuestRef{ID: vm.VMID, Node: node.Name, Owner: vm.Owner},
	}, nil
}

// find reads the guest live and keeps ref pointing at the node where it is now.
func (s *subject) find(ctx context.Context) (hypervisor.Guest, error) {
	guest, err := s.driver.FindGuest(ctx, s.ref)
	if err == nil && guest.Node != "" {
		s.ref.Node = guest.Node
	}
	return guest, err
}

// ours reads the guest live; NotFound when there is none or it is somebody else's.
func (s *subject) ours(ctx context.Context) (hypervisor.Guest, error) {
	guest, err := s.find(ctx)
	if err != nil {
		return guest, err
	}
	if guest.Owner != s.vm.Owner {
		return guest, broker.Because(broker.NotFound, broker.ReasonForeignGuest, s.vm.VMID)
	}
	return guest, nil
}

// volumeOf gives the volume of one of the guest's disks, "" when it has none.
func volumeOf(guest hypervisor.Guest, disk string) string {
	for _, each := range guest.Disks {
		if each.Key == disk {
			return each.Volume
		}
	}
	return ""
}

// wait makes the outcome of a call that may or may not have begun an operation.
func wait(operation hypervisor.Operation, err error) (Outcome, error) {
	if err != nil {
		return Outcome{}, err
	}
	return Outcome{Wait: operation}, nil
}

// settle ends a VM's task inside the final transaction: status, error text and task mark.
func (w *Workflows) settle(ctx context.Context, tx broker.Tx, run *Run, status broker.VMStatus, change func(vm *broker.VM)) error {
	vm, err := tx.LockVM(ctx, *run.Task.VM)
	if err != nil {
		return err
	}
	vm.Status, vm.StatusAt, vm.TaskID, vm.LastError = status, w.now().UTC(), nil, run.Task.Error
	if change != nil {
		change(vm)
	}
	return tx.UpdateVM(ctx, vm)
}

// release gives back everything that a VM holds and forgets it. The VMID stays in quarantine, so that no late call of anybody can
// hit another customer's guest.
func (w *Workflows) release(ctx context.Context, tx broker.Tx, run *Run) error {
	vm, err := tx.LockVM(ctx, *run.Task.VM)
	if err != nil {
		return err
	}
	now := w.now().UTC()
	if err := tx.ReleaseAddresses(ctx, vm.ID); err != nil {
		return err
	}
	if vm.VMID != 0 {
		if err := tx.ReleaseVMID(ctx, vm.ClusterID, vm.VMID, now.Add(w.rules.Quarantine)); err != nil {
			return err
		}
	}
	if err := tx.DeleteOrders(ctx, vm.ID); err != nil {
		return err
	}
	vm.TaskID, vm.LastError = nil, run.Task.Error
	if err := tx.UpdateVM(ctx, vm); err != nil {
		return err
	}
	return tx.MarkVMDeleted(ctx, vm.ID, now)
}

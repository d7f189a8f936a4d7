package broker

import (
	"context"
	"encoding/json"
	"time"
)

// sweepBatch is how many VMs a look of the sweeper takes at once.
const sweepBatch = 100

// expiredAt tells whether the VM's time was over at a moment, whatever its status says by then.
func (vm *VM) expiredAt(moment time.Time) bool {
	return vm.ExpiresAt != nil && !moment.Before(*vm.ExpiresAt)
}

// Renew sets when a VM expires: at any time, also while a task works on it. A VM that expired is lifted out of that, and started
// again if it ran until then and the rules say so: the task is that start, else nil.
func (b *Broker) Renew(ctx context.Context, id int64, until time.Time, actor Actor) (*Task, error) {
	until = until.UTC()
	if !until.After(b.now()) {
		return nil, InvalidField("expirationTime", "%s is in the past", until.Format(time.RFC3339))
	}
	var task *Task
	err := b.store.Transact(ctx, func(tx Tx) error {
		task = nil
		vm, err := lockVM(ctx, tx, id)
		if err != nil {
			return err
		}
		if vm.RecycledAt != nil {
			return Because(Conflict, ReasonVMRecycled, id)
		}
		vm.ExpiresAt = &until
		if vm.Status == VMExpired && vm.TaskID == nil {
			task, err = b.lift(ctx, tx, vm, actor)
			return err
		}
		return tx.UpdateVM(ctx, vm)
	})
	if task != nil && err == nil {
		b.queue.Wake()
	}
	return task, err
}

// lift takes a renewed VM out of the state expired.
func (b *Broker) lift(ctx context.Context, tx Tx, vm *VM, actor Actor) (*Task, error) {
	ran := vm.RanUntilExpiry
	vm.Status, vm.StatusAt, vm.RanUntilExpiry = VMStopped, b.now().UTC(), false
	if !ran || !b.rules.StartAfterRenewal {
		return nil, tx.UpdateVM(ctx, vm)
	}
	return b.queuePower(ctx, tx, vm, PowerStart, VMStarting, actor)
}

// queuePower queues a power task for a VM that is locked and idle.
func (b *Broker) queuePower(ctx context.Context, tx Tx, vm *VM, action PowerAction, status VMStatus, actor Actor) (*Task, error) {
	data, err := json.Marshal(PowerData{Action: action, Before: vm.Status})
	if err != nil {
		return nil, Wrap(err, "describe the power task")
	}
	vm.Status, vm.StatusAt = status, b.now().UTC()
	task := &Task{Kind: PowerKind, Data: data}
	return task, b.queueTask(ctx, tx, task, vm, actor)
}

// Sweep queues what time asks for: it stops VMs that expired and never starts one that did, lifts those that were renewed while they
// were being stopped, and destroys VMs whose time in the recycle bin is over. Several replicas may sweep at once: each VM is
// looked at again under its lock. A VM that can't be handled is logged and does not hold up the others.
func (b *Broker) Sweep(ctx context.Context) error {
	for ctx.Err() == nil {
		due, err := b.store.DueVMs(ctx, b.now().UTC(), sweepBatch)
		if err != nil {
			return err
		}
		failures := b.sweepEach(ctx, due.Expired, b.expire) + b.sweepEach(ctx, due.Renewed, b.liftRenewed) + b.sweepEach(ctx, due.Destroyed, b.empty)
		longest := max(len(due.Expired), len(due.Renewed), len(due.Destroyed))
		if longest < sweepBatch || failures > 0 {
			return nil
		}
	}
	return nil
}

func (b *Broker) sweepEach(ctx context.Context, ids []int64, handle func(ctx context.Context, tx Tx, vm *VM) error) (failures int) {
	for _, id := range ids {
		err := b.store.Transact(ctx, func(tx Tx) error {
			vm, err := tx.LockVM(ctx, id)
			if Is(err, NotFound) {
				return nil
			}
			if err != nil || vm.TaskID != nil {
				return err
			}
			return handle(ctx, tx, vm)
		})
		if err != nil {
			b.log.Error("sweep virtual machine", "vm", id, "error", err)
			failures++
			continue
		}
		b.queue.Wake()
	}
	return failures
}

// sweeper is who the tasks of the sweeper are requested by; they count as the VM's tenant's.
func sweeper(vm *VM) Actor { return Actor{Name: "sweeper", APIKeyID: vm.Tenant} }

func (b *Broker) expire(ctx context.Context, tx Tx, vm *VM) error {
	if vm.RecycledAt != nil || !vm.expiredAt(b.now()) || vm.Status == VMExpired || vm.Status == VMPaused || vm.Status == VMFailed {
		return nil
	}
	vm.RanUntilExpiry = vm.Status == VMRunning
	_, err := b.queuePower(ctx, tx, vm, PowerExpire, VMStopping, sweeper(vm))
	return err
}

func (b *Broker) liftRenewed(ctx context.Context, tx Tx, vm *VM) error {
	if vm.RecycledAt != nil || vm.Status != VMExpired || vm.expiredAt(b.now()) {
		return nil
	}
	_, err := b.lift(ctx, tx, vm, sweeper(vm))
	return err
}

func (b *Broker) empty(ctx context.Context, tx Tx, vm *VM) error {
	if vm.RecycledAt == nil || vm.DestroyAt == nil || b.now().Before(*vm.DestroyAt) {
		return nil
	}
	_, err := b.queueDestroy(ctx, tx, vm, sweeper(vm))
	return err
}

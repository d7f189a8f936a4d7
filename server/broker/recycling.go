package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
)

// deleteDaysSetting is how many days a deleted VM stays in the recycle bin, over Rules.DeleteDays; 0 = deleted at once.
const deleteDaysSetting = "system.delete_days"

// MaxDeleteDays bounds how long VMs stay in the recycle bin.
const MaxDeleteDays = 3650

// RecycleData is the state that a recycle task begins with.
type RecycleData struct {
	PowerData
	// Days is how long the VM stays in the recycle bin.
	Days int `json:"days"`
}

func (b *Broker) deleteDays(ctx context.Context) (int, error) {
	text, err := b.store.Setting(ctx, deleteDaysSetting)
	if Is(err, NotFound) {
		return b.rules.DeleteDays, nil
	}
	if err != nil {
		return 0, err
	}
	days, err := strconv.Atoi(text)
	if err != nil || days < 0 || days > MaxDeleteDays {
		return 0, Wrap(fmt.Errorf("setting %s is %.20q", deleteDaysSetting, text), "read the system settings")
	}
	return days, nil
}

// Delete puts a VM into the recycle bin: it is stopped and keeps everything for the set number of days, its expiry included. With
// 0 days it is destroyed at once. A create that still runs is cancelled instead: undoing it removes the machine, too. For a VM
// that is on its way already, or in the bin, the task is that of the earlier call.
func (b *Broker) Delete(ctx context.Context, id int64, actor Actor) (*Task, error) {
	days, err := b.deleteDays(ctx)
	if err != nil {
		return nil, err
	}
	if days == 0 {
		return b.Destroy(ctx, id, actor)
	}
	vm, err := b.findVM(ctx, id)
	if err != nil {
		return nil, err
	}
	if vm.RecycledAt != nil && vm.TaskID == nil {
		return b.recycleTask(ctx, id)
	}
	if task, err := b.leaving(ctx, vm, actor); task != nil || err != nil {
		return task, err
	}
	var task *Task
	err = b.onVM(ctx, id, func(tx Tx, vm *VM) error {
		data, err := json.Marshal(RecycleData{PowerData: PowerData{Action: PowerStop, Before: vm.Status}, Days: days})
		if err != nil {
			return Wrap(err, "describe the recycle task")
		}
		vm.Status, vm.StatusAt = VMDeleting, b.now().UTC()
		task = &Task{Kind: RecycleKind, Data: data}
		return b.queueTask(ctx, tx, task, vm, actor)
	})
	return task, err
}

func (b *Broker) recycleTask(ctx context.Context, vm int64) (*Task, error) {
	tasks, _, err := b.store.ListTasks(ctx, TaskFilter{VM: vm, Kind: RecycleKind}, Page{Number: 1, Size: 1})
	if err != nil || len(tasks) == 0 {
		return nil, err
	}
	return &tasks[0], nil
}

// leaving gives the task that takes the VM away already, after cancelling a create; nil when none does.
func (b *Broker) leaving(ctx context.Context, vm *VM, actor Actor) (*Task, error) {
	if vm.TaskID == nil {
		return nil, nil
	}
	running, err := b.store.FindTask(ctx, *vm.TaskID)
	if err != nil {
		return nil, err
	}
	switch running.Kind {
	case DeleteKind, RecycleKind:
		return running, nil
	case CreateKind:
		if err := b.store.RequestCancel(ctx, running.ID, actor.Name, b.now().UTC()); err == nil {
			b.queue.Wake()
			return running, nil
		}
	}
	return nil, nil
}

// Destroy queues the end of a VM, in the recycle bin or not. A create that still runs is cancelled instead.
func (b *Broker) Destroy(ctx context.Context, id int64, actor Actor) (*Task, error) {
	vm, err := b.findVM(ctx, id)
	if err != nil {
		return nil, err
	}
	running, err := b.leaving(ctx, vm, actor)
	if err != nil {
		return nil, err
	}
	if running != nil && running.Kind != RecycleKind {
		return running, nil
	}
	var task *Task
	err = b.onAnyVM(ctx, id, func(tx Tx, vm *VM) error {
		task, err = b.queueDestroy(ctx, tx, vm, actor)
		return err
	})
	return task, err
}

// queueDestroy queues the end of a VM that is locked and idle.
func (b *Broker) queueDestroy(ctx context.Context, tx Tx, vm *VM, actor Actor) (*Task, error) {
	data, err := json.Marshal(PowerData{Before: vm.Status})
	if err != nil {
		return nil, Wrap(err, "describe the delete task")
	}
	vm.Status, vm.StatusAt = VMDeleting, b.now().UTC()
	task := &Task{Kind: DeleteKind, Data: data}
	return task, b.queueTask(ctx, tx, task, vm, actor)
}

// Restore takes a VM out of the recycle bin and makes it what it was: one that ran is started again (the task; else nil), unless it
// has expired meanwhile.
func (b *Broker) Restore(ctx context.Context, id int64, actor Actor) (*Task, error) {
	var task *Task
	err := b.onAnyVM(ctx, id, func(tx Tx, vm *VM) (err error) {
		task = nil
		if vm.RecycledAt == nil {
			return Errorf(Conflict, "virtual machine %d is not in the recycle bin", id)
		}
		now, before := b.now().UTC(), vm.RecycledStatus
		vm.RecycledAt, vm.DestroyAt, vm.RecycledStatus = nil, nil, 0
		vm.Status, vm.StatusAt = before, now
		if before != VMRunning {
			return tx.UpdateVM(ctx, vm)
		}
		vm.Status = VMStopped
		if vm.expiredAt(now) {
			vm.Status, vm.RanUntilExpiry = VMExpired, true
			return tx.UpdateVM(ctx, vm)
		}
		task, err = b.queuePower(ctx, tx, vm, PowerStart, VMStarting, actor)
		return err
	})
	return task, err
}

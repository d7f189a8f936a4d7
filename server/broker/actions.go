package broker

import (
	"context"
	"encoding/json"
	"time"
)

// PowerData is the state that a power task begins with.
type PowerData struct {
	Action PowerAction `json:"action"`
	// Before is the status that the VM had: an undone task puts it back if the hypervisor can't tell.
	Before VMStatus `json:"before"`
}

// ReinstallData is the state that a reinstall task begins with.
type ReinstallData struct {
	ImageID        int64    `json:"imageId"`
	Volume         string   `json:"volume"`
	ByDaemon       bool     `json:"byDaemon"`
	ResetDataDisks bool     `json:"resetDataDisks"`
	Before         VMStatus `json:"before"`
}

// Power queues a power action. It is refused while another task works on the VM, and for customers' actions on a VM that is
// suspended by the operator or expired.
func (b *Broker) Power(ctx context.Context, id int64, action PowerAction, actor Actor) (*Task, error) {
	status, known := map[PowerAction]VMStatus{
		PowerStart: VMStarting, PowerStop: VMStopping, PowerShutdown: VMForceStopping, PowerReboot: VMRebooting,
		PowerSuspend: VMSuspending, PowerResume: VMResuming, PowerPause: VMPausing, PowerUnpause: VMStarting,
	}[action]
	if !known {
		return nil, InvalidField("action", "%q is none of start, stop, shutdown, reboot, suspend, resume, pause, unpause", bounded(string(action)))
	}
	var task *Task
	err := b.onVM(ctx, id, func(tx Tx, vm *VM) error {
		if err := powerAllowed(vm, action, b.now()); err != nil {
			return err
		}
		if action == PowerSuspend && !b.fleet.Supports(ctx, vm.ClusterID, CapabilitySuspendToDisk) {
			return Because(Unsupported, ReasonUnsupported, "suspend to disk")
		}
		data, err := json.Marshal(PowerData{Action: action, Before: vm.Status})
		if err != nil {
			return Wrap(err, "describe the power task")
		}
		vm.Status, vm.StatusAt = status, b.now().UTC()
		task = &Task{Kind: PowerKind, Data: data}
		return b.queueTask(ctx, tx, task, vm, actor)
	})
	return task, err
}

func powerAllowed(vm *VM, action PowerAction, now time.Time) error {
	switch vm.Status {
	case VMPaused:
		if action != PowerUnpause && action != PowerPause {
			return Because(Conflict, ReasonVMSuspended, vm.ID)
		}
	case VMExpired, VMOverTraffic:
		if action != PowerStop && action != PowerShutdown && action != PowerPause {
			return Because(Conflict, ReasonVMExpired, vm.ID)
		}
	}
	switch action {
	case PowerStart, PowerReboot, PowerResume, PowerUnpause:
		if vm.expiredAt(now) { // the sweeper has yet to come by
			return Because(Conflict, ReasonVMExpired, vm.ID)
		}
	}
	if action == PowerUnpause && vm.Status != VMPaused {
		return Errorf(Conflict, "virtual machine %d is not paused", vm.ID)
	}
	return nil
}

// Reinstall queues a reinstall: the old system disk goes only after the new one was seen running.
func (b *Broker) Reinstall(ctx context.Context, request ReinstallRequest, actor Actor) (*Task, error) {
	if err := checkPassword("newPassword", request.Password); err != nil {
		return nil, err
	}
	known, err := b.findVM(ctx, request.VM)
	if err != nil {
		return nil, err
	}
	node, _, err := b.usableNode(ctx, known.NodeID, known.Kind)
	if err != nil {
		return nil, err
	}
	image, err := b.usableImage(ctx, request.Image, node)
	if err != nil {
		return nil, err
	}
	imageCopy, err := b.store.FindImageCopy(ctx, image.ID, node.ID)
	if err != nil {
		return nil, err
	}
	var task *Task
	err = b.onVM(ctx, request.VM, func(tx Tx, vm *VM) error {
		if vm.Spec.Adopted {
			return Because(Conflict, ReasonAdopted, vm.ID)
		}
		switch vm.Status {
		case VMPaused:
			return Because(Conflict, ReasonVMSuspended, vm.ID)
		case VMExpired:
			return Because(Conflict, ReasonVMExpired, vm.ID)
		}
		if vm.expiredAt(b.now()) {
			return Because(Conflict, ReasonVMExpired, vm.ID)
		}
		if image.Arch != "" && image.Arch != vm.Spec.Arch {
			return InvalidField("os", "image %s is for %s, not %s", image.Name, image.Arch, vm.Spec.Arch)
		}
		data, err := json.Marshal(ReinstallData{
			ImageID: image.ID, Volume: imageCopy.Volume, ByDaemon: imageCopy.ByDaemon,
			ResetDataDisks: request.ResetDataDisks, Before: vm.Status,
		})
		if err != nil {
			return Wrap(err, "describe the reinstall task")
		}
		vm.Status, vm.StatusAt, vm.PendingPassword = VMReinstalling, b.now().UTC(), request.Password
		task = &Task{Kind: ReinstallKind, Data: data}
		return b.queueTask(ctx, tx, task, vm, actor)
	})
	return task, err
}

// findVM reads a VM; NotFound says which.
func (b *Broker) findVM(ctx context.Context, id int64) (*VM, error) {
	vm, err := b.store.FindVM(ctx, id)
	if Is(err, NotFound) {
		failure := Because(NotFound, ReasonVMNotFound, id)
		failure.Field = "hostId"
		return nil, failure
	}
	return vm, err
}

// lockVM is findVM with the VM locked.
func lockVM(ctx context.Context, tx Tx, id int64) (*VM, error) {
	vm, err := tx.LockVM(ctx, id)
	if Is(err, NotFound) {
		failure := Because(NotFound, ReasonVMNotFound, id)
		failure.Field = "hostId"
		return nil, failure
	}
	return vm, err
}

// onVM is onAnyVM for VMs in service.
func (b *Broker) onVM(ctx context.Context, id int64, change func(tx Tx, vm *VM) error) error {
	return b.onAnyVM(ctx, id, func(tx Tx, vm *VM) error {
		if vm.RecycledAt != nil {
			return Because(Conflict, ReasonVMRecycled, id)
		}
		return change(tx, vm)
	})
}

// onAnyVM runs change with the VM locked and no task at work on it, in one transaction, and wakes the engine.
func (b *Broker) onAnyVM(ctx context.Context, id int64, change func(tx Tx, vm *VM) error) error {
	err := b.store.Transact(ctx, func(tx Tx) error {
		vm, err := lockVM(ctx, tx, id)
		if err != nil {
			return err
		}
		if vm.TaskID != nil {
			return Because(Conflict, ReasonVMBusy, id, taskWord(vm.Status))
		}
		return change(tx, vm)
	})
	if err == nil {
		b.queue.Wake()
	}
	return err
}

func taskWord(status VMStatus) string {
	words := map[VMStatus]string{
		VMCreating: "creating", VMStarting: "starting", VMStopping: "stopping", VMForceStopping: "stopping",
		VMSuspending: "suspending", VMResuming: "resuming", VMPausing: "pausing", VMRebooting: "rebooting",
		VMReinstalling: "reinstalling", VMResetPassword: "setting the password", VMDeleting: "deleting",
	}
	if word, known := words[status]; known {
		return word
	}
	return "another task"
}

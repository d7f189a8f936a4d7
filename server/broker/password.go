package broker

import (
	"context"
	"encoding/json"
)

// PasswordKind names the workflow that sets a login password.
const PasswordKind = "reset-password"

// MaxConsolePassword is how long a screen's password may be. VNC authentication looks at its first ConsolePasswordCounts bytes only
// (RFC 6143 §7.2.2).
const (
	MaxConsolePassword    = 128
	ConsolePasswordCounts = 8
)

// PasswordData is the state that a password task begins with. The password itself is VM.PendingPassword.
type PasswordData struct {
	Before VMStatus `json:"before"`
}

// ResetPassword queues setting the login password (AMS restPassword). Where the guest's agent answers, it is set inside the running
// guest; else cloud-init gets it and the guest is stopped and started, if it runs. Unsupported for a VM that has neither.
func (b *Broker) ResetPassword(ctx context.Context, id int64, password string, actor Actor) (*Task, error) {
	if password == "" {
		return nil, InvalidField("newPassword", "is required")
	}
	if err := checkPassword("newPassword", password); err != nil {
		return nil, err
	}
	var task *Task
	err := b.onVM(ctx, id, func(tx Tx, vm *VM) error {
		if err := b.inUse(vm); err != nil {
			return err
		}
		if !vm.Spec.CloudInit && !(vm.Spec.GuestAgent && b.fleet.Supports(ctx, vm.ClusterID, CapabilityGuestAgent)) {
			return Because(Unsupported, ReasonUnsupported, "setting a password: the image has neither cloud-init nor a guest agent")
		}
		data, err := json.Marshal(PasswordData{Before: vm.Status})
		if err != nil {
			return Wrap(err, "describe the password task")
		}
		vm.Status, vm.StatusAt, vm.PendingPassword = VMResetPassword, b.now().UTC(), password
		task = &Task{Kind: PasswordKind, Data: data}
		return b.queueTask(ctx, tx, task, vm, actor)
	})
	return task, err
}

// inUse refuses to change a VM that its customer may not use now.
func (b *Broker) inUse(vm *VM) error {
	switch {
	case vm.Status == VMPaused:
		return Because(Conflict, ReasonVMSuspended, vm.ID)
	case vm.Status == VMExpired || vm.expiredAt(b.now()):
		return Because(Conflict, ReasonVMExpired, vm.ID)
	}
	return nil
}

// SetConsolePassword sets the password that the console asks for (AMS updateVncPassword); "" = none. Open consoles stay open.
func (b *Broker) SetConsolePassword(ctx context.Context, id int64, password string) error {
	if len(password) > MaxConsolePassword || !printable(password) {
		return InvalidField("password", "at most %d printable ASCII characters", MaxConsolePassword)
	}
	return b.store.Transact(ctx, func(tx Tx) error {
		vm, err := lockVM(ctx, tx, id)
		if err != nil {
			return err
		}
		if vm.RecycledAt != nil {
			return Because(Conflict, ReasonVMRecycled, id)
		}
		vm.ConsolePassword = password
		return tx.UpdateVM(ctx, vm)
	})
}

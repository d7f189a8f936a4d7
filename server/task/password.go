package task

import (
	"context"
	"strings"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// agentPatience bounds how long a guest's agent may take: PVE itself gives up after some seconds.
const agentPatience = 20 * time.Second

// passwordState is what a password task remembers.
type passwordState struct {
	broker.PasswordData
	// Looked tells that the guest was looked at: WasRunning holds.
	Looked     bool `json:"looked,omitempty"`
	WasRunning bool `json:"wasRunning,omitempty"`
	// Inside tells that the running guest has the new password: it needs no restart.
	Inside bool `json:"inside,omitempty"`
	// Restoring tells that the operation waited for puts the old settings back.
	Restoring bool             `json:"restoring,omitempty"`
	Seen      hypervisor.Power `json:"seen,omitempty"`
}

func (w *Workflows) password() Workflow {
	return Workflow{
		Kind: broker.PasswordKind, Deadline: 20 * time.Minute,
		Title: map[broker.Language]string{broker.English: "Set the password", broker.Chinese: "重置密码"},
		Steps: []Step{
			{Name: "set-inside", Do: w.setInside, Undo: w.unsetInside,
				Title: map[broker.Language]string{broker.English: "Set it in the running guest", broker.Chinese: "在运行中的系统内设置"}},
			{Name: "configure", Do: w.configurePassword, Undo: w.configurePasswordBack,
				Title: map[broker.Language]string{broker.English: "Tell cloud-init", broker.Chinese: "写入 cloud-init"}},
			{Name: "stop", Weight: 3, Do: w.stopForPassword,
				Title: map[broker.Language]string{broker.English: "Stop the guest, where only a start brings the password", broker.Chinese: "必要时停止虚拟机"}},
			{Name: "start", Weight: 2, Do: w.startForPassword,
				Title: map[broker.Language]string{broker.English: "Start the guest", broker.Chinese: "启动虚拟机"}},
			{Name: "verify", Do: w.verifyPassword,
				Title: map[broker.Language]string{broker.English: "See the guest's state", broker.Chinese: "确认状态"}},
		},
		Finish: w.finishPassword,
	}
}

func (w *Workflows) finishPassword(ctx context.Context, tx broker.Tx, run *Run, state broker.TaskState) error {
	if state != broker.TaskDone {
		if err := w.settleAsSeen(ctx, tx, run, state); err != nil {
			return err
		}
		vm, err := tx.LockVM(ctx, *run.Task.VM)
		if err != nil {
			return err
		}
		vm.PendingPassword = ""
		return tx.UpdateVM(ctx, vm)
	}
	var own passwordState
	if err := run.Load(&own); err != nil {
		return err
	}
	return w.settle(ctx, tx, run, own.Before, func(vm *broker.VM) {
		if vm.PendingPassword != "" {
			vm.Password, vm.PendingPassword = vm.PendingPassword, ""
		}
	})
}

func (w *Workflows) settingPassword(ctx context.Context, run *Run) (*subject, passwordState, error) {
	var state passwordState
	if err := run.Load(&state); err != nil {
		return nil, state, err
	}
	subject, err := w.subject(ctx, run)
	return subject, state, err
}

// setInside asks the guest's agent. Where cloud-init can do it instead, an agent that does not is no failure.
func (w *Workflows) setInside(ctx context.Context, run *Run) (Outcome, error) {
	subject, state, err := w.settingPassword(ctx, run)
	if err != nil {
		return Outcome{}, err
	}
	guest, err := subject.ours(ctx)
	if err != nil {
		return Outcome{}, err
	}
	state.Looked, state.WasRunning = true, guest.Power == hypervisor.PowerRunning
	spec := subject.vm.Spec
	setter, able := subject.driver.(hypervisor.PasswordSetter)
	switch {
	case spec.GuestAgent && able && state.WasRunning:
		err = askAgent(ctx, setter, subject, subject.vm.PendingPassword)
	case spec.GuestAgent && able:
		err = broker.Because(broker.Conflict, broker.ReasonVMNotRunning, subject.vm.ID)
	default:
		err = broker.Because(broker.Unsupported, broker.ReasonUnsupported, "guest agent")
	}
	if err == nil {
		state.Inside = true
		return Outcome{State: state, Note: "set by the guest agent"}, nil
	}
	if !spec.CloudInit {
		return Outcome{State: state}, err
	}
	if spec.GuestAgent && state.WasRunning {
		return Outcome{State: state, Note: "the guest agent did not set it, cloud-init will: " + broker.DetailOf(err)}, nil
	}
	return Outcome{State: state}, nil
}

// askAgent keeps the password out of the error.
func askAgent(ctx context.Context, setter hypervisor.PasswordSetter, subject *subject, password string) error {
	ctx, cancel := context.WithTimeout(ctx, agentPatience)
	defer cancel()
	err := setter.SetGuestPassword(ctx, subject.ref, subject.vm.Username, password)
	if err == nil || !strings.Contains(err.Error(), password) {
		return err
	}
	return broker.Errorf(broker.KindOf(err), "%s", strings.ReplaceAll(broker.DetailOf(err), password, "***"))
}

// unsetInside is the last thing to undo: the guest gets its old password back as far as it answers, and runs again if it ran.
func (w *Workflows) unsetInside(ctx context.Context, run *Run) (Outcome, error) {
	subject, state, err := w.settingPassword(ctx, run)
	if err != nil {
		return Outcome{}, err
	}
	guest, err := subject.ours(ctx)
	if broker.Is(err, broker.NotFound) {
		return Outcome{Note: guestMissing}, nil
	}
	if err != nil {
		return Outcome{}, err
	}
	state.Seen = guest.Power
	if state.WasRunning && guest.Power == hypervisor.PowerStopped {
		operation, err := subject.driver.Power(ctx, subject.ref, hypervisor.Start, hypervisor.PowerOptions{})
		if err == nil && operation.Done() {
			return Outcome{After: 100 * time.Millisecond}, nil
		}
		return wait(operation, err)
	}
	outcome := Outcome{State: state}
	setter, able := subject.driver.(hypervisor.PasswordSetter)
	// An attempt that died may have set it without being able to say so.
	if able && subject.vm.Spec.GuestAgent && guest.Power == hypervisor.PowerRunning && subject.vm.Password != "" {
		if err := askAgent(ctx, setter, subject, subject.vm.Password); err != nil {
			outcome.Note = "the guest may have the new password: " + broker.DetailOf(err)
		}
	}
	return outcome, nil
}

// configurePassword lets cloud-init know in any case: else a later change of its data would bring the old password back.
func (w *Workflows) configurePassword(ctx context.Context, run *Run) (Outcome, error) {
	if ended, err := run.Ended(); ended {
		return Outcome{}, err
	}
	subject, _, err := w.settingPassword(ctx, run)
	if err != nil || !subject.vm.Spec.CloudInit {
		return Outcome{}, err
	}
	if operation, found, err := w.retake(ctx, run, subject, hypervisor.OperationConfig); found || err != nil {
		return wait(operation, err)
	}
	return wait(subject.driver.Configure(ctx, subject.ref, hypervisor.GuestChange{CloudInit: cloudInit(subject.vm, subject.vm.PendingPassword)}))
}

func (w *Workflows) configurePasswordBack(ctx context.Context, run *Run) (Outcome, error) {
	subject, state, err := w.settingPassword(ctx, run)
	if err != nil || !subject.vm.Spec.CloudInit {
		return Outcome{}, err
	}
	if ended, err := run.Ended(); ended && state.Restoring && !broker.Is(err, broker.NotFound) {
		return Outcome{}, err
	}
	if run.Result == nil && !run.Operation.Done() {
		return Outcome{Wait: run.Operation}, nil
	}
	operation, err := subject.driver.Configure(ctx, subject.ref, hypervisor.GuestChange{CloudInit: cloudInit(subject.vm, subject.vm.Password)})
	if broker.Is(err, broker.NotFound) {
		return Outcome{}, nil
	}
	outcome, err := wait(operation, err)
	state.Restoring = true
	outcome.State = state
	return outcome, err
}

func (w *Workflows) stopForPassword(ctx context.Context, run *Run) (Outcome, error) {
	subject, state, err := w.settingPassword(ctx, run)
	if err != nil || state.Inside || !state.WasRunning {
		return Outcome{}, err
	}
	return w.shutDown(ctx, run, subject)
}

func (w *Workflows) startForPassword(ctx context.Context, run *Run) (Outcome, error) {
	_, state, err := w.settingPassword(ctx, run)
	if err != nil || state.Inside || !state.WasRunning {
		return Outcome{}, err
	}
	return w.startGuest(ctx, run)
}

func (w *Workflows) verifyPassword(ctx context.Context, run *Run) (Outcome, error) {
	_, state, err := w.settingPassword(ctx, run)
	if err != nil {
		return Outcome{}, err
	}
	if !state.WasRunning {
		return Outcome{Note: "in force from the next start"}, nil
	}
	_, err = w.runningGuest(ctx, run)
	return Outcome{}, err
}

// shutDown asks a guest to stop, forces it when it does not, and believes only that it is off.
func (w *Workflows) shutDown(ctx context.Context, run *Run, subject *subject) (Outcome, error) {
	if ended, err := run.Ended(); ended && err != nil && !broker.Is(err, broker.NotFound) {
		return Outcome{}, err
	}
	if operation, found, err := w.retake(ctx, run, subject, hypervisor.OperationShutdown); found || err != nil {
		return wait(operation, err)
	}
	guest, err := subject.ours(ctx)
	if err != nil {
		return Outcome{}, err
	}
	if guest.Power == hypervisor.PowerStopped {
		return Outcome{}, nil
	}
	operation, err := subject.driver.Power(ctx, subject.ref, hypervisor.Shutdown, hypervisor.PowerOptions{Timeout: shutdownPatience, Force: true})
	if err == nil && operation.Done() {
		return Outcome{After: 100 * time.Millisecond}, nil
	}
	return wait(operation, err)
}

package task

import (
	"context"
	"slices"
	"time"

	"gantry/server/broker"
	"gantry/server/fleet"
	"gantry/server/hypervisor"
)

// shutdownPatience is how long a guest that is asked to stop may take before it is forced.
const shutdownPatience = 60 * time.Second

// powerState is what a power task, or one that puts a machine into the recycle bin, remembers; Seen is the guest's state when last
// looked at.
type powerState struct {
	broker.RecycleData
	Seen hypervisor.Power `json:"seen,omitempty"`
	// Updating tells that the operation waited for writes edited models to the guest; Processor is their digest, once written.
	Updating  bool    `json:"updating,omitempty"`
	Processor *string `json:"processor,omitempty"`
}

// button maps an AMS power word to what the hypervisor is told and the state that must be seen afterwards.
type button struct {
	action  hypervisor.PowerAction
	options hypervisor.PowerOptions
	kind    hypervisor.OperationKind
	wanted  []hypervisor.Power
	status  broker.VMStatus
}

func buttonOf(action broker.PowerAction) (button, error) {
	running := []hypervisor.Power{hypervisor.PowerRunning}
	// A guest that is suspended to disk is off, too.
	off := []hypervisor.Power{hypervisor.PowerStopped, hypervisor.PowerSuspended}
	buttons := map[broker.PowerAction]button{
		broker.PowerStart: {action: hypervisor.Start, kind: hypervisor.OperationStart, wanted: running, status: broker.VMRunning},
		broker.PowerStop: {
			action: hypervisor.Shutdown, options: hypervisor.PowerOptions{Timeout: shutdownPatience, Force: true},
			kind: hypervisor.OperationShutdown, wanted: off, status: broker.VMStopped,
		},
		broker.PowerExpire: {
			action: hypervisor.Shutdown, options: hypervisor.PowerOptions{Timeout: shutdownPatience, Force: true},
			kind: hypervisor.OperationShutdown, wanted: off, status: broker.VMExpired,
		},
		broker.PowerOverTraffic: {
			action: hypervisor.Shutdown, options: hypervisor.PowerOptions{Timeout: shutdownPatience, Force: true},
			kind: hypervisor.OperationShutdown, wanted: off, status: broker.VMOverTraffic,
		},
		broker.PowerShutdown: {action: hypervisor.Stop, kind: hypervisor.OperationStop, wanted: off, status: broker.VMStopped},
		broker.PowerReboot:   {action: hypervisor.Reboot, kind: hypervisor.OperationReboot, wanted: running, status: broker.VMRunning},
		broker.PowerSuspend: {
			action: hypervisor.Suspend, kind: hypervisor.OperationSuspend, status: broker.VMSuspended,
			wanted: []hypervisor.Power{hypervisor.PowerSuspended, hypervisor.PowerPaused, hypervisor.PowerStopped},
		},
		broker.PowerResume:  {action: hypervisor.Resume, kind: hypervisor.OperationResume, wanted: running, status: broker.VMRunning},
		broker.PowerPause:   {action: hypervisor.Stop, kind: hypervisor.OperationStop, wanted: off, status: broker.VMPaused},
		broker.PowerUnpause: {action: hypervisor.Start, kind: hypervisor.OperationStart, wanted: running, status: broker.VMRunning},
	}
	known, found := buttons[action]
	if !found {
		return button{}, broker.Errorf(broker.Internal, "unknown power action %q", action)
	}
	return known, nil
}

func (w *Workflows) power() Workflow {
	return Workflow{
		Kind: broker.PowerKind, Deadline: 15 * time.Minute,
		Title: map[broker.Language]string{broker.English: "Change power", broker.Chinese: "电源操作"},
		Steps: []Step{
			{Name: "press", Weight: 4, Do: w.press, Undo: w.lookAtGuest,
				Title: map[broker.Language]string{broker.English: "Press the button", broker.Chinese: "执行电源操作"}},
			{Name: "verify", Do: w.verifyPower,
				Title: map[broker.Language]string{broker.English: "See the guest's state", broker.Chinese: "确认状态"}},
		},
		Finish: func(ctx context.Context, tx broker.Tx, run *Run, state broker.TaskState) error {
			if state != broker.TaskDone {
				return w.settleAsSeen(ctx, tx, run, state)
			}
			var own powerState
			if err := run.Load(&own); err != nil {
				return err
			}
			pressed, err := buttonOf(own.Action)
			if err != nil {
				return err
			}
			return w.settle(ctx, tx, run, pressed.status, func(vm *broker.VM) {
				if own.Processor != nil {
					vm.Spec.Processor = *own.Processor
				}
			})
		},
	}
}

func (w *Workflows) press(ctx context.Context, run *Run) (Outcome, error) {
	var state powerState
	if err := run.Load(&state); err != nil {
		return Outcome{}, err
	}
	if ended, err := run.Ended(); ended && (err != nil || !state.Updating) {
		return Outcome{}, err
	}
	pressed, err := buttonOf(state.Action)
	if err != nil {
		return Outcome{}, err
	}
	subject, err := w.subject(ctx, run)
	if err != nil {
		return Outcome{}, err
	}
	if operation, found, err := w.retake(ctx, run, subject, pressed.kind); found || err != nil {
		return wait(operation, err)
	}
	if absentIsOff(run, state) {
		guest, err := subject.ours(ctx)
		if broker.Is(err, broker.NotFound) {
			return Outcome{Note: guestMissing}, nil
		}
		if err != nil || slices.Contains(pressed.wanted, guest.Power) {
			return Outcome{}, err
		}
	}
	if pressed.action == hypervisor.Start && !state.Updating {
		outcome, updating, err := w.updateProcessor(ctx, subject, &state)
		if updating || err != nil {
			return outcome, err
		}
	}
	state.Updating = false
	outcome, err := wait(subject.driver.Power(ctx, subject.ref, pressed.action, pressed.options))
	outcome.State = state
	return outcome, err
}

// updateProcessor writes models that were edited since the guest was given them, before it is started: once, as the digest of what was
// written is kept. A hypervisor that can't change them in a guest that exists leaves it as it is.
func (w *Workflows) updateProcessor(ctx context.Context, subject *subject, state *powerState) (Outcome, bool, error) {
	processor, digest, err := w.staleProcessor(ctx, subject.vm)
	if err != nil || processor == nil {
		return Outcome{}, false, err
	}
	operation, err := subject.driver.Configure(ctx, subject.ref, hypervisor.GuestChange{Processor: processor})
	if broker.Is(err, broker.Unsupported) {
		return Outcome{}, false, nil
	}
	if err != nil {
		return Outcome{}, false, err
	}
	state.Processor = &digest
	if operation.Done() {
		return Outcome{}, false, nil
	}
	state.Updating = true
	return Outcome{State: *state, Wait: operation, Note: "its CPU or SMBIOS model was edited: written to the guest"}, true, nil
}

const guestMissing = "the guest is missing on the hypervisor"

// absentIsOff tells that a guest which is gone is as good as one that is off: it only had to stop.
func absentIsOff(run *Run, state powerState) bool {
	return run.Task.Kind == broker.RecycleKind || state.Action == broker.PowerExpire || state.Action == broker.PowerOverTraffic
}

func (w *Workflows) verifyPower(ctx context.Context, run *Run) (Outcome, error) {
	var state powerState
	if err := run.Load(&state); err != nil {
		return Outcome{}, err
	}
	pressed, err := buttonOf(state.Action)
	if err != nil {
		return Outcome{}, err
	}
	subject, err := w.subject(ctx, run)
	if err != nil {
		return Outcome{}, err
	}
	guest, err := subject.ours(ctx)
	if broker.Is(err, broker.NotFound) && absentIsOff(run, state) {
		return Outcome{Note: guestMissing}, nil
	}
	if err != nil {
		return Outcome{}, err
	}
	if slices.Contains(pressed.wanted, guest.Power) {
		return Outcome{}, nil
	}
	return Outcome{}, broker.Errorf(broker.Failed, "the hypervisor reported success, but the guest is %s", guest.Power)
}

// lookAtGuest undoes nothing: it sees what state the guest is in after a failed action, so that the record tells the truth.
func (w *Workflows) lookAtGuest(ctx context.Context, run *Run) (Outcome, error) {
	if run.Result == nil && !run.Operation.Done() {
		return Outcome{Wait: run.Operation}, nil
	}
	subject, err := w.subject(ctx, run)
	if err != nil {
		return Outcome{}, err
	}
	var state powerState
	if err := run.Load(&state); err != nil {
		return Outcome{}, err
	}
	guest, err := subject.ours(ctx)
	if broker.Is(err, broker.NotFound) {
		state.Seen = hypervisor.PowerUnknown
		return Outcome{State: state, Note: guestMissing}, nil
	}
	if err != nil {
		return Outcome{}, err
	}
	state.Seen = guest.Power
	return Outcome{State: state}, nil
}

// settleAsSeen ends a failed action: the VM's status is what lookAtGuest saw, or what it was before.
func (w *Workflows) settleAsSeen(ctx context.Context, tx broker.Tx, run *Run, state broker.TaskState) error {
	var own powerState
	if err := run.Load(&own); err != nil {
		return err
	}
	status := own.Before
	if status.Transitional() || status == broker.VMRunning || status == broker.VMStopped || status == broker.VMSuspended {
		if seen, known := fleet.StatusOf(own.Seen); known {
			status = seen
		}
	}
	if state == broker.TaskStuck {
		status = broker.VMFailed
	}
	return w.settle(ctx, tx, run, status, nil)
}

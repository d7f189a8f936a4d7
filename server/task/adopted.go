package task

import (
	"context"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// removeAdopted is removeGuest for a machine whose guest was there before Gantry. Without the operator's word the guest is switched off and
// let go, with its configuration and its disks.
func (w *Workflows) removeAdopted(destroyDisks bool) func(context.Context, *Run, *subject, removal, hypervisor.Operation) (Outcome, removal, error) {
	return func(ctx context.Context, run *Run, subject *subject, state removal, proof hypervisor.Operation) (Outcome, removal, error) {
		adopter, able := subject.driver.(hypervisor.Adopter)
		if !able {
			return Outcome{}, state, broker.Because(broker.Unsupported, broker.ReasonUnsupported, "taking over guests")
		}
		guest, err := subject.find(ctx)
		if err == nil && guest.Owner == subject.vm.Owner && destroyDisks {
			if err := adopter.ClaimDisks(ctx, subject.ref); err != nil {
				return Outcome{}, state, err
			}
		}
		if destroyDisks {
			return w.removeGuest(ctx, run, subject, state, proof)
		}
		switch {
		case broker.Is(err, broker.NotFound):
			return Outcome{Note: guestMissing}, state, nil
		case err != nil:
			return Outcome{}, state, err
		case run.Result != nil && state.Awaited != "" && run.Result.Err != nil && !broker.Is(run.Result.Err, broker.NotFound):
			return Outcome{}, state, run.Result.Err
		case guest.Owner != subject.vm.Owner:
			return Outcome{Note: "the guest is somebody else's: left alone"}, state, nil
		case guest.Power != hypervisor.PowerStopped && guest.Power != hypervisor.PowerSuspended:
			state.Awaited = "stop"
			operation, err := subject.driver.Power(ctx, subject.ref, hypervisor.Stop, hypervisor.PowerOptions{})
			return waitOrLook(operation, err, state)
		}
		return Outcome{Note: "the guest and its disks were left on the hypervisor"}, state, adopter.Disown(ctx, subject.ref)
	}
}

// releaseDeleted gives back what a deleted machine held.
func (w *Workflows) releaseDeleted(ctx context.Context, tx broker.Tx, run *Run) error {
	vm, err := tx.LockVM(ctx, *run.Task.VM)
	if err != nil {
		return err
	}
	var own deleteState
	if err := run.Load(&own); err != nil {
		return err
	}
	if !vm.Spec.Adopted || own.DestroyDisks {
		return w.release(ctx, tx, run)
	}
	return broker.ForgetReleased(ctx, tx, vm, w.now().UTC())
}

package task

import (
	"context"
	"fmt"
	"time"

	"gantry/server/broker"
	"gantry/server/fleet"
	"gantry/server/hypervisor"
)

// removal is what taking a guest away remembers between entries.
type removal struct {
	// Awaited says what the present operation is: "stop" or "delete"; "" = something else (a create that must end first).
	Awaited string `json:"awaited,omitempty"`
	// Unlocked tells that the node's daemon was asked to remove a stale lock.
	Unlocked bool `json:"unlocked,omitempty"`
}

// uncreateGuest removes the guest if, and only if, it is ours; whole, half-made or running.
func (w *Workflows) uncreateGuest(ctx context.Context, run *Run) (Outcome, error) {
	subject, err := w.subject(ctx, run)
	if err != nil {
		return Outcome{}, err
	}
	var state createState
	if err := run.Load(&state); err != nil {
		return Outcome{}, err
	}
	if run.Result == nil && !run.Operation.Done() && state.Awaited == "" {
		return Outcome{Wait: run.Operation}, nil // a create under way can't be deleted: let it end first
	}
	if state.Proof.Done() {
		outcome, found, err := w.lateCreate(ctx, run, subject, state)
		if found || err != nil {
			return outcome, err
		}
	}
	outcome, awaited, err := w.removeGuest(ctx, run, subject, state.removal, state.Proof)
	if err != nil || (outcome.Wait.Done() && outcome.After == 0) {
		return outcome, err
	}
	state.removal = awaited
	outcome.State = state
	return outcome, nil
}

// lateCreate finds a create that was sent and whose reply was lost before undoing began. The VMID was the VM's since the task was
// queued.
func (w *Workflows) lateCreate(ctx context.Context, run *Run, subject *subject, state createState) (Outcome, bool, error) {
	operation, err := subject.driver.FindOperation(ctx, subject.ref, hypervisor.OperationCreate, run.Task.CreatedAt)
	if broker.Is(err, broker.NotFound) {
		return Outcome{}, false, nil
	}
	if err != nil {
		return Outcome{}, false, err
	}
	state.Proof = operation
	return Outcome{State: state, Wait: operation}, true, nil
}

// removeGuest takes the next step towards a guest that is gone: stop, delete, look. The zero Outcome means that it was seen gone,
// or that what is there is not ours. proof is the operation that created it, if known.
func (w *Workflows) removeGuest(ctx context.Context, run *Run, subject *subject, state removal, proof hypervisor.Operation) (Outcome, removal, error) {
	guest, err := subject.find(ctx)
	switch {
	case broker.Is(err, broker.NotFound):
		return Outcome{}, state, nil
	case err != nil:
		return Outcome{}, state, err
	case run.Result != nil && state.Awaited != "" && run.Result.Err != nil && !broker.Is(run.Result.Err, broker.NotFound):
		return Outcome{}, state, run.Result.Err
	case guest.Incomplete || (guest.Owner == "" && !proof.Done()):
		return w.clearStale(ctx, subject, state, proof)
	case guest.Owner != subject.vm.Owner:
		return Outcome{Note: fmt.Sprintf("VMID %d belongs to somebody else: left alone", subject.vm.VMID)}, state, nil
	case guest.Power != hypervisor.PowerStopped && guest.Power != hypervisor.PowerSuspended:
		state.Awaited = "stop"
		operation, err := subject.driver.Power(ctx, subject.ref, hypervisor.Stop, hypervisor.PowerOptions{})
		return waitOrLook(operation, err, state)
	}
	state.Awaited = "delete"
	operation, err := subject.driver.DeleteGuest(ctx, subject.ref)
	if broker.Is(err, broker.NotFound) {
		return Outcome{}, state, nil
	}
	return waitOrLook(operation, err, state)
}

// waitOrLook waits for an operation, or looks again soon when there is nothing to wait for: only a guest that is seen gone is gone.
func waitOrLook(operation hypervisor.Operation, err error, state removal) (Outcome, removal, error) {
	if err == nil && operation.Done() {
		return Outcome{After: 100 * time.Millisecond}, state, nil
	}
	outcome, err := wait(operation, err)
	return outcome, state, err
}

// clearStale removes what a create left that died with its node. Our own create operation is the proof that it is ours.
func (w *Workflows) clearStale(ctx context.Context, subject *subject, state removal, proof hypervisor.Operation) (Outcome, removal, error) {
	if proof.Done() {
		return Outcome{}, state, broker.Errorf(broker.Conflict,
			"guest %d is half-made and nothing proves that it is ours: remove it on the hypervisor, then retry", subject.vm.VMID)
	}
	operation, err := subject.driver.ClearStaleCreate(ctx, subject.ref, proof)
	if !broker.Is(err, broker.Unsupported) || state.Unlocked {
		state.Awaited = "delete"
		return waitOrLook(operation, err, state)
	}
	daemon, err := w.hypervisors.Daemon(ctx, subject.vm.NodeID)
	if broker.Is(err, broker.Unsupported) {
		return Outcome{}, state, broker.Errorf(broker.Conflict,
			"guest %d is locked by a create that died with its node: run `qm unlock %d` there, then retry", subject.vm.VMID, subject.vm.VMID)
	}
	if err != nil {
		return Outcome{}, state, err
	}
	if err := daemon.Unlock(ctx, int64(subject.vm.VMID)); err != nil {
		return Outcome{}, state, fleet.DaemonError(err)
	}
	state.Unlocked = true
	return Outcome{After: time.Millisecond, Note: "removed the stale lock on the node"}, state, nil
}

// deleteState is what a delete remembers.
type deleteState struct {
	broker.DeleteData
	removal
}

func (w *Workflows) delete() Workflow {
	return Workflow{
		Kind: broker.DeleteKind, Deadline: 30 * time.Minute,
		Title: map[broker.Language]string{broker.English: "Delete virtual machine", broker.Chinese: "删除虚拟机"},
		Steps: []Step{
			{Name: "remove-guest", Do: w.deleteGuest, Undo: w.lookAtGuest,
				Title: map[broker.Language]string{broker.English: "Stop and remove the guest", broker.Chinese: "停止并移除虚拟机"}},
		},
		Finish: func(ctx context.Context, tx broker.Tx, run *Run, state broker.TaskState) error {
			if state != broker.TaskDone {
				return w.settleAsSeen(ctx, tx, run, state)
			}
			return w.releaseDeleted(ctx, tx, run)
		},
	}
}

func (w *Workflows) deleteGuest(ctx context.Context, run *Run) (Outcome, error) {
	subject, err := w.subject(ctx, run)
	if err != nil {
		return Outcome{}, err
	}
	var state deleteState
	if err := run.Load(&state); err != nil {
		return Outcome{}, err
	}
	if subject.vm.VMID == 0 {
		return Outcome{}, nil
	}
	remove := w.removeGuest
	if subject.vm.Spec.Adopted {
		remove = w.removeAdopted(state.DestroyDisks)
	}
	outcome, awaited, err := remove(ctx, run, subject, state.removal, hypervisor.Operation{})
	if err != nil || (outcome.Wait.Done() && outcome.After == 0) {
		return outcome, err
	}
	state.removal = awaited
	outcome.State = state
	return outcome, nil
}

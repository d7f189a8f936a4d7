package task

import (
	"context"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// retake finds the operation that an earlier attempt of this step began and whose reply or record was lost; false when the step has
// to act, which is after a look at the guest's state. An operation that failed is of no use. One that is on record was begun by
// another step: hypervisors tell beginnings in whole seconds, by a clock of their own.
func (w *Workflows) retake(ctx context.Context, run *Run, subject *subject, kind hypervisor.OperationKind) (hypervisor.Operation, bool, error) {
	var none hypervisor.Operation
	if run.Attempt <= 1 {
		return none, false, nil
	}
	found, err := subject.driver.FindOperation(ctx, subject.ref, kind, run.Since)
	if broker.Is(err, broker.NotFound) || (err == nil && found == run.Operation) {
		return none, false, nil
	}
	if err != nil {
		return none, false, err
	}
	state, err := subject.driver.OperationState(ctx, found)
	if broker.Is(err, broker.NotFound) || (err == nil && state.Finished && state.Err != nil) {
		return none, false, nil
	}
	if err != nil {
		return none, false, err
	}
	recorded, err := w.recorded(ctx, run.Task, found)
	return found, !recorded && err == nil, err
}

// recentTasks is how many tasks of a VM can have begun an operation just before the present one.
const recentTasks = 5

// recorded tells whether the history of the VM's last tasks names the operation.
func (w *Workflows) recorded(ctx context.Context, task broker.Task, operation hypervisor.Operation) (bool, error) {
	recent, _, err := w.store.ListTasks(ctx, broker.TaskFilter{VM: *task.VM}, broker.Page{Number: 1, Size: recentTasks})
	if err != nil {
		return false, err
	}
	for _, each := range recent {
		steps, err := w.store.ListTaskSteps(ctx, each.ID)
		if err != nil {
			return false, err
		}
		for _, step := range steps {
			if step.Operation == operation.ID {
				return true, nil
			}
		}
	}
	return false, nil
}

package task_test

import (
	"context"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// operations is an operation source that knows none.
type operations struct{}

func (operations) OperationState(context.Context, int64, int64, hypervisor.Operation) (hypervisor.OperationState, error) {
	return hypervisor.OperationState{}, broker.Errorf(broker.NotFound, "no such operation")
}

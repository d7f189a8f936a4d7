package fleet

import (
	"context"
	"strings"

	"gantry/internal/controlledclient"
	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// daemonPrefix marks operations that a node's daemon carries out; all others are the hypervisor's own.
const daemonPrefix = "controlled:"

// DaemonOperation names an operation of a node's daemon.
func DaemonOperation(id string) hypervisor.Operation {
	return hypervisor.Operation{ID: daemonPrefix + id}
}

// OperationState asks driver or daemon how an operation stands; it is the task engine's operation source.
func (f *Fleet) OperationState(ctx context.Context, cluster, node int64, operation hypervisor.Operation) (hypervisor.OperationState, error) {
	id, ofDaemon := strings.CutPrefix(operation.ID, daemonPrefix)
	if ofDaemon {
		return f.daemonOperation(ctx, node, id)
	}
	driver, err := f.Driver(ctx, cluster)
	if err != nil {
		return hypervisor.OperationState{}, err
	}
	return driver.OperationState(ctx, operation)
}

func (f *Fleet) daemonOperation(ctx context.Context, node int64, id string) (hypervisor.OperationState, error) {
	daemon, err := f.Daemon(ctx, node)
	if err != nil {
		return hypervisor.OperationState{}, err
	}
	operation, err := daemon.Operation(ctx, id)
	if err != nil {
		return hypervisor.OperationState{}, DaemonError(err)
	}
	state := hypervisor.OperationState{Progress: operation.Percent / 100, Finished: operation.State != controlledclient.OperationRunning}
	switch operation.State {
	case controlledclient.OperationFailed:
		state.Err = broker.Errorf(broker.Failed, "the node could not import the disk: %s", lastLine(operation.Output))
	case controlledclient.OperationLost:
		state.Err = broker.Errorf(broker.Failed, "the node went down during the import")
	}
	return state, nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	line := lines[len(lines)-1]
	if len(line) > 300 {
		line = line[:300]
	}
	return line
}

package fleet

import (
	"context"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// Ref names a VM's guest to its driver.
func Ref(vm *broker.VM, node string) hypervisor.GuestRef {
	return hypervisor.GuestRef{ID: vm.VMID, Node: node, Owner: vm.Owner}
}

// Guest gives driver and name of a VM's guest.
func (f *Fleet) Guest(ctx context.Context, vm *broker.VM) (hypervisor.Driver, hypervisor.GuestRef, error) {
	driver, err := f.Driver(ctx, vm.ClusterID)
	if err != nil {
		return nil, hypervisor.GuestRef{}, err
	}
	node, err := f.store.FindNode(ctx, vm.NodeID)
	if err != nil {
		return nil, hypervisor.GuestRef{}, err
	}
	return driver, Ref(vm, node.Name), nil
}

// Live gives the AMS "current" object of a VM.
func (f *Fleet) Live(ctx context.Context, vm *broker.VM) (map[string]any, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	driver, ref, err := f.Guest(ctx, vm)
	if err != nil {
		return nil, err
	}
	status, err := driver.Status(ctx, ref)
	if err != nil {
		return nil, err
	}
	return status.Raw, nil
}

// GuestConfig gives the guest's configuration for display.
func (f *Fleet) GuestConfig(ctx context.Context, vm *broker.VM) (map[string]any, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	driver, ref, err := f.Guest(ctx, vm)
	if err != nil {
		return nil, err
	}
	return driver.Config(ctx, ref)
}

// History gives a VM's samples.
func (f *Fleet) History(ctx context.Context, vm *broker.VM, timeframe, consolidation string) ([]map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	driver, ref, err := f.Guest(ctx, vm)
	if err != nil {
		return nil, err
	}
	if !driver.Info().Capabilities.History {
		return f.stored(ctx, broker.GuestHistory, vm.ID, timeframe, consolidation)
	}
	samples, err := driver.History(ctx, ref, timeframe, consolidation)
	return plainSamples(samples), err
}

// NodeLive gives a node's live state for display.
func (f *Fleet) NodeLive(ctx context.Context, node *broker.Node) (map[string]any, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	driver, err := f.Driver(ctx, node.ClusterID)
	if err != nil {
		return nil, err
	}
	return driver.NodeStatus(ctx, node.Name)
}

// NodeHistory gives a node's samples.
func (f *Fleet) NodeHistory(ctx context.Context, node *broker.Node, timeframe, consolidation string) ([]map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	driver, err := f.Driver(ctx, node.ClusterID)
	if err != nil {
		return nil, err
	}
	if !driver.Info().Capabilities.History {
		return f.stored(ctx, broker.NodeHistory, node.ID, timeframe, consolidation)
	}
	samples, err := driver.NodeHistory(ctx, node.Name, timeframe, consolidation)
	return plainSamples(samples), err
}

func plainSamples(samples []hypervisor.Sample) []map[string]float64 {
	plain := make([]map[string]float64, len(samples))
	for i, sample := range samples {
		plain[i] = sample
	}
	return plain
}

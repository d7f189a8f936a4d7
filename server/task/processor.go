package task

import (
	"context"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// processor reads what CPU and tables a spec stands for now, with the digest of it.
func (w *Workflows) processor(ctx context.Context, spec broker.VMSpec) (hypervisor.Processor, string, error) {
	hardware, err := broker.ReadHardware(ctx, w.store, spec.CPUModel, spec.ModelGroup)
	if err != nil {
		return hypervisor.Processor{}, "", err
	}
	digest, err := broker.ProcessorDigest(spec, hardware)
	return hypervisor.Processor{CPUType: spec.CPUType, HideHypervisor: spec.Devirtualization, Hardware: hardware}, digest, err
}

// staleProcessor tells what has to be written to a guest before it is started, because a model of it was edited since; nil when nothing
// has. A model that is gone leaves the guest as it is.
func (w *Workflows) staleProcessor(ctx context.Context, vm *broker.VM) (*hypervisor.Processor, string, error) {
	processor, digest, err := w.processor(ctx, vm.Spec)
	if broker.Is(err, broker.NotFound) || (err == nil && digest == vm.Spec.Processor) {
		return nil, vm.Spec.Processor, nil
	}
	return &processor, digest, err
}

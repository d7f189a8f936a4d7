package memory

import (
	"context"
	"slices"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

func (d *driver) Configure(ctx context.Context, ref hypervisor.GuestRef, change hypervisor.GuestChange) (hypervisor.Operation, error) {
	if err := hypervisor.CheckChange(change); err != nil {
		return hypervisor.Operation{}, err
	}
	c := d.cluster
	return d.change(ctx, Call{Method: "Configure", Guest: ref.ID, Node: ref.Node}, func(fault Fault) (hypervisor.Operation, error) {
		found, err := c.idle(ref)
		if err != nil {
			return hypervisor.Operation{}, err
		}
		if change == (hypervisor.GuestChange{}) {
			return hypervisor.Operation{}, nil
		}
		if change.NIC != nil && (len(found.spec.NICs) == 0 || found.spec.NICs[0].MAC != change.NIC.MAC) {
			return hypervisor.Operation{}, broker.InvalidField("nic.mac", "the first NIC's MAC can't be changed")
		}
		return c.begin(found.node, found, ref.ID, hypervisor.OperationConfig, fault, func() error {
			found.spec = changed(found.spec, change)
			return nil
		}, nil), nil
	})
}

func changed(spec hypervisor.GuestSpec, change hypervisor.GuestChange) hypervisor.GuestSpec {
	set(&spec.Name, change.Name)
	set(&spec.Sockets, change.Sockets)
	set(&spec.Cores, change.Cores)
	set(&spec.MemoryMB, change.MemoryMB)
	set(&spec.Limits, change.Limits)
	set(&spec.OSFamily, change.OSFamily)
	set(&spec.GuestAgent, change.GuestAgent)
	set(&spec.OnBoot, change.OnBoot)
	if processor := change.Processor; processor != nil {
		spec.CPUType, spec.HideHypervisor, spec.Hardware = processor.CPUType, processor.HideHypervisor, processor.Hardware
	}
	if change.NIC != nil {
		spec.NICs = slices.Clone(spec.NICs)
		spec.NICs[0] = *change.NIC
	}
	if change.CloudInit != nil {
		cloudInit := *change.CloudInit
		spec.CloudInit = &cloudInit
	}
	if change.SystemDiskIO != nil {
		spec.Disks = slices.Clone(spec.Disks)
		for i := range spec.Disks {
			if spec.Disks[i].Key == hypervisor.SystemDisk {
				spec.Disks[i].IO = *change.SystemDiskIO
			}
		}
	}
	return spec
}

func set[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}

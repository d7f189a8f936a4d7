package fleet

import (
	"context"
	"strconv"
	"strings"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

func (f *Fleet) adopter(ctx context.Context, cluster int64) (hypervisor.Adopter, error) {
	driver, err := f.Driver(ctx, cluster)
	if err != nil {
		return nil, err
	}
	adopter, able := driver.(hypervisor.Adopter)
	if !able {
		return nil, broker.Because(broker.Unsupported, broker.ReasonUnsupported, "taking over guests")
	}
	return adopter, nil
}

// ForeignGuest is described at broker.Fleet.
func (f *Fleet) ForeignGuest(ctx context.Context, cluster int64, node string, vmid int) (*broker.ForeignGuest, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	adopter, err := f.adopter(ctx, cluster)
	if err != nil {
		return nil, err
	}
	found, err := adopter.InspectGuest(ctx, hypervisor.GuestRef{ID: vmid, Node: node})
	if err != nil {
		return nil, err
	}
	status, known := StatusOf(found.Power)
	if !known {
		return nil, broker.Errorf(broker.Unreachable, "the hypervisor does not know how guest %d is", vmid)
	}
	guest := &broker.ForeignGuest{
		Node: found.Node, Name: found.Name, Owner: found.Owner, Power: string(found.Power), Status: status, Lock: found.Lock,
		Incomplete: found.Incomplete, Template: found.Template, Sockets: found.Sockets, Cores: found.Cores, MemoryMB: found.MemoryMB,
		OSFamily: found.OSFamily, Addresses: found.Addresses,
	}
	for _, disk := range found.Disks {
		guest.Disks = append(guest.Disks, foreignDisk(disk))
	}
	if len(found.NICs) > 0 {
		guest.MAC, guest.Bridge = found.NICs[0].MAC, found.NICs[0].Bridge
	}
	return guest, nil
}

func foreignDisk(disk hypervisor.GuestDisk) broker.ForeignDisk {
	storage, _, _ := strings.Cut(disk.Volume, ":")
	if strings.HasPrefix(storage, "/") { // a file of no storage
		storage = ""
	}
	number := -1
	if digits, is := strings.CutPrefix(disk.Key, "scsi"); is {
		if read, err := strconv.Atoi(digits); err == nil {
			number = read
		}
	}
	return broker.ForeignDisk{Number: number, Volume: disk.Volume, Storage: storage, SizeGB: int((disk.SizeBytes + 1<<30 - 1) >> 30)}
}

// MarkGuest is described at broker.Fleet.
func (f *Fleet) MarkGuest(ctx context.Context, vm *broker.VM) error {
	return f.markWith(ctx, vm, hypervisor.Adopter.Adopt)
}

// UnmarkGuest is described at broker.Fleet.
func (f *Fleet) UnmarkGuest(ctx context.Context, vm *broker.VM) error {
	return f.markWith(ctx, vm, hypervisor.Adopter.Disown)
}

func (f *Fleet) markWith(ctx context.Context, vm *broker.VM, act func(hypervisor.Adopter, context.Context, hypervisor.GuestRef) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	adopter, err := f.adopter(ctx, vm.ClusterID)
	if err != nil {
		return err
	}
	node, err := f.store.FindNode(ctx, vm.NodeID)
	if err != nil {
		return err
	}
	return act(adopter, ctx, Ref(vm, node.Name))
}

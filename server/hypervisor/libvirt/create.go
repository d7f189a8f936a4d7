package libvirt

import (
	"context"
	"fmt"

	golibvirt "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// CreateGuest first defines a domain without hardware: libvirt keeps names and UUIDs unique, so whoever gets that far has the id, in
// whatever process. Volumes are put down on it before they are made, and the definition with everything comes last. A create that fails
// takes all of it away again; one whose process dies leaves a guest that is Incomplete, for ClearStaleCreate.
func (d *driver) CreateGuest(ctx context.Context, spec hypervisor.GuestSpec) (hypervisor.Operation, error) {
	if err := hypervisor.CheckSpec(spec); err != nil {
		return hypervisor.Operation{}, err
	}
	id := spec.Ref.ID
	if spec.Hardware.NeedsArguments() {
		return hypervisor.Operation{}, unsupported("CPU models, and SMBIOS tables other than type 1")
	}
	facts, err := d.atNode(ctx, spec.Ref.Node)
	if err != nil {
		return hypervisor.Operation{}, err
	}
	machine, err := facts.machine.choose(spec.Arch, spec.KVM)
	if err != nil {
		return hypervisor.Operation{}, err
	}
	taken := func() error { return broker.Errorf(broker.Exists, "guest %d exists already", id) }
	operation := newOperationID(hypervisor.OperationCreate, id, d.now())
	claimed, err := d.jobs.claim(operation)
	if broker.Is(err, broker.Locked) {
		return hypervisor.Operation{}, taken()
	}
	if err != nil {
		return hypervisor.Operation{}, err
	}
	g, err := d.take(ctx, spec, machine, operation)
	if err != nil {
		d.jobs.release(claimed)
		if broker.Is(err, broker.Exists) {
			return hypervisor.Operation{}, taken()
		}
		return hypervisor.Operation{}, err
	}
	d.jobs.run(claimed, d.now, func(ctx context.Context, report func(float64)) ([]string, error) {
		err := d.build(ctx, g, spec, machine, operation)
		if err == nil {
			return nil, nil
		}
		if clear := d.abandon(ctx, g); clear != nil {
			return []string{"what was made of it could not be removed: " + broker.DetailOf(clear)}, err
		}
		return nil, err
	})
	return hypervisor.Operation{ID: operation.text, Node: facts.name}, nil
}

// take defines the claim. libvirt takes a second definition with the same name and UUID for a change, so the name is looked up first.
func (d *driver) take(ctx context.Context, spec hypervisor.GuestSpec, machine choice, operation operationID) (*guest, error) {
	_, err := d.lookup(ctx, spec.Ref.ID)
	if err == nil {
		return nil, broker.Errorf(broker.Exists, "the name is taken")
	}
	if !broker.Is(err, broker.NotFound) {
		return nil, err
	}
	g := &guest{id: spec.Ref.ID, config: claimXML(spec.Ref.ID, spec, machine)}
	g.record = record{State: guestCreating, CPU: spec.CPUType, KVM: spec.KVM, OS: spec.OSFamily}
	g.record.note(recordOperation{ID: operation.text, Runner: thisRunner(), Until: d.now().Add(lease).Unix()})
	return g, d.define(ctx, g)
}

// build makes the volumes and defines the whole guest.
func (d *driver) build(ctx context.Context, g *guest, spec hypervisor.GuestSpec, machine choice, operation operationID) error {
	hardware(&g.config, spec, machine)
	setSystemTable(&g.config, spec.SystemTable())
	for _, disk := range spec.Disks {
		volume, err := d.makeDisk(ctx, g, disk)
		if err != nil {
			return fmt.Errorf("make disk %s: %w", disk.Key, err)
		}
		g.config.Devices.Disks = append(g.config.Devices.Disks, diskXML(disk, volume.Path, formatOf(volume.Name)))
	}
	filter, err := d.filterRef(ctx, ownAddresses(spec.CloudInit))
	if err != nil {
		return err
	}
	var macs []string
	for i, nic := range spec.NICs {
		isNetwork, err := d.isNetwork(ctx, nic.Bridge)
		if err != nil {
			return err
		}
		own := filter
		if i > 0 && filter != nil {
			own = &libvirtxml.DomainInterfaceFilterRef{Filter: onlyMAC} // the addresses are the first one's
		}
		g.config.Devices.Interfaces = append(g.config.Devices.Interfaces, nicXML(nic, isNetwork, own))
		macs = append(macs, nic.MAC)
	}
	if spec.CloudInit != nil {
		data, err := newSeed(spec.Name, spec.CloudInit, macs)
		if err != nil {
			return err
		}
		drive, err := d.makeSeed(ctx, g, spec.CloudInitStorage, data)
		if err != nil {
			return fmt.Errorf("make cloud-init drive: %w", err)
		}
		g.config.Devices.Disks = append(g.config.Devices.Disks, seedXML(drive.Path))
	}
	if spec.OnBoot {
		if err := d.setAutostart(ctx, g, true); err != nil {
			return err
		}
	}
	g.record.State = guestWhole
	g.record.note(ended(operation, nil))
	if err := d.define(ctx, g); err != nil {
		g.record.State = guestCreating
		return fmt.Errorf("define guest %d: %w", g.id, err)
	}
	return nil
}

func (d *driver) setAutostart(ctx context.Context, g *guest, on bool) error {
	value := int32(0)
	if on {
		value = 1
	}
	return change(ctx, d.client, func(l *rpc) error { return l.DomainSetAutostart(g.domain, value) })
}

// abandon takes away what a failed create made, over a libvirtd that restarts.
func (d *driver) abandon(ctx context.Context, g *guest) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endPatience)
	defer cancel()
	return d.insist(ctx, func() error { return d.erase(ctx, g) })
}

// erase removes a guest's volumes and then the guest: as long as something of it is left, it is listed. It may be repeated.
func (d *driver) erase(ctx context.Context, g *guest) error {
	for len(g.record.Volumes) > 0 {
		name := g.record.Volumes[0].Name
		if err := d.deleteVolume(ctx, g, name); err != nil {
			return fmt.Errorf("delete volume %s: %w", name, err)
		}
		g.record.forget(name)
	}
	flags := golibvirt.DomainUndefineManagedSave | golibvirt.DomainUndefineSnapshotsMetadata | golibvirt.DomainUndefineCheckpointsMetadata | golibvirt.DomainUndefineNvram
	err := change(ctx, d.client, func(l *rpc) error { return l.DomainUndefineFlags(g.domain, flags) })
	if broker.Is(err, broker.NotFound) {
		return nil
	}
	return err
}

// DeleteGuest removes the volumes that Gantry made for the guest, and the domain last. Volumes of a guest that was taken over are kept
// unless ClaimDisks was called: nothing else says that nobody uses them.
func (d *driver) DeleteGuest(ctx context.Context, ref hypervisor.GuestRef) (hypervisor.Operation, error) {
	look := func(_ context.Context, g *guest) (bool, error) {
		if power := g.power(); power != hypervisor.PowerStopped && power != hypervisor.PowerSuspended {
			return false, broker.Errorf(broker.Conflict, "guest %d is %s: stop it first", ref.ID, power)
		}
		g.record.State = guestDeleting
		return false, nil
	}
	return d.begin(ctx, ref, hypervisor.OperationDelete, look, func(ctx context.Context, g *guest, _ func(float64)) ([]string, error) {
		return nil, d.erase(ctx, g)
	})
}

// ClearStaleCreate takes the create for the owner of what it left: the guest must be incomplete, carry this very operation, and nobody
// may be at it any more.
func (d *driver) ClearStaleCreate(ctx context.Context, ref hypervisor.GuestRef, proof hypervisor.Operation) (hypervisor.Operation, error) {
	id, ours := parseOperationID(proof.ID)
	if !ours || id.kind != hypervisor.OperationCreate || id.guest != ref.ID {
		return hypervisor.Operation{}, broker.Errorf(broker.Conflict, "the operation is not the create of guest %d", ref.ID)
	}
	facts, err := d.facts(ctx)
	if err != nil {
		return hypervisor.Operation{}, err
	}
	operation := newOperationID(hypervisor.OperationDelete, ref.ID, d.now())
	claimed, err := d.jobs.claim(operation)
	if err != nil {
		return hypervisor.Operation{}, err
	}
	g, err := d.stale(ctx, ref, proof)
	if err != nil {
		d.jobs.release(claimed)
		return hypervisor.Operation{}, err
	}
	d.jobs.run(claimed, d.now, func(ctx context.Context, _ func(float64)) ([]string, error) { return nil, d.erase(ctx, g) })
	return hypervisor.Operation{ID: operation.text, Node: facts.name}, nil
}

func (d *driver) stale(ctx context.Context, ref hypervisor.GuestRef, proof hypervisor.Operation) (*guest, error) {
	g, err := d.load(ctx, ref.ID)
	if err != nil {
		return nil, err
	}
	noted := g.record.operation(proof.ID)
	state, mine := d.jobs.state(proof.ID)
	switch {
	case g.owner() != ref.Owner:
		return nil, broker.Because(broker.Conflict, broker.ReasonForeignGuest, ref.ID)
	case g.record.State != guestCreating:
		return nil, broker.Errorf(broker.Conflict, "guest %d is whole", ref.ID)
	case noted == nil:
		return nil, broker.Errorf(broker.Conflict, "guest %d was not made by that operation", ref.ID)
	case mine && !state.Finished, !mine && noted.running(d.now()):
		return nil, broker.Errorf(broker.Locked, "guest %d is still being created", ref.ID)
	case powerOf(g.state) != hypervisor.PowerStopped:
		return nil, broker.Errorf(broker.Conflict, "guest %d is not off", ref.ID)
	}
	return g, nil
}

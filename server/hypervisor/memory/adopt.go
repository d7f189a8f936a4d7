package memory

import (
	"context"
	"strings"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

var _ hypervisor.Adopter = (*driver)(nil)

// AddGuest makes a guest from outside, as an operator does at the hypervisor's own panel. It is off.
func (c *Cluster) AddGuest(spec hypervisor.GuestSpec) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle()
	host, err := c.reachable(spec.Ref.Node)
	if err != nil {
		return err
	}
	if c.guests[spec.Ref.ID] != nil {
		return broker.Errorf(broker.Exists, "guest %d exists already", spec.Ref.ID)
	}
	made := &guest{spec: spec, node: host.Name, power: hypervisor.PowerStopped, complete: true, disks: map[string]string{}}
	for _, disk := range spec.Disks {
		if made.disks[disk.Key], err = c.makeVolume(host, spec.Ref.ID, disk); err != nil {
			return err
		}
	}
	c.guests[spec.Ref.ID] = made
	return nil
}

func (d *driver) InspectGuest(ctx context.Context, ref hypervisor.GuestRef) (hypervisor.ForeignGuest, error) {
	var out hypervisor.ForeignGuest
	err := d.read(ctx, Call{Method: "InspectGuest", Guest: ref.ID, Node: ref.Node}, func() error {
		found, err := d.cluster.find(ref.ID)
		if err != nil {
			return err
		}
		spec := &found.spec
		out = hypervisor.ForeignGuest{
			Guest: found.view(d.cluster), Sockets: spec.Sockets, Cores: spec.Cores, MemoryMB: spec.MemoryMB, OSFamily: spec.OSFamily,
			NICs: append([]hypervisor.NICSpec(nil), spec.NICs...),
		}
		return nil
	})
	return out, err
}

func (d *driver) Adopt(ctx context.Context, ref hypervisor.GuestRef) error {
	_, err := d.change(ctx, Call{Method: "Adopt", Guest: ref.ID, Node: ref.Node}, func(Fault) (hypervisor.Operation, error) {
		found, err := d.cluster.find(ref.ID)
		if err != nil {
			return hypervisor.Operation{}, err
		}
		if !found.complete || found.lock != "" {
			return hypervisor.Operation{}, broker.Errorf(broker.Locked, "guest %d is locked (%s)", ref.ID, found.lock)
		}
		if !strings.EqualFold(found.spec.Ref.Owner, ref.Owner) {
			if found.marked == nil {
				before := found.spec.Ref.Owner
				found.marked = &before
			}
			found.spec.Ref.Owner = ref.Owner
		}
		return hypervisor.Operation{}, nil
	})
	return err
}

func (d *driver) Disown(ctx context.Context, ref hypervisor.GuestRef) error {
	_, err := d.change(ctx, Call{Method: "Disown", Guest: ref.ID, Node: ref.Node}, func(Fault) (hypervisor.Operation, error) {
		found, err := d.cluster.find(ref.ID)
		switch {
		case broker.Is(err, broker.NotFound):
			return hypervisor.Operation{}, nil
		case err != nil:
			return hypervisor.Operation{}, err
		case !strings.EqualFold(found.spec.Ref.Owner, ref.Owner):
			return hypervisor.Operation{}, broker.Because(broker.Conflict, broker.ReasonForeignGuest, ref.ID)
		}
		if found.marked != nil {
			found.spec.Ref.Owner, found.marked = *found.marked, nil
		}
		return hypervisor.Operation{}, nil
	})
	return err
}

// ClaimDisks has nothing to do: a guest's volumes go with it here.
func (d *driver) ClaimDisks(ctx context.Context, ref hypervisor.GuestRef) error {
	return d.read(ctx, Call{Method: "ClaimDisks", Guest: ref.ID, Node: ref.Node}, func() error {
		_, err := d.cluster.owned(ref)
		return err
	})
}

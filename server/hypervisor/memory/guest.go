package memory

import (
	"context"
	"sort"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// guest is one machine. spec is what it is configured as; volumes are kept apart because disks come and go.
type guest struct {
	spec     hypervisor.GuestSpec
	node     string
	power    hypervisor.Power
	complete bool
	lock     string
	disks    map[string]string // key → volume
	detached []string
	started  time.Time
	busy     *operation
	traffic  hypervisor.GuestSummary // counters that SetCounters set
	// marked is the owner that the guest had before it was adopted under another one; nil = it was not.
	marked *string
	// passwords are what the guest's agent set, by user.
	passwords map[string]string
}

// volume is a virtual disk.
type volume struct {
	node, storage string
	size          int64
	guest         int
}

func (g *guest) view(c *Cluster) hypervisor.Guest {
	out := hypervisor.Guest{ID: g.spec.Ref.ID, Node: g.node, Power: g.power, Lock: g.lock, Incomplete: !g.complete}
	if !g.complete {
		return out
	}
	out.Name, out.Owner = g.spec.Name, g.spec.Ref.Owner
	for _, key := range sortedKeys(g.disks) {
		name := g.disks[key]
		out.Disks = append(out.Disks, hypervisor.GuestDisk{Key: key, Volume: name, SizeBytes: c.volumes[name].size})
	}
	out.Detached = append(out.Detached, g.detached...)
	return out
}

func sortedKeys(disks map[string]string) []string {
	keys := make([]string, 0, len(disks))
	for key := range disks {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}

func (d *driver) FindGuest(ctx context.Context, ref hypervisor.GuestRef) (hypervisor.Guest, error) {
	var out hypervisor.Guest
	err := d.read(ctx, Call{Method: "FindGuest", Guest: ref.ID, Node: ref.Node}, func() error {
		found, err := d.cluster.find(ref.ID)
		if err != nil {
			return err
		}
		out = found.view(d.cluster)
		return nil
	})
	return out, err
}

func (d *driver) CreateGuest(ctx context.Context, spec hypervisor.GuestSpec) (hypervisor.Operation, error) {
	if err := hypervisor.CheckSpec(spec); err != nil {
		return hypervisor.Operation{}, err
	}
	c := d.cluster
	return d.change(ctx, Call{Method: "CreateGuest", Guest: spec.Ref.ID, Node: spec.Ref.Node}, func(fault Fault) (hypervisor.Operation, error) {
		host, err := c.reachable(spec.Ref.Node)
		if err != nil {
			return hypervisor.Operation{}, err
		}
		if c.guests[spec.Ref.ID] != nil {
			return hypervisor.Operation{}, broker.Errorf(broker.Exists, "guest %d exists already", spec.Ref.ID)
		}
		for _, disk := range spec.Disks {
			if err := host.takesDisks(disk.Storage); err != nil {
				return hypervisor.Operation{}, err
			}
		}
		made := &guest{spec: spec, node: host.Name, power: hypervisor.PowerStopped, lock: "create", disks: map[string]string{}}
		c.guests[spec.Ref.ID] = made
		return c.begin(host.Name, made, spec.Ref.ID, hypervisor.OperationCreate, fault, func() error {
			for _, disk := range spec.Disks {
				name, err := c.makeVolume(host, spec.Ref.ID, disk)
				if err != nil {
					return err
				}
				made.disks[disk.Key] = name
			}
			made.complete, made.lock = true, ""
			return nil
		}, func() { c.removeGuest(made) }), nil
	})
}

func (d *driver) DeleteGuest(ctx context.Context, ref hypervisor.GuestRef) (hypervisor.Operation, error) {
	c := d.cluster
	return d.change(ctx, Call{Method: "DeleteGuest", Guest: ref.ID, Node: ref.Node}, func(fault Fault) (hypervisor.Operation, error) {
		found, err := c.idle(ref)
		if err != nil {
			return hypervisor.Operation{}, err
		}
		if found.power != hypervisor.PowerStopped {
			return hypervisor.Operation{}, broker.Errorf(broker.Conflict, "guest %d is %s: stop it first", ref.ID, found.power)
		}
		return c.begin(found.node, found, ref.ID, hypervisor.OperationDelete, fault, func() error {
			c.removeGuest(found)
			return nil
		}, nil), nil
	})
}

func (c *Cluster) removeGuest(gone *guest) {
	for _, name := range gone.disks {
		delete(c.volumes, name)
	}
	for _, name := range gone.detached {
		delete(c.volumes, name)
	}
	if c.guests[gone.spec.Ref.ID] == gone {
		delete(c.guests, gone.spec.Ref.ID)
	}
}

func (d *driver) ClearStaleCreate(ctx context.Context, ref hypervisor.GuestRef, proof hypervisor.Operation) (hypervisor.Operation, error) {
	c := d.cluster
	if c.config.ForbidUnlock {
		return hypervisor.Operation{}, unsupported("removing what an interrupted create left behind")
	}
	return d.change(ctx, Call{Method: "ClearStaleCreate", Guest: ref.ID, Node: ref.Node}, func(fault Fault) (hypervisor.Operation, error) {
		found, err := c.find(ref.ID)
		if err != nil {
			return hypervisor.Operation{}, err
		}
		if found.complete || found.lock != "create" {
			return hypervisor.Operation{}, broker.Errorf(broker.Conflict, "guest %d is not an interrupted create", ref.ID)
		}
		maker := c.operations[proof.ID]
		switch {
		case proof.Done(), maker != nil && (maker.kind != hypervisor.OperationCreate || maker.guest != ref.ID):
			return hypervisor.Operation{}, broker.Errorf(broker.Conflict, "operation %q did not create guest %d", proof.ID, ref.ID)
		case maker != nil && !maker.finished:
			return hypervisor.Operation{}, broker.Errorf(broker.Conflict, "the create of guest %d still runs", ref.ID)
		case maker != nil && maker.err == nil:
			return hypervisor.Operation{}, broker.Errorf(broker.Conflict, "the create of guest %d ended well", ref.ID)
		}
		return c.begin(found.node, found, ref.ID, hypervisor.OperationDelete, fault, func() error {
			c.removeGuest(found)
			return nil
		}, nil), nil
	})
}

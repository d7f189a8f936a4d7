package memory

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// takesDisks checks that the node has the storage and may put disks there.
func (n *node) takesDisks(name string) error {
	found := n.storage(name)
	if found == nil || !found.holds("images") {
		return broker.Because(broker.NotFound, broker.ReasonStorageNotFound, name, n.Name)
	}
	return nil
}

// makeVolume makes a volume as disk says; the caller attaches it.
func (c *Cluster) makeVolume(host *node, guestID int, disk hypervisor.DiskSpec) (string, error) {
	if err := host.takesDisks(disk.Storage); err != nil {
		return "", err
	}
	size := disk.SizeBytes
	if disk.ImportFrom != "" {
		_, file, _ := strings.Cut(disk.ImportFrom, ":import/")
		imported, known := c.images[imageKey{host.Name, file}]
		if !known {
			return "", broker.Because(broker.NotFound, broker.ReasonImageNotOnNode, disk.ImportFrom, host.Name)
		}
		size = imported
	}
	if err := c.room(host, disk.Storage, size); err != nil {
		return "", err
	}
	return c.addVolume(host, guestID, disk.Storage, size), nil
}

func (c *Cluster) addVolume(host *node, guestID int, storage string, size int64) string {
	c.volumeSeq++
	name := fmt.Sprintf("%s:vm-%d-disk-%d", storage, guestID, c.volumeSeq)
	c.volumes[name] = volume{node: host.Name, storage: storage, size: size, guest: guestID}
	return name
}

func (c *Cluster) room(host *node, storage string, size int64) error {
	if free := host.storage(storage).Total - c.used(host, storage); size > free {
		return broker.Because(broker.Exhausted, broker.ReasonStorageFull, host.Name, (size+(1<<30)-1)>>30)
	}
	return nil
}

func (c *Cluster) used(host *node, storage string) int64 {
	shared := host.storage(storage).Shared
	var sum int64
	for _, each := range c.volumes {
		if each.storage == storage && (shared || each.node == host.Name) {
			sum += each.size
		}
	}
	return sum
}

func (d *driver) ResizeDisk(ctx context.Context, ref hypervisor.GuestRef, disk string, size int64) (hypervisor.Operation, error) {
	c := d.cluster
	return d.change(ctx, Call{Method: "ResizeDisk", Guest: ref.ID, Node: ref.Node}, func(fault Fault) (hypervisor.Operation, error) {
		found, err := c.idle(ref)
		if err != nil {
			return hypervisor.Operation{}, err
		}
		name, known := found.disks[disk]
		if !known {
			return hypervisor.Operation{}, broker.Errorf(broker.NotFound, "guest %d has no disk %q", ref.ID, disk)
		}
		if size <= c.volumes[name].size {
			return hypervisor.Operation{}, nil
		}
		return c.begin(found.node, found, ref.ID, hypervisor.OperationResize, fault, func() error {
			grown := c.volumes[name]
			if err := c.room(c.node(grown.node), grown.storage, size-grown.size); err != nil {
				return err
			}
			grown.size = size
			c.volumes[name] = grown
			return nil
		}, nil), nil
	})
}

// off is idle, and the guest is off.
func (c *Cluster) off(ref hypervisor.GuestRef) (*guest, error) {
	found, err := c.idle(ref)
	if err != nil {
		return nil, err
	}
	if found.power != hypervisor.PowerStopped {
		return nil, broker.Errorf(broker.Conflict, "guest %d is %s: stop it first", ref.ID, found.power)
	}
	return found, nil
}

func (d *driver) ReplaceDisk(ctx context.Context, ref hypervisor.GuestRef, spec hypervisor.DiskSpec) (hypervisor.Operation, error) {
	if err := hypervisor.CheckDisk(spec); err != nil {
		return hypervisor.Operation{}, err
	}
	c := d.cluster
	return d.change(ctx, Call{Method: "ReplaceDisk", Guest: ref.ID, Node: ref.Node}, func(fault Fault) (hypervisor.Operation, error) {
		found, err := c.off(ref)
		if err != nil {
			return hypervisor.Operation{}, err
		}
		host := c.node(found.node)
		if err := host.takesDisks(spec.Storage); err != nil {
			return hypervisor.Operation{}, err
		}
		return c.begin(found.node, found, ref.ID, hypervisor.OperationConfig, fault, func() error {
			name, err := c.makeVolume(host, ref.ID, spec)
			if err != nil {
				return err
			}
			found.attach(spec, name)
			return nil
		}, nil), nil
	})
}

func (d *driver) AttachVolume(ctx context.Context, ref hypervisor.GuestRef, name string, spec hypervisor.DiskSpec) (hypervisor.Operation, error) {
	if err := hypervisor.CheckAttach(spec); err != nil {
		return hypervisor.Operation{}, err
	}
	c := d.cluster
	return d.change(ctx, Call{Method: "AttachVolume", Guest: ref.ID, Node: ref.Node}, func(fault Fault) (hypervisor.Operation, error) {
		found, err := c.off(ref)
		if err != nil {
			return hypervisor.Operation{}, err
		}
		if found.disks[spec.Key] == name {
			return hypervisor.Operation{}, nil
		}
		if !slices.Contains(found.detached, name) {
			return hypervisor.Operation{}, broker.Errorf(broker.NotFound, "guest %d has no detached volume %q", ref.ID, name)
		}
		return c.begin(found.node, found, ref.ID, hypervisor.OperationConfig, fault, func() error {
			found.detached = slices.DeleteFunc(found.detached, func(each string) bool { return each == name })
			found.attach(spec, name)
			return nil
		}, nil), nil
	})
}

// attach makes a volume the disk spec.Key; the one that was there is detached.
func (g *guest) attach(spec hypervisor.DiskSpec, name string) {
	if old, had := g.disks[spec.Key]; had {
		g.detached = append(g.detached, old)
	}
	g.disks[spec.Key] = name
	g.spec.Disks = slices.DeleteFunc(slices.Clone(g.spec.Disks), func(each hypervisor.DiskSpec) bool { return each.Key == spec.Key })
	g.spec.Disks = append(g.spec.Disks, spec)
	slices.SortFunc(g.spec.Disks, func(a, b hypervisor.DiskSpec) int { return strings.Compare(a.Key, b.Key) })
}

func (d *driver) DeleteVolume(ctx context.Context, ref hypervisor.GuestRef, name string) error {
	c := d.cluster
	_, err := d.change(ctx, Call{Method: "DeleteVolume", Guest: ref.ID, Node: ref.Node}, func(Fault) (hypervisor.Operation, error) {
		found, err := c.idle(ref)
		if err != nil {
			return hypervisor.Operation{}, err
		}
		for key, used := range found.disks {
			if used == name {
				return hypervisor.Operation{}, broker.Errorf(broker.Conflict, "volume %s is in use as %s", name, key)
			}
		}
		if slices.Contains(found.detached, name) {
			found.detached = slices.DeleteFunc(found.detached, func(each string) bool { return each == name })
			delete(c.volumes, name)
		}
		return hypervisor.Operation{}, nil
	})
	return err
}

package libvirt

import (
	"context"
	"fmt"
	"slices"

	golibvirt "github.com/digitalocean/go-libvirt"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// ResizeDisk grows a disk: through QEMU while the guest runs, on the volume while it is off.
func (d *driver) ResizeDisk(ctx context.Context, ref hypervisor.GuestRef, key string, size int64) (hypervisor.Operation, error) {
	if size <= 0 {
		return hypervisor.Operation{}, broker.InvalidField("size", "must be more than 0")
	}
	look := func(ctx context.Context, g *guest) (bool, error) {
		disk, found := g.disk(key)
		if !found {
			return false, broker.Errorf(broker.NotFound, "guest %d has no disk %s", ref.ID, key)
		}
		now, err := d.diskSize(ctx, g, disk)
		return now >= size, err
	}
	return d.begin(ctx, ref, hypervisor.OperationResize, look, func(ctx context.Context, g *guest, _ func(float64)) ([]string, error) {
		disk, _ := g.disk(key)
		if powerOf(g.state) != hypervisor.PowerStopped {
			return nil, change(ctx, d.client, func(l *rpc) error {
				return l.DomainBlockResize(g.domain, disk.device, uint64(size), golibvirt.DomainBlockResizeBytes)
			})
		}
		if g.saved {
			return nil, broker.Errorf(broker.Conflict, "guest %d is suspended to disk: its memory knows the old size", g.id)
		}
		volume, err := read(ctx, d.client, func(l *rpc) (golibvirt.StorageVol, error) { return l.StorageVolLookupByPath(disk.path) })
		if err != nil {
			return nil, err
		}
		return nil, change(ctx, d.client, func(l *rpc) error { return l.StorageVolResize(volume, uint64(size), 0) })
	})
}

// mustBeOff is for changes of disks.
func mustBeOff(g *guest) error {
	if power := g.power(); power != hypervisor.PowerStopped {
		return broker.Errorf(broker.Conflict, "guest %d is %s: stop it first", g.id, power)
	}
	return nil
}

// ReplaceDisk makes the volume first; the definition that names it and leaves the old one detached is written in one step.
func (d *driver) ReplaceDisk(ctx context.Context, ref hypervisor.GuestRef, spec hypervisor.DiskSpec) (hypervisor.Operation, error) {
	if err := hypervisor.CheckDisk(spec); err != nil {
		return hypervisor.Operation{}, err
	}
	look := func(_ context.Context, g *guest) (bool, error) { return false, mustBeOff(g) }
	return d.begin(ctx, ref, hypervisor.OperationConfig, look, func(ctx context.Context, g *guest, _ func(float64)) ([]string, error) {
		if err := d.dropPartial(ctx, g); err != nil {
			return nil, err
		}
		volume, err := d.makeDisk(ctx, g, spec)
		if err != nil {
			if clear := d.dropPartial(ctx, g); clear != nil {
				return []string{"a partial volume could not be removed: " + broker.DetailOf(clear)}, err
			}
			return nil, err
		}
		g.mount(spec, volume.Path, formatOf(volume.Name))
		return nil, d.define(ctx, g)
	})
}

// dropPartial removes volumes whose making was put down and never came to its end.
func (d *driver) dropPartial(ctx context.Context, g *guest) error {
	for _, each := range slices.Clone(g.record.Volumes) {
		if each.Path != "" {
			continue
		}
		if err := d.deleteVolume(ctx, g, each.Name); err != nil {
			return fmt.Errorf("remove partial volume %s: %w", each.Name, err)
		}
		g.record.forget(each.Name)
	}
	return nil
}

// mount puts a volume in as a disk, in place of the one with that key.
func (g *guest) mount(spec hypervisor.DiskSpec, path, format string) {
	made := diskXML(spec, path, format)
	if old, found := g.disk(spec.Key); found {
		g.config.Devices.Disks[old.index] = made
		return
	}
	at := len(g.config.Devices.Disks)
	for _, other := range g.disks() {
		if unitOf(other.key) > unitOf(spec.Key) {
			at = min(at, other.index)
		}
	}
	g.config.Devices.Disks = slices.Insert(g.config.Devices.Disks, at, made)
}

// AttachVolume takes the volume from the guest's own record: others can't be attached.
func (d *driver) AttachVolume(ctx context.Context, ref hypervisor.GuestRef, volume string, spec hypervisor.DiskSpec) (hypervisor.Operation, error) {
	if err := hypervisor.CheckAttach(spec); err != nil {
		return hypervisor.Operation{}, err
	}
	if err := hypervisor.CheckVolume(volume); err != nil {
		return hypervisor.Operation{}, err
	}
	look := func(_ context.Context, g *guest) (bool, error) {
		if err := mustBeOff(g); err != nil {
			return false, err
		}
		known := g.record.volume(volume)
		if known == nil || known.Path == "" || known.Seed {
			return false, broker.Errorf(broker.NotFound, "guest %d has no volume %s", ref.ID, volume)
		}
		for _, disk := range g.disks() {
			if disk.path == known.Path {
				if disk.key != spec.Key {
					return false, broker.Errorf(broker.Conflict, "volume %s is the disk %s", volume, disk.key)
				}
				return true, nil
			}
		}
		return false, nil
	}
	return d.begin(ctx, ref, hypervisor.OperationConfig, look, func(ctx context.Context, g *guest, _ func(float64)) ([]string, error) {
		known := g.record.volume(volume)
		g.mount(spec, known.Path, formatOf(known.Name))
		return nil, d.define(ctx, g)
	})
}

// DeleteVolume goes by the guest's own record.
func (d *driver) DeleteVolume(ctx context.Context, ref hypervisor.GuestRef, volume string) error {
	if err := hypervisor.CheckVolume(volume); err != nil {
		return err
	}
	claimed, err := d.jobs.claim(newOperationID(hypervisor.OperationConfig, ref.ID, d.now()))
	if err != nil {
		return err
	}
	defer d.jobs.release(claimed)
	g, err := d.prepare(ctx, ref, hypervisor.OperationConfig, always)
	if err != nil {
		return err
	}
	known := g.record.volume(volume)
	if known == nil {
		return nil
	}
	for _, path := range append([]string{g.seedPath()}, paths(g.disks())...) {
		if known.Path != "" && path == known.Path {
			return broker.Errorf(broker.Conflict, "volume %s is in use by guest %d", volume, ref.ID)
		}
	}
	if err := d.deleteVolume(ctx, g, volume); err != nil {
		return err
	}
	g.record.forget(volume)
	return d.put(ctx, g)
}

func paths(disks []attached) []string {
	var out []string
	for _, each := range disks {
		out = append(out, each.path)
	}
	return out
}

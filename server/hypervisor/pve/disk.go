package pve

import (
	"context"
	"slices"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

func (g owned) disk(key string) (hypervisor.GuestDisk, bool) {
	disks := g.config.disks()
	at := slices.IndexFunc(disks, func(each hypervisor.GuestDisk) bool { return each.Key == key })
	if at < 0 {
		return hypervisor.GuestDisk{}, false
	}
	return disks[at], true
}

// ResizeDisk takes two requests. The size is absolute, so that doing it twice does no harm.
func (d *driver) ResizeDisk(ctx context.Context, ref hypervisor.GuestRef, key string, size int64) (hypervisor.Operation, error) {
	if size <= 0 {
		return hypervisor.Operation{}, broker.InvalidField("size", "must be more than 0")
	}
	guest, err := d.ownCurrent(ctx, ref)
	if err != nil {
		return hypervisor.Operation{}, err
	}
	disk, found := guest.disk(key)
	if !found {
		return hypervisor.Operation{}, broker.Errorf(broker.NotFound, "guest %d has no disk %q", ref.ID, bounded(key))
	}
	if disk.SizeBytes >= size {
		return hypervisor.Operation{}, nil
	}
	parameters := map[string]any{"disk": key, "size": resizeSize(size), "digest": guest.digest()}
	return d.client.begin(ctx, "PUT", guest.path("/resize"), parameters)
}

// ReplaceDisk takes three requests. PVE moves the volume that was there to the first free unusedN.
func (d *driver) ReplaceDisk(ctx context.Context, ref hypervisor.GuestRef, spec hypervisor.DiskSpec) (hypervisor.Operation, error) {
	if err := hypervisor.CheckDisk(spec); err != nil {
		return hypervisor.Operation{}, err
	}
	guest, err := d.ownOff(ctx, ref)
	if err != nil {
		return hypervisor.Operation{}, err
	}
	return d.configure(ctx, guest, diskOptions(spec.Key, newDrive(spec)))
}

// AttachVolume takes three requests, and one more for a volume that is not detached. PVE takes the volume out of its unusedN by itself.
func (d *driver) AttachVolume(ctx context.Context, ref hypervisor.GuestRef, volume string, spec hypervisor.DiskSpec) (hypervisor.Operation, error) {
	if err := hypervisor.CheckVolume(volume); err != nil {
		return hypervisor.Operation{}, err
	}
	if err := hypervisor.CheckAttach(spec); err != nil {
		return hypervisor.Operation{}, err
	}
	guest, err := d.ownOff(ctx, ref)
	if err != nil {
		return hypervisor.Operation{}, err
	}
	if _, found := guest.config.detached()[volume]; !found {
		inForce, _ := guest.disk(spec.Key)
		coming, err := d.afterStart(ctx, ref, spec.Key)
		switch {
		case err != nil:
			return hypervisor.Operation{}, err
		case inForce.Volume != volume && coming != volume:
			return hypervisor.Operation{}, broker.Errorf(broker.NotFound, "guest %d has no detached volume %q", ref.ID, volume)
		case inForce.Volume == coming:
			return hypervisor.Operation{}, nil
		}
	}
	return d.configure(ctx, guest, diskOptions(spec.Key, driveOptions(properties{{"", volume}}, spec.IO).String()))
}

// afterStart gives the volume that a disk of a guest that is off will have when the guest is started. It is not the one in force after
// a task that failed, or died, between writing a change and applying it: PVE leaves such a change pending, and the next start applies it.
func (d *driver) afterStart(ctx context.Context, ref hypervisor.GuestRef, key string) (string, error) {
	guest, err := d.own(ctx, ref)
	if err != nil {
		return "", err
	}
	disk, _ := guest.disk(key)
	return disk.Volume, nil
}

// diskOptions sets a disk; a system disk is booted from, which a guest made without one does not do yet.
func diskOptions(key, drive string) map[string]string {
	options := map[string]string{key: drive}
	if key == hypervisor.SystemDisk {
		options["boot"] = "order=" + hypervisor.SystemDisk
	}
	return options
}

// DeleteVolume deletes the unusedN that holds exactly this volume, which destroys it, and waits for the task: PUT config would do the
// same while the request waits, and slow storages take longer than pveproxy does. The digest makes sure that the unusedN is still
// this volume's.
func (d *driver) DeleteVolume(ctx context.Context, ref hypervisor.GuestRef, volume string) error {
	if err := hypervisor.CheckVolume(volume); err != nil {
		return err
	}
	guest, err := d.ownCurrent(ctx, ref)
	if err != nil {
		return err
	}
	for _, disk := range guest.config.disks() {
		if disk.Volume == volume {
			return broker.Errorf(broker.Conflict, "volume %s is in use as %s", volume, disk.Key)
		}
	}
	key, found := guest.config.detached()[volume]
	if !found {
		return nil
	}
	operation, err := d.configure(ctx, guest, map[string]string{key: ""})
	if err != nil {
		return err
	}
	return d.finish(ctx, operation)
}

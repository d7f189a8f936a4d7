package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strconv"

	"gantry/lab/apierror"
	"gantry/lab/guestconf"
	"gantry/lab/machine"
	"gantry/lab/worker"
)

// snapshotDrives are the volumes that a snapshot holds: all disks, not the CD-ROMs.
func (g *Guest) snapshotDrives(values guestconf.Section) ([]guestconf.Drive, []volumePlace, error) {
	var drives []guestconf.Drive
	var places []volumePlace
	for _, key := range values.Drives() {
		drive := values.Drive(key)
		if !drive.HasVolume() || drive.IsCDROM() {
			continue
		}
		at, err := g.cluster.place(g.Node, drive.File)
		if err != nil {
			return nil, nil, err
		}
		drives, places = append(drives, drive), append(places, at)
	}
	return drives, places, nil
}

// Snapshot makes a snapshot in a task.
func (c *Cluster) Snapshot(node string, vmid int, user, name, description string, withMemory bool) (string, error) {
	if name == "current" {
		return "", apierror.Die("unable to use snapshot name 'current' (reserved name)")
	}
	return c.work(node, "qmsnapshot", vmid, user, func(ctx context.Context, task *worker.Task, guest *Guest) error {
		if err := guest.CheckLock(); err != nil {
			return err
		}
		conf := guest.Config()
		if conf.Snapshots[name] != nil {
			return apierror.Die("snapshot name '%s' already used", name)
		}
		drives, places, err := guest.snapshotDrives(conf.Values)
		if err != nil {
			return err
		}
		for _, at := range places {
			if !guest.canSnapshot(at) {
				return apierror.Die("snapshot feature is not available")
			}
		}
		section := maps.Clone(conf.Values)
		section["snaptime"] = strconv.FormatInt(c.Now().Unix(), 10)
		if description != "" {
			section["description"] = description
		} else {
			delete(section, "description")
		}
		if withMemory && guest.Running() {
			if err := guest.saveMemory(ctx, task, name, section); err != nil {
				return err
			}
		}
		return guest.takeSnapshot(ctx, task, name, section, drives, places)
	}), nil
}

func (g *Guest) saveMemory(ctx context.Context, task *worker.Task, name string, section guestconf.Section) error {
	definition, err := g.cluster.StorageOnNode(g.stateStorage(section), g.Node)
	if err != nil {
		return err
	}
	volume := definition.ImageName(g.VMID, fmt.Sprintf("vm-%d-state-%s", g.VMID, name), "raw")
	task.Logf("saving VM state and RAM using storage '%s'", definition.ID)
	section["vmstate"], err = g.cluster.allocate(ctx, task, g.Node, target{definition: definition, vmid: g.VMID, name: volume, format: "raw"},
		int64(section.MemoryMB())<<21+500<<20)
	section["runningmachine"] = "pc-i440fx-" + g.cluster.MachineVersion() + "+pve0"
	return err
}

func (g *Guest) takeSnapshot(ctx context.Context, task *worker.Task, name string, section guestconf.Section, drives []guestconf.Drive, places []volumePlace) error {
	for i, at := range places {
		task.Logf("snapshotting 'drive-%s' (%s)", drives[i].Key, drives[i].File)
		if g.cluster.Major >= 9 && at.Volume.Format == "qcow2" {
			task.Log("internal qemu snapshot")
		}
		err := task.Step(ctx, "disk")
		if err == nil {
			err = g.cluster.Backend.SnapshotVolume(ctx, at.Path, name)
		}
		if err != nil {
			for _, done := range places[:i] {
				_ = g.cluster.Backend.DeleteVolumeSnapshot(context.WithoutCancel(ctx), done.Path, name)
			}
			return g.cluster.shown(g.Node, err)
		}
	}
	return g.Edit(func(conf *guestconf.Config) error {
		conf.Snapshots[name] = section
		conf.Values["parent"] = name
		return nil
	})
}

// Rollback goes back to a snapshot in a task; the guest is stopped, and started again only when the snapshot holds its memory.
func (c *Cluster) Rollback(node string, vmid int, user, name string, start bool) string {
	return c.work(node, "qmrollback", vmid, user, func(ctx context.Context, task *worker.Task, guest *Guest) error {
		conf := guest.Config()
		section := conf.Snapshots[name]
		if section == nil {
			return apierror.Die("snapshot '%s' does not exist", name)
		}
		if err := guest.CheckLock(); err != nil {
			return err
		}
		if process := guest.Process(); process != nil {
			if err := process.Kill(ctx); err != nil && !errors.Is(err, machine.ErrNotRunning) {
				return err
			}
			guest.forget()
		}
		_, places, err := guest.snapshotDrives(section)
		if err != nil {
			return err
		}
		for _, at := range places {
			if err := task.Step(ctx, "disk"); err != nil {
				return err
			}
			if err := c.Backend.RollbackVolume(ctx, at.Path, name); err != nil {
				return c.shown(node, err)
			}
		}
		err = guest.Edit(func(conf *guestconf.Config) error { restore(conf, section, name); return nil })
		if err != nil || !(start || section["vmstate"] != "") {
			return err
		}
		return guest.start(ctx, task, PowerOptions{})
	})
}

// restore makes a snapshot's options the current ones.
func restore(conf *guestconf.Config, section guestconf.Section, name string) {
	values := maps.Clone(section)
	for _, key := range []string{"snaptime", "vmstate", "runningmachine", "runningcpu", "description"} {
		delete(values, key)
	}
	if description, set := conf.Values["description"]; set {
		values["description"] = description
	}
	// Volumes that were attached later are kept as unused.
	inUse := map[string]bool{}
	for _, key := range values.Drives() {
		inUse[values.Drive(key).File] = true
	}
	for _, key := range conf.Values.Drives() {
		drive := conf.Values.Drive(key)
		if drive.HasVolume() && !drive.IsCDROM() && !inUse[drive.File] {
			values.AddUnused(drive.File)
		}
	}
	values["parent"] = name
	conf.Values = values
	clear(conf.Pending)
	clear(conf.PendingDelete)
}

// DeleteSnapshot removes a snapshot in a task; its children hang on its parent then.
func (c *Cluster) DeleteSnapshot(node string, vmid int, user, name string, force bool) string {
	return c.work(node, "qmdelsnapshot", vmid, user, func(ctx context.Context, task *worker.Task, guest *Guest) error {
		conf := guest.Config()
		section := conf.Snapshots[name]
		if section == nil {
			return apierror.Die("snapshot '%s' does not exist", name)
		}
		if err := guest.CheckLock(); err != nil {
			return err
		}
		_, places, err := guest.snapshotDrives(section)
		if err != nil && !force {
			return err
		}
		for _, at := range places {
			err := c.Backend.DeleteVolumeSnapshot(ctx, at.Path, name)
			if err != nil && !errors.Is(err, os.ErrNotExist) && !force {
				return c.shown(node, err)
			}
		}
		if state := section["vmstate"]; state != "" {
			if err := c.free(ctx, node, state); err != nil && !force {
				return err
			}
		}
		return guest.Edit(func(conf *guestconf.Config) error {
			relink := func(values guestconf.Section) {
				if values["parent"] != name {
					return
				}
				delete(values, "parent")
				if parent := section["parent"]; parent != "" {
					values["parent"] = parent
				}
			}
			relink(conf.Values)
			delete(conf.Snapshots, name)
			for _, other := range conf.Snapshots {
				relink(other)
			}
			return nil
		})
	})
}

// DescribeSnapshot changes a snapshot's description.
func (c *Cluster) DescribeSnapshot(ctx context.Context, node string, vmid int, name, description string) error {
	return c.Locked(ctx, vmid, func() error {
		guest, err := c.Guest(node, vmid)
		if err != nil {
			return err
		}
		return guest.Edit(func(conf *guestconf.Config) error {
			section := conf.Snapshots[name]
			if section == nil {
				return apierror.Die("snapshot '%s' does not exist", name)
			}
			section["description"] = description
			return nil
		})
	})
}

package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gantry/lab/apierror"
	"gantry/lab/guestconf"
	"gantry/lab/worker"
)

// MoveDisk copies a disk to another storage or format in a task; remove destroys the source, which else becomes unusedN.
func (c *Cluster) MoveDisk(node string, vmid int, user, key, id, format string, remove bool) (string, error) {
	guest, err := c.Guest(node, vmid)
	if err != nil {
		return "", err
	}
	if err := guest.CheckLock(); err != nil {
		return "", err
	}
	drive, at, err := guest.movable(key)
	if err != nil {
		return "", err
	}
	to, err := c.targetOf(node, at, vmid, id, format)
	if err != nil {
		return "", err
	}
	if to.definition.ID == at.Definition.ID && to.format == at.Volume.Format {
		return "", apierror.Die("you can't move to the same storage with same format")
	}
	return c.work(node, "qmmove", vmid, user, func(ctx context.Context, task *worker.Task, guest *Guest) error {
		if c.Major >= 9 {
			task.Logf("copying volume '%s' from current storage '%s' to target storage '%s'", drive.File, at.Definition.ID, to.definition.ID)
		}
		if err := task.Step(ctx, "disk"); err != nil {
			return err
		}
		info, err := c.info(ctx, node, drive.File)
		if err != nil {
			return err
		}
		moved := drive.Clone()
		moved.File, err = c.fullDisk(ctx, task, guest, guest, &moved, at, info.VirtualSize, CloneOptions{Storage: to.definition.ID, Format: to.format})
		if err != nil {
			return fmt.Errorf("storage migration failed: %w", err)
		}
		err = guest.Edit(func(conf *guestconf.Config) error {
			conf.Values[key] = moved.String()
			if !remove {
				conf.Values.AddUnused(drive.File)
			}
			return nil
		})
		if err == nil && remove {
			err = c.free(ctx, node, drive.File)
		}
		return err
	}), nil
}

func (g *Guest) movable(key string) (guestconf.Drive, volumePlace, error) {
	values := g.Config().Values
	if _, set := values[key]; !set {
		return guestconf.Drive{}, volumePlace{}, apierror.Die("disk '%s' does not exist", key)
	}
	drive := values.Drive(key)
	if drive.IsCDROM() {
		return drive, volumePlace{}, apierror.Die("you can't move a cdrom")
	}
	at, err := g.cluster.place(g.Node, drive.File)
	return drive, at, err
}

// ReassignDisk gives a disk to another guest in a task.
func (c *Cluster) ReassignDisk(node string, vmid int, user, key string, targetVMID int, targetKey string) (string, error) {
	guest, err := c.Guest(node, vmid)
	if err != nil {
		return "", err
	}
	other, err := c.Guest(node, targetVMID)
	if err != nil {
		return "", err
	}
	for _, each := range []*Guest{guest, other} {
		if err := each.CheckLock(); err != nil {
			return "", err
		}
	}
	drive, at, err := guest.movable(key)
	if err != nil {
		return "", err
	}
	if _, taken := other.Config().Values[targetKey]; taken {
		return "", apierror.Die("Target disk key '%s' is already in use for VM '%d'", targetKey, targetVMID)
	}
	if guest.Running() && guestconf.IsDrive(key) {
		return "", apierror.Die("Cannot move disk of a running VM to another VM")
	}
	id := fmt.Sprintf("%d-%s>%d-%s", vmid, key, targetVMID, targetKey)
	return c.Tasks.Start(node, "qmmove", id, user, func(ctx context.Context, task *worker.Task) error {
		for _, number := range []int{vmid, targetVMID} {
			release, err := c.flock(ctx, task, number, 0)
			if err != nil {
				return err
			}
			defer release()
		}
		if c.Major >= 9 {
			task.Logf("reassign disk '%s' from VM '%d' as '%s' to VM '%d'", key, vmid, targetKey, targetVMID)
		} else {
			task.Logf("moving disk '%s' from VM '%d' to '%d'", key, vmid, targetVMID)
		}
		return c.reassign(task, guest, other, drive, at, targetKey)
	}).Text, nil
}

func (c *Cluster) reassign(task *worker.Task, guest, other *Guest, drive guestconf.Drive, at volumePlace, targetKey string) error {
	err := guest.Edit(func(conf *guestconf.Config) error {
		if boot := conf.Values.Boot(); slices.Contains(boot, drive.Key) {
			task.Logf("removing disk '%s' from boot order config", drive.Key)
			boot = slices.DeleteFunc(boot, func(key string) bool { return key == drive.Key })
			conf.Values["boot"] = "order=" + strings.Join(boot, ";")
		}
		delete(conf.Values, drive.Key)
		return nil
	})
	if err != nil {
		return err
	}
	task.Logf("removing disk '%s' from VM '%d' config", drive.Key, guest.VMID)
	moved := drive.Clone()
	moved.Key = targetKey
	moved.File, err = c.newVolume(guest.Node, target{definition: at.Definition, vmid: other.VMID, format: at.Volume.Format}, func(to volumePlace) error {
		return os.Rename(at.Path, to.Path)
	})
	if err != nil {
		return err
	}
	_ = os.Remove(filepath.Dir(at.Path))
	task.Logf("update VM %d: -%s %s", other.VMID, targetKey, moved)
	return other.Edit(func(conf *guestconf.Config) error {
		conf.Values[targetKey] = moved.String()
		return nil
	})
}

// Unlink detaches drives; with force their volumes are destroyed.
func (c *Cluster) Unlink(ctx context.Context, node string, vmid int, user string, keys []string, force bool) error {
	for _, key := range keys {
		if !guestconf.IsDrive(key) && !guestconf.IsUnused(key) {
			return apierror.Param("idlist", "invalid drive '%s'", key)
		}
	}
	return c.Apply(ctx, nil, node, vmid, Update{User: user, Delete: keys, Force: force})
}

// HasFeature tells whether a guest can be snapshotted, cloned or copied, and on which nodes.
func (c *Cluster) HasFeature(node string, vmid int, feature, snapshot string) (bool, []string, error) {
	guest, err := c.Guest(node, vmid)
	if err != nil {
		return false, nil, err
	}
	values := guest.Config().Values
	if snapshot != "" {
		section, known := guest.Config().Snapshots[snapshot]
		if !known {
			return false, nil, apierror.Die("snapshot '%s' does not exist", snapshot)
		}
		values = section
	}
	has := true
	shared := true
	for _, key := range values.Drives() {
		drive := values.Drive(key)
		if !drive.HasVolume() || (drive.IsCDROM() && !drive.IsCloudinit()) {
			continue
		}
		at, err := c.place(node, drive.File)
		if err != nil {
			return false, nil, err
		}
		shared = shared && at.Definition.IsShared()
		switch feature {
		case "snapshot":
			has = has && (drive.IsCloudinit() || guest.canSnapshot(at))
		case "clone":
			has = has && (drive.IsCDROM() || strings.HasPrefix(at.Volume.File, "base-"))
		}
	}
	nodes := []string{node}
	if shared {
		nodes = slices.Clone(c.Nodes)
	}
	return has, nodes, nil
}

func (g *Guest) canSnapshot(at volumePlace) bool {
	return at.Volume.Format == "qcow2" || at.Definition.SnapshotsRaw()
}

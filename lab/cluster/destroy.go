package cluster

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"gantry/lab/apierror"
	"gantry/lab/guestconf"
	"gantry/lab/worker"
)

// DestroyOptions are those of DELETE …/qemu/{vmid}.
type DestroyOptions struct {
	SkipLock     bool // go on whatever the configuration's lock is
	Purge        bool // also remove the guest from what refers to it
	Unreferenced bool // also delete the guest's volumes that its configuration does not name
}

// Destroy deletes a guest with its volumes.
func (c *Cluster) Destroy(node string, vmid int, user string, options DestroyOptions) (string, error) {
	guest, err := c.Guest(node, vmid)
	if err != nil {
		return "", err
	}
	if guest.Config().Values.Flag("protection") {
		return "", apierror.Die("can't remove VM %d - protection mode enabled", vmid)
	}
	if guest.Running() {
		return "", apierror.Die("VM %d is running - destroy failed", vmid)
	}
	return c.work(node, "qmdestroy", vmid, user, func(ctx context.Context, task *worker.Task, guest *Guest) error {
		if err := guest.CheckLock(); err != nil && guest.Lock() != "suspended" && !options.SkipLock {
			return err
		}
		if guest.Running() {
			return apierror.Die("VM %d is running - destroy failed", vmid)
		}
		if err := c.destroyVolumes(ctx, task, guest, options.Unreferenced); err != nil {
			return err
		}
		if options.Purge {
			task.Logf("purging VM %d from related configurations..", vmid)
			c.purge(vmid)
		}
		c.removeFromPools(vmid)
		c.dropConfig(guest)
		_ = os.RemoveAll(guest.runDir())
		return nil
	}), nil
}

func (g *Guest) runDir() string {
	return filepath.Join(g.cluster.DataDir, "nodes", g.Node, "run", strconv.Itoa(g.VMID))
}

// ownVolumes are the volumes that belong to the guest: those whose name carries its VMID. A volume of another guest that it uses
// stays when it is destroyed.
func (g *Guest) ownVolumes(conf *guestconf.Config) []string {
	found := map[string]bool{}
	var volids []string
	add := func(volid string) {
		if found[volid] || !g.owns(volid) {
			return
		}
		found[volid] = true
		volids = append(volids, volid)
	}
	sections := []guestconf.Section{conf.Values, conf.Pending}
	for _, snapshot := range conf.Snapshots {
		sections = append(sections, snapshot)
	}
	for _, section := range sections {
		for _, key := range section.Drives() {
			if drive := section.Drive(key); drive.HasVolume() {
				add(drive.File)
			}
		}
		for _, key := range section.Unused() {
			add(section[key])
		}
		if state := section["vmstate"]; state != "" {
			add(state)
		}
	}
	return volids
}

func (c *Cluster) destroyVolumes(ctx context.Context, task *worker.Task, guest *Guest, unreferenced bool) error {
	volids := guest.ownVolumes(guest.Config())
	for _, volid := range volids {
		at, err := c.place(guest.Node, volid)
		if err == nil && strings.HasPrefix(at.Volume.File, "base-") && c.baseInUse(at) {
			return apierror.Die("base volume '%s' is still in use by linked cloned", volid)
		}
	}
	for _, volid := range volids {
		if err := task.Step(ctx, "disk"); err != nil {
			return err
		}
		// PVE warns and goes on when a volume cannot be removed.
		if err := c.free(ctx, guest.Node, volid); err != nil {
			task.Logf("Could not remove disk '%s', check manually: %s", volid, err)
		}
	}
	if !unreferenced {
		return nil
	}
	for _, definition := range c.StorageList() {
		if !definition.OnNode(guest.Node) || !definition.Has("images") {
			continue
		}
		rows, err := c.Content(ctx, guest.Node, &definition, "images", guest.VMID)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if err := c.free(ctx, guest.Node, row.VolID); err != nil {
				task.Logf("Could not remove disk '%s', check manually: %s", row.VolID, err)
			}
		}
	}
	return nil
}

// purge removes a guest from what refers to it: HA, firewall, ACLs.
func (c *Cluster) purge(vmid int) {
	id := strconv.Itoa(vmid)
	c.mu.Lock()
	_, firewall := c.saved.Firewall[id]
	_, ha := c.saved.HA["vm:"+id]
	delete(c.saved.Firewall, id)
	delete(c.saved.HA, "vm:"+id)
	c.mu.Unlock()
	if firewall || ha {
		c.saveState()
	}
	for _, grant := range c.Access.Grants() {
		if grant.Path == "/vms/"+id {
			_ = c.Access.SetGrant(grant, true)
		}
	}
}

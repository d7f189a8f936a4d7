package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"gantry/lab/apierror"
	"gantry/lab/worker"
)

// Migrate moves a stopped guest to another node in a task, with its local disks.
func (c *Cluster) Migrate(node string, vmid int, user, to string, online bool) (string, error) {
	if !c.HasNode(to) {
		return "", apierror.Param("target", "no such cluster node '%s'", to)
	}
	guest, err := c.Guest(node, vmid)
	if err != nil {
		return "", err
	}
	if err := guest.CheckLock(); err != nil {
		return "", err
	}
	if guest.Running() {
		if !online {
			return "", apierror.Die("can't migrate running VM without --online")
		}
		return "", apierror.Die("can't migrate VM - the lab's guests cannot move while they run")
	}
	return c.work(node, "qmigrate", vmid, user, func(ctx context.Context, task *worker.Task, guest *Guest) error {
		started := c.Now()
		task.Logf("%s starting migration of VM %d to node '%s' (127.0.0.1)", started.Format(time.DateTime), vmid, to)
		for _, volid := range guest.ownVolumes(guest.Config()) {
			if err := task.Step(ctx, "disk"); err != nil {
				return err
			}
			if err := c.carry(task, node, to, volid); err != nil {
				return err
			}
		}
		if err := os.Rename(c.confFile(node, vmid), c.confFile(to, vmid)); err != nil {
			return fmt.Errorf("move the configuration: %w", err)
		}
		c.mu.Lock()
		guest.mu.Lock()
		moved := &Guest{VMID: vmid, Node: to, cluster: c, conf: guest.conf}
		guest.mu.Unlock()
		c.guests[vmid] = moved
		c.mu.Unlock()
		task.Logf("%s migration finished successfully (duration 00:00:00)", c.Now().Format(time.DateTime))
		return nil
	}), nil
}

// carry moves one volume of local storage to the same storage of another node.
func (c *Cluster) carry(task *worker.Task, node, to, volid string) error {
	from, err := c.place(node, volid)
	if err != nil {
		return err
	}
	if from.Definition.IsShared() {
		return nil
	}
	target, err := c.place(to, volid)
	if err != nil {
		return err
	}
	task.Logf("found local disk '%s' (attached)", volid)
	if err := os.MkdirAll(filepath.Dir(target.Path), 0o755); err != nil {
		return fmt.Errorf("make the images folder: %w", err)
	}
	if err := os.Rename(from.Path, target.Path); err != nil {
		return fmt.Errorf("move the volume: %w", err)
	}
	return nil
}

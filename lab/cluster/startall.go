package cluster

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strconv"
	"time"

	"gantry/lab/guestconf"
	"gantry/lab/worker"
)

// startDelay is waited after each start of a booting node that the guest's option startup names no delay for.
const startDelay = 3 * time.Second

// startAll is what a node does when it boots, for the guests that were stopped with it: those with onboot are started one after the
// other, in the order of their option startup and then of their VMIDs (PVE::API2::Nodes, startall).
func (c *Cluster) startAll(node string, halted []*Guest) {
	c.Tasks.Start(node, "startall", "", "root@pam", func(ctx context.Context, task *worker.Task) error {
		c.dropBackupLocks(node, task)
		guests := slices.DeleteFunc(halted, func(guest *Guest) bool { return !guest.Config().Values.Flag("onboot") })
		slices.SortFunc(guests, func(a, b *Guest) int {
			return cmp.Or(cmp.Compare(a.startup("order", math.MaxInt), b.startup("order", math.MaxInt)), cmp.Compare(a.VMID, b.VMID))
		})
		for _, guest := range guests {
			if guest.Running() {
				continue
			}
			task.Logf("Starting VM %d", guest.VMID)
			start := c.Tasks.Find(c.StartGuest(node, guest.VMID, "root@pam", PowerOptions{}))
			select {
			case <-start.Done():
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if exit := start.State().Exit; exit != "OK" {
				task.Logf("Starting VM %d failed: %s", guest.VMID, exit)
				continue
			}
			delay := startDelay
			if up := guest.startup("up", 0); up > 0 {
				delay = time.Duration(up) * time.Second
				task.Logf("Waiting for %d seconds (startup delay)", up)
			}
			if !sleep(ctx, c.Scaled(delay)) {
				return context.Cause(ctx)
			}
		}
		return nil
	})
}

// startup is a number of the guest's option startup.
func (g *Guest) startup(name string, missing int) int {
	number, err := strconv.Atoi(guestconf.Properties(g.Config().Values["startup"], "order")[name])
	if err != nil {
		return missing
	}
	return number
}

// dropBackupLocks removes what backups that ended with the node have left.
func (c *Cluster) dropBackupLocks(node string, task *worker.Task) {
	for _, guest := range c.Guests(node) {
		if guest.Lock() != "backup" {
			continue
		}
		if err := guest.Edit(func(conf *guestconf.Config) error { delete(conf.Values, "lock"); return nil }); err == nil {
			task.Logf("removed left over backup lock from '%d'!", guest.VMID)
		}
	}
}

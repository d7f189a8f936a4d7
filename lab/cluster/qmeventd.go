package cluster

import (
	"context"
	"time"

	"gantry/lab/machine"
)

const (
	// cleanupDelay is how long `qm cleanup` takes to come after QEMU's end: a perl program is loaded.
	cleanupDelay = time.Second
	// cleanupPatience is how long it waits for the configuration lock.
	cleanupPatience = time.Minute
	// cleanupHold is how long PVE 9's holds the lock when it finds the guest running again, waiting for it to end.
	cleanupHold = 30 * time.Second
)

// gone notes that a process has ended and, the first time, lets qmeventd clean up after it.
func (g *Guest) gone(process machine.Process) {
	g.mu.Lock()
	if g.process != process {
		g.mu.Unlock()
		return
	}
	reboot := g.reboot
	g.process, g.paused, g.reboot = nil, false, false
	g.mu.Unlock()
	go g.cleanup(reboot)
}

// forget notes an end after which a rollback has cleaned up by itself.
func (g *Guest) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.process, g.paused, g.reboot = nil, false, false
}

// cleanup is `qm cleanup`, which qmeventd runs after each end of a guest. It applies the changes that waited for the end, and starts the
// guest again when a reboot wants that. Whoever started the guest before the cleanup came finds the configuration locked on PVE 9: the
// cleanup then waits for an end that was there already.
func (g *Guest) cleanup(reboot bool) {
	c := g.cluster
	ctx, cancel := c.living()
	defer cancel()
	if !sleep(ctx, c.Scaled(cleanupDelay)) {
		return
	}
	switch {
	case g.Running() && !c.holdsLock():
		return
	case !g.Running() && !c.ConfigLocked(g.VMID) && !g.pending():
		// Nobody is in the way, and the lock would be held for nothing.
	default:
		release, err := c.flock(ctx, nil, g.VMID, cleanupPatience)
		if err != nil {
			return
		}
		clean := g.cleanLocked(ctx)
		release()
		if !clean {
			return
		}
	}
	if current, err := c.Guest(g.Node, g.VMID); reboot && err == nil && current == g {
		c.StartGuest(g.Node, g.VMID, "root@pam", PowerOptions{})
	}
}

// cleanLocked is the part under the configuration lock. It returns false when the guest runs again, or is none any more.
func (g *Guest) cleanLocked(ctx context.Context) bool {
	c := g.cluster
	if current, err := c.Guest(g.Node, g.VMID); err != nil || current != g {
		return false
	}
	process := g.Process()
	if process == nil {
		if err := g.applyPending(ctx, false); err != nil {
			c.Logger.Warn("apply pending changes after a guest's end", "vmid", g.VMID, "error", err)
		}
		return true
	}
	if c.holdsLock() {
		ctx, cancel := context.WithTimeout(ctx, c.Scaled(cleanupHold))
		defer cancel()
		select {
		case <-process.Done():
		case <-ctx.Done():
		}
	}
	return false
}

// holdsLock tells whether a cleanup that came too late keeps the configuration locked.
func (c *Cluster) holdsLock() bool { return c.Major >= 9 && c.CleanupLock }

// pending tells whether changes wait for the guest's end.
func (g *Guest) pending() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.conf.Pending)+len(g.conf.PendingDelete) > 0
}

// living is a context that ends with the lab.
func (c *Cluster) living() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		select {
		case <-c.closing:
		case <-ctx.Done():
		}
		cancel()
	}()
	return ctx, cancel
}

// sleep waits; false means that ctx ended first.
func sleep(ctx context.Context, period time.Duration) bool {
	timer := time.NewTimer(period)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

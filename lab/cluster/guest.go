package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"gantry/lab/apierror"
	"gantry/lab/guestconf"
	"gantry/lab/machine"
	"gantry/lab/worker"
)

// Guest is one virtual machine: its configuration and, while it runs, its process.
type Guest struct {
	VMID    int
	Node    string
	cluster *Cluster

	mu      sync.Mutex
	conf    *guestconf.Config
	process machine.Process
	spec    machine.Spec // of the running process
	started time.Time
	paused  bool
	// reboot is set while a reboot waits for the guest to go down.
	reboot bool
}

func (c *Cluster) confFolder(node string) string {
	return filepath.Join(c.DataDir, "nodes", node, "qemu-server")
}

func (c *Cluster) confFile(node string, vmid int) string {
	return filepath.Join(c.confFolder(node), strconv.Itoa(vmid)+".conf")
}

// loadGuests reads the configurations of a node's guests and attaches to those that still run. It returns those that were stopped with
// the lab.
func (c *Cluster) loadGuests(node string) (halted []*Guest, err error) {
	entries, err := os.ReadDir(c.confFolder(node))
	if err != nil {
		return nil, fmt.Errorf("list the guests of %s: %w", node, err)
	}
	for _, entry := range entries {
		vmid, err := strconv.Atoi(strings.TrimSuffix(entry.Name(), ".conf"))
		if err != nil || !strings.HasSuffix(entry.Name(), ".conf") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(c.confFolder(node), entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("read the guest's configuration: %w", err)
		}
		guest := &Guest{VMID: vmid, Node: node, cluster: c, conf: guestconf.Parse(string(text))}
		c.guests[vmid] = guest
		if errors.Is(guest.attach(), machine.ErrHalted) {
			halted = append(halted, guest)
		}
	}
	return halted, nil
}

// attach finds the guest's process when it outlived the lab.
func (g *Guest) attach() error {
	spec, err := g.buildSpec(g.conf.Values)
	if err != nil {
		return err
	}
	process, err := g.cluster.Backend.Attach(context.Background(), spec)
	if err != nil {
		return err
	}
	g.running(process, spec)
	return nil
}

// Guest finds a guest on a node; the error is the one of a missing configuration file.
func (c *Cluster) Guest(node string, vmid int) (*Guest, error) {
	c.mu.RLock()
	guest := c.guests[vmid]
	c.mu.RUnlock()
	if guest == nil || guest.Node != node {
		return nil, MissingConfig(node, vmid)
	}
	return guest, nil
}

// MissingConfig is PVE's error for a guest that is not on the node.
func MissingConfig(node string, vmid int) error {
	return apierror.Die("Configuration file 'nodes/%s/qemu-server/%d.conf' does not exist", node, vmid)
}

// Where returns the node of a guest anywhere in the cluster.
func (c *Cluster) Where(vmid int) (node string, found bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if guest := c.guests[vmid]; guest != nil {
		return guest.Node, true
	}
	return "", false
}

// Guests returns all guests of a node ("" = all).
func (c *Cluster) Guests(node string) []*Guest {
	c.mu.RLock()
	defer c.mu.RUnlock()
	guests := make([]*Guest, 0, len(c.guests))
	for _, guest := range c.guests {
		if node == "" || guest.Node == node {
			guests = append(guests, guest)
		}
	}
	return guests
}

// Config returns a copy of the guest's configuration.
func (g *Guest) Config() *guestconf.Config {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.conf.Clone()
}

// Edit changes the configuration and writes it. When edit fails nothing has changed.
func (g *Guest) Edit(edit func(conf *guestconf.Config) error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	changed := g.conf.Clone()
	if err := edit(changed); err != nil {
		return err
	}
	changed.DropUsed()
	if err := replaceFile(g.cluster.confFile(g.Node, g.VMID), []byte(changed.Render())); err != nil {
		return fmt.Errorf("write the guest's configuration: %w", err)
	}
	g.conf = changed
	return nil
}

// Process returns the running process, or nil.
func (g *Guest) Process() machine.Process {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.process
}

// Running tells whether the guest has a process.
func (g *Guest) Running() bool { return g.Process() != nil }

// Lock returns the configuration's lock (backup, create, …).
func (g *Guest) Lock() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.conf.Values["lock"]
}

// CheckLock is PVE's check_lock.
func (g *Guest) CheckLock() error {
	if lock := g.Lock(); lock != "" {
		return apierror.Die("VM is locked (%s)", lock)
	}
	return nil
}

// NotRunning is PVE's error for a guest that must run.
func (g *Guest) NotRunning() error { return apierror.Die("VM %d not running", g.VMID) }

// running notes a new process and waits for its end.
func (g *Guest) running(process machine.Process, spec machine.Spec) {
	started := g.cluster.Now()
	if stats, err := process.Stats(context.Background()); err == nil && !stats.Started.IsZero() {
		started = stats.Started
	}
	g.mu.Lock()
	g.process, g.spec, g.started, g.paused, g.reboot = process, spec, started, false, false
	g.mu.Unlock()
	go func() {
		select {
		case <-process.Done():
			g.gone(process)
		case <-g.cluster.closing:
		}
	}()
}

var errLockTimeout = errors.New("got timeout")

// flock takes the guest's configuration lock as PVE's lock_config does; task may be nil. It waits 10 s, or timeout when that is set.
func (c *Cluster) flock(ctx context.Context, task *worker.Task, vmid int, timeout time.Duration) (release func(), err error) {
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	c.mu.Lock()
	lock := c.flocks[vmid]
	if lock == nil {
		lock = make(chan struct{}, 1)
		c.flocks[vmid] = lock
	}
	c.mu.Unlock()
	release = func() { <-lock }
	if task != nil {
		if err := task.Step(ctx, "lock"); err != nil {
			return nil, err
		}
	}
	select {
	case lock <- struct{}{}:
		return release, nil
	default:
	}
	if task != nil {
		task.Log("trying to acquire lock...")
	}
	timer := time.NewTimer(c.Scaled(timeout))
	defer timer.Stop()
	select {
	case lock <- struct{}{}:
		if task != nil {
			task.Log(" OK")
		}
		return release, nil
	case <-timer.C:
		return nil, apierror.Die("can't lock file '/var/lock/qemu-server/lock-%d.conf' - %s", vmid, errLockTimeout)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Locked runs work with the configuration lock held, outside any task.
func (c *Cluster) Locked(ctx context.Context, vmid int, work func() error) error {
	release, err := c.flock(ctx, nil, vmid, 0)
	if err != nil {
		return err
	}
	defer release()
	return work()
}

// work starts a task for a guest that runs with the guest's configuration lock held.
func (c *Cluster) work(node, kind string, vmid int, user string, work func(ctx context.Context, task *worker.Task, guest *Guest) error) string {
	task := c.Tasks.Start(node, kind, strconv.Itoa(vmid), user, func(ctx context.Context, task *worker.Task) error {
		release, err := c.flock(ctx, task, vmid, 0)
		if err != nil {
			return err
		}
		defer release()
		guest, err := c.Guest(node, vmid)
		if err != nil {
			return err
		}
		return work(ctx, task, guest)
	})
	return task.Text
}

func (c *Cluster) taskStep(ctx context.Context, task *worker.Task, step string) error {
	return c.Faults.Step(ctx, task.UPID.Node, task.UPID.Type, task.UPID.ID, step)
}

// createConfig makes the configuration file of a new guest, holding only the lock. It fails when the VMID is taken anywhere.
func (c *Cluster) createConfig(node string, vmid int, lock string) (*Guest, error) {
	guest := &Guest{VMID: vmid, Node: node, cluster: c, conf: guestconf.New()}
	c.mu.Lock()
	if taken := c.guests[vmid]; taken != nil {
		c.mu.Unlock()
		return nil, fmt.Errorf("VM %d already exists on node '%s'", vmid, taken.Node)
	}
	c.guests[vmid] = guest
	c.mu.Unlock()
	if err := guest.Edit(func(conf *guestconf.Config) error { conf.Values["lock"] = lock; return nil }); err != nil {
		c.dropConfig(guest)
		return nil, err
	}
	return guest, nil
}

func (c *Cluster) dropConfig(guest *Guest) {
	c.mu.Lock()
	delete(c.guests, guest.VMID)
	c.mu.Unlock()
	_ = os.Remove(c.confFile(guest.Node, guest.VMID))
}

// TagsAndLock reads the two options that lists show without waiting for pvestatd.
func (g *Guest) TagsAndLock() (tags, lock string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.conf.Values["tags"], g.conf.Values["lock"]
}

// ConfigLocked tells whether someone holds the guest's configuration lock.
func (c *Cluster) ConfigLocked(vmid int) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.flocks[vmid]) > 0
}

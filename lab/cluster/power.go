package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"gantry/lab/apierror"
	"gantry/lab/guestconf"
	"gantry/lab/machine"
	"gantry/lab/worker"
)

// PowerOptions are those of …/status/ACTION. Every button looks at SkipLock, and besides at what is said here.
type PowerOptions struct {
	SkipLock bool          // go on whatever the configuration's lock is
	Timeout  time.Duration // of a shutdown or reboot; 0 = 180 s
	Force    bool          // kill the guest when a shutdown runs into its timeout
	Overrule bool          // end running shutdown tasks before a stop
	ToDisk   bool          // suspend: save the memory and stop the guest
}

// StartGuest starts a guest in a task.
func (c *Cluster) StartGuest(node string, vmid int, user string, options PowerOptions) string {
	return c.work(node, "qmstart", vmid, user, func(ctx context.Context, task *worker.Task, guest *Guest) error {
		return guest.start(ctx, task, options)
	})
}

func (g *Guest) start(ctx context.Context, task *worker.Task, options PowerOptions) error {
	conf := g.Config()
	suspended := conf.Values["lock"] == "suspended"
	if conf.Values.Flag("template") {
		return apierror.Die("you can't start a vm if it's a template")
	}
	if !options.SkipLock && !suspended {
		if err := g.CheckLock(); err != nil {
			return err
		}
	}
	if g.Running() {
		return apierror.Die("VM %d already running", g.VMID)
	}
	if err := g.applyPending(ctx, false); err != nil {
		return err
	}
	if err := g.generateCloudinit(ctx, task); err != nil {
		return err
	}
	if suspended {
		task.Log("Resuming suspended VM")
	}
	values := g.Config().Values
	if err := g.checkVolumes(ctx, values); err != nil {
		return err
	}
	if err := g.checkBridges(task, values); err != nil {
		return err
	}
	spec, err := g.buildSpec(values)
	if err != nil {
		return err
	}
	if g.cluster.NoHVM && values["kvm"] != "0" { // PVE::QemuServer::config_to_command
		return apierror.Die("KVM virtualisation configured, but not available. Either disable in VM configuration or enable in BIOS.")
	}
	if cpus := spec.Sockets * spec.Cores; cpus > g.cluster.NodeCPUs && spec.KVM {
		return apierror.Die("MAX %d vcpus allowed per VM on this node", g.cluster.NodeCPUs)
	}
	if err := task.Step(ctx, "boot"); err != nil {
		return err
	}
	if err := os.MkdirAll(spec.RunDir, 0o755); err != nil {
		return fmt.Errorf("make the guest's run folder: %w", err)
	}
	process, err := g.cluster.Backend.Start(ctx, spec)
	if err != nil {
		return g.cluster.shown(g.Node, fmt.Errorf("start failed: %w", err))
	}
	g.running(process, spec)
	if suspended {
		return g.dropSuspended(ctx)
	}
	return nil
}

// dropSuspended removes the saved state after a resume from disk.
func (g *Guest) dropSuspended(ctx context.Context) error {
	state := g.Config().Values["vmstate"]
	err := g.Edit(func(conf *guestconf.Config) error {
		for _, key := range []string{"lock", "vmstate", "runningmachine", "runningcpu"} {
			delete(conf.Values, key)
		}
		return nil
	})
	if err == nil && state != "" {
		err = g.cluster.free(ctx, g.Node, state)
	}
	return err
}

// checkVolumes activates the volumes as a start does.
func (g *Guest) checkVolumes(ctx context.Context, values guestconf.Section) error {
	for _, key := range values.Drives() {
		drive := values.Drive(key)
		if !drive.HasVolume() {
			continue
		}
		if _, err := g.cluster.info(ctx, g.Node, drive.File); err != nil {
			return err
		}
	}
	return nil
}

// StopGuest kills a guest in a task.
func (c *Cluster) StopGuest(node string, vmid int, user string, options PowerOptions) string {
	return c.Tasks.Start(node, "qmstop", strconv.Itoa(vmid), user, func(ctx context.Context, task *worker.Task) error {
		if options.Overrule {
			c.overruleShutdown(task, node, vmid)
		}
		release, err := c.flock(ctx, task, vmid, 0)
		if err != nil {
			return err
		}
		defer release()
		guest, err := c.Guest(node, vmid)
		if err != nil {
			return err
		}
		// What is stopped already needs no look at the lock, here and below.
		if !options.SkipLock && guest.Running() {
			if err := guest.CheckLock(); err != nil {
				return err
			}
		}
		return guest.kill(ctx)
	}).Text
}

func (c *Cluster) overruleShutdown(task *worker.Task, node string, vmid int) {
	var ended []string
	for _, other := range c.Tasks.All(node) {
		if other.UPID.Type == "qmshutdown" && other.UPID.ID == strconv.Itoa(vmid) && other.State().Running {
			other.Interrupt()
			<-other.Done()
			ended = append(ended, other.Text)
		}
	}
	if len(ended) > 0 {
		task.Log("overruled qmshutdown tasks: " + strings.Join(ended, ", "))
	}
}

// kill ends the process and waits until it has gone.
func (g *Guest) kill(ctx context.Context) error {
	process := g.Process()
	if process == nil {
		return nil
	}
	if err := process.Kill(ctx); err != nil && !errors.Is(err, machine.ErrNotRunning) {
		return err
	}
	g.gone(process)
	return g.applyPending(ctx, false)
}

// ShutdownGuest presses the power button in a task and waits up to the timeout, scaled.
func (c *Cluster) ShutdownGuest(node string, vmid int, user string, options PowerOptions) string {
	return c.work(node, "qmshutdown", vmid, user, func(ctx context.Context, task *worker.Task, guest *Guest) error {
		if !guest.Running() {
			return nil
		}
		if !options.SkipLock {
			if err := guest.CheckLock(); err != nil {
				return err
			}
		}
		return guest.shutdown(ctx, task, options)
	})
}

const defaultShutdown = 180 * time.Second

func (g *Guest) shutdown(ctx context.Context, task *worker.Task, options PowerOptions) error {
	process := g.Process()
	if process == nil {
		return nil
	}
	timeout := cmp.Or(options.Timeout, defaultShutdown)
	if err := process.Powerdown(ctx); err != nil && !errors.Is(err, machine.ErrNotRunning) {
		return fmt.Errorf("VM quit/powerdown failed - %w", err)
	}
	timer := time.NewTimer(g.cluster.Scaled(timeout))
	defer timer.Stop()
	select {
	case <-process.Done():
		g.gone(process) // before the task is over
		return g.applyPending(ctx, false)
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
	}
	if !options.Force {
		return apierror.Die("VM quit/powerdown failed - got timeout")
	}
	task.Log("VM still running - terminating now with SIGTERM")
	return g.kill(ctx)
}

// RebootGuest shuts down and lets qmeventd start the guest again.
func (c *Cluster) RebootGuest(node string, vmid int, user string, options PowerOptions) (string, error) {
	guest, err := c.Guest(node, vmid)
	if err != nil {
		return "", err
	}
	if !guest.Running() {
		return "", guest.NotRunning()
	}
	return c.work(node, "qmreboot", vmid, user, func(ctx context.Context, task *worker.Task, guest *Guest) error {
		task.Log("requesting reboot of VM " + strconv.Itoa(vmid))
		guest.mu.Lock()
		guest.reboot = true
		guest.mu.Unlock()
		err := guest.shutdown(ctx, task, options)
		if err != nil {
			guest.mu.Lock()
			guest.reboot = false
			guest.mu.Unlock()
		}
		return err
	}), nil
}

// ResetGuest presses reset.
func (c *Cluster) ResetGuest(node string, vmid int, user string, options PowerOptions) (string, error) {
	return c.onRunning(node, "qmreset", vmid, user, options, func(ctx context.Context, _ *worker.Task, guest *Guest, process machine.Process) error {
		return process.Reset(ctx)
	})
}

// onRunning starts a task for a guest that must run.
func (c *Cluster) onRunning(node, kind string, vmid int, user string, options PowerOptions, work func(context.Context, *worker.Task, *Guest, machine.Process) error) (string, error) {
	guest, err := c.Guest(node, vmid)
	if err != nil {
		return "", err
	}
	if !guest.Running() {
		return "", guest.NotRunning()
	}
	return c.work(node, kind, vmid, user, func(ctx context.Context, task *worker.Task, guest *Guest) error {
		if !options.SkipLock {
			if err := guest.CheckLock(); err != nil {
				return err
			}
		}
		process := guest.Process()
		if process == nil {
			return guest.NotRunning()
		}
		return work(ctx, task, guest, process)
	}), nil
}

// SuspendGuest pauses a guest, or saves it to disk and stops it.
func (c *Cluster) SuspendGuest(node string, vmid int, user string, options PowerOptions) (string, error) {
	kind := "qmpause"
	if options.ToDisk {
		kind = "qmsuspend"
	}
	return c.onRunning(node, kind, vmid, user, options, func(ctx context.Context, task *worker.Task, guest *Guest, process machine.Process) error {
		if options.ToDisk {
			return guest.hibernate(ctx, task, process)
		}
		if err := process.Pause(ctx); err != nil {
			return err
		}
		guest.setPaused(true)
		return nil
	})
}

func (g *Guest) setPaused(paused bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.paused = paused
}

// hibernate writes the memory to a state volume and ends the process; the configuration keeps the lock "suspended".
func (g *Guest) hibernate(ctx context.Context, task *worker.Task, process machine.Process) error {
	if err := process.Pause(ctx); err != nil {
		return err
	}
	node, values := g.Node, g.Config().Values
	id := values["vmstatestorage"]
	if id == "" {
		id = g.stateStorage(values)
	}
	definition, err := g.cluster.StorageOnNode(id, node)
	if err != nil {
		return err
	}
	name := definition.ImageName(g.VMID, fmt.Sprintf("vm-%d-state-suspend-%s", g.VMID, g.cluster.Now().UTC().Format("2006-01-02")), "raw")
	volid, err := g.cluster.allocate(ctx, task, node, target{definition: definition, vmid: g.VMID, name: name, format: "raw"},
		int64(values.MemoryMB())<<20+500<<20)
	if err != nil {
		return err
	}
	err = g.Edit(func(conf *guestconf.Config) error {
		conf.Values["lock"], conf.Values["vmstate"] = "suspended", volid
		conf.Values["runningmachine"] = "pc-i440fx-" + g.cluster.MachineVersion() + "+pve0"
		return nil
	})
	if err != nil {
		return err
	}
	if err := process.Kill(ctx); err != nil && !errors.Is(err, machine.ErrNotRunning) {
		return err
	}
	g.gone(process)
	return nil
}

// stateStorage is the storage of the first disk, else the first that takes images.
func (g *Guest) stateStorage(values guestconf.Section) string {
	for _, key := range values.Drives() {
		if drive := values.Drive(key); drive.HasVolume() && !drive.IsCDROM() {
			id, _, _ := strings.Cut(drive.File, ":")
			return id
		}
	}
	for _, definition := range g.cluster.StorageList() {
		if definition.Has("images") && definition.OnNode(g.Node) {
			return definition.ID
		}
	}
	return "local"
}

// ResumeGuest lets a paused guest go on.
func (c *Cluster) ResumeGuest(node string, vmid int, user string, options PowerOptions) (string, error) {
	guest, err := c.Guest(node, vmid)
	if err != nil {
		return "", err
	}
	if guest.Lock() == "suspended" {
		return c.StartGuest(node, vmid, user, options), nil
	}
	return c.onRunning(node, "qmresume", vmid, user, options, func(ctx context.Context, _ *worker.Task, guest *Guest, process machine.Process) error {
		if err := process.Resume(ctx); err != nil {
			return err
		}
		guest.setPaused(false)
		return nil
	})
}

// SendKeys presses keys in a guest, with its configuration lock held as qemu-server does.
func (c *Cluster) SendKeys(ctx context.Context, node string, vmid int, keys string) error {
	guest, err := c.Guest(node, vmid)
	if err != nil {
		return err
	}
	return c.Locked(ctx, vmid, func() error {
		process := guest.Process()
		if process == nil {
			return guest.NotRunning()
		}
		return process.SendKeys(ctx, keys)
	})
}

package cluster

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"gantry/lab/access"
	"gantry/lab/apierror"
	"gantry/lab/guestconf"
	"gantry/lab/schema"
	"gantry/lab/worker"
)

// updateOnly are parameters of an update that are no options.
var updateOnly = []string{"node", "vmid", "delete", "revert", "digest", "force", "skiplock", "background_delay", "import-working-storage"}

// Update is what a change of a configuration wants, and who wants it.
type Update struct {
	User   string
	Set    map[string]string
	Delete []string
	Revert []string
	Digest string
	Force  bool
	// SkipLock goes on whatever the configuration's lock is.
	SkipLock bool
}

// ParseUpdate reads and checks the parameters of PUT or POST config. known tells whether an option exists.
func (c *Cluster) ParseUpdate(node, user string, params schema.Params, known func(string) bool) (Update, error) {
	update := Update{User: user, Set: params.Texts(updateOnly...), Delete: schema.SplitList(params.Str("delete")),
		Revert: schema.SplitList(params.Str("revert")), Digest: params.Str("digest"), Force: params.Flag("force"), SkipLock: params.Flag("skiplock")}
	for name, value := range params {
		if value == nil {
			return update, apierror.Die("unable to parse value of '%s' - got undefined value", name)
		}
	}
	for _, name := range update.Delete {
		if _, both := update.Set[name]; both {
			return update, apierror.Param("delete", "you can't use '-%s' and -delete %s' at the same time", name, name)
		}
		if !known(name) {
			return update, apierror.Param("delete", "unknown option '%s'", name)
		}
	}
	for _, name := range update.Revert {
		if !known(name) {
			return update, apierror.Param("revert", "unknown option '%s'", name)
		}
	}
	if len(update.Set)+len(update.Delete)+len(update.Revert) == 0 {
		return update, apierror.Die("no options specified")
	}
	if err := c.prepareOptions(node, user, update.Set); err != nil {
		return update, err
	}
	return update, c.checkDrives(node, user, update.Set)
}

// Apply changes a guest's configuration; task may be nil. It takes the configuration lock.
func (c *Cluster) Apply(ctx context.Context, task *worker.Task, node string, vmid int, update Update) error {
	release, err := c.flock(ctx, task, vmid, 0)
	if err != nil {
		return err
	}
	defer release()
	guest, err := c.Guest(node, vmid)
	if err != nil {
		return err
	}
	if err := guest.CheckUpdate(update); err != nil {
		return err
	}
	if err := guest.mayFree(update); err != nil {
		return err
	}
	set := guestconf.Section(maps.Clone(update.Set))
	made, err := c.createDisks(ctx, task, guest, set)
	if err == nil && task != nil {
		err = task.Step(ctx, "config")
	}
	if err == nil {
		err = guest.Edit(func(conf *guestconf.Config) error { return guest.stage(conf, set, update) })
	}
	if err != nil {
		for _, volid := range made {
			_ = c.free(context.WithoutCancel(ctx), node, volid)
		}
		return err
	}
	if task != nil {
		if err := task.Step(ctx, "apply"); err != nil {
			return err
		}
	}
	return guest.applyPending(ctx, guest.Running())
}

// CheckUpdate makes the checks that need the guest.
func (g *Guest) CheckUpdate(update Update) error {
	conf := g.Config()
	if update.Digest != "" && update.Digest != conf.Digest() {
		return apierror.Die("checksum mismatch (file change by other user?)")
	}
	if err := g.CheckLock(); err != nil && !update.SkipLock && !update.givesUpState(conf) {
		return err
	}
	if !conf.Values.Flag("protection") {
		return nil
	}
	for _, key := range update.Delete {
		value, set := conf.Values[key]
		switch {
		case !set:
		case key == "vmstate":
			return apierror.Die("can't remove vmstate '%s' - protection mode enabled", value)
		case guestconf.IsUnused(key):
			return apierror.Die("can't remove unused disk '%s' - protection mode enabled", value)
		case guestconf.IsDrive(key):
			return apierror.Die("can't remove drive '%s' - protection mode enabled", key)
		}
	}
	return nil
}

// givesUpState tells whether the update deletes the saved memory of a hibernated guest. This is how hibernation is given up, and the
// lock "suspended" does not count then.
func (u Update) givesUpState(conf *guestconf.Config) bool {
	return conf.Values["lock"] == "suspended" && slices.Contains(u.Delete, "vmstate")
}

// mayFree checks the right to delete the volumes that the update deletes at once: the saved memory and unused disks.
func (g *Guest) mayFree(update Update) error {
	values := g.Config().Values
	for _, key := range update.Delete {
		if update.User == access.Root || (key != "vmstate" && !guestconf.IsUnused(key)) || !g.owns(values[key]) {
			continue
		}
		id, _, _ := strings.Cut(values[key], ":")
		if err := g.cluster.Access.Check(update.User, "/storage/"+id, []string{"Datastore.AllocateSpace"}, true); err != nil {
			return err
		}
	}
	return nil
}

// owns tells whether a volume carries the guest's VMID.
func (g *Guest) owns(volid string) bool {
	at, err := g.cluster.place(g.Node, volid)
	return err == nil && at.Volume.Content == "images" && at.Volume.VMID == strconv.Itoa(g.VMID)
}

// stage puts all changes into the pending section.
func (g *Guest) stage(conf *guestconf.Config, set map[string]string, update Update) error {
	for _, key := range update.Revert {
		delete(conf.Pending, key)
		delete(conf.PendingDelete, key)
	}
	boot := conf.Effective().Boot()
	hasOrder := strings.HasPrefix(conf.Effective()["boot"], "order=")
	deleted := update.Delete
	if slices.Contains(deleted, "vmstate") {
		deleted = append(slices.Clone(deleted), "runningmachine", "runningcpu")
	}
	if update.givesUpState(conf) {
		deleted = append(deleted, "lock")
	}
	for _, key := range deleted {
		g.giveUpPending(conf, key, "")
		if _, set := conf.Values[key]; set {
			conf.PendingDelete[key] = update.Force
		}
		if hasOrder && slices.Contains(boot, key) {
			boot = slices.DeleteFunc(boot, func(device string) bool { return device == key })
			conf.Pending["boot"] = "order=" + strings.Join(boot, ";")
		}
	}
	for key, value := range set {
		delete(conf.PendingDelete, key)
		g.giveUpPending(conf, key, value)
		conf.Pending[key] = value
	}
	return nil
}

// giveUpPending forgets a pending value that another one is about to take the place of. A volume that only it named becomes unused
// (qemu-server: vmconfig_register_unused_drive).
func (g *Guest) giveUpPending(conf *guestconf.Config, key, value string) {
	old, pending := conf.Pending[key]
	delete(conf.Pending, key)
	if !pending || old == value || !guestconf.IsDrive(key) {
		return
	}
	drive := guestconf.ParseDrive(key, old)
	if drive.HasVolume() && !drive.IsCDROM() && g.owns(drive.File) {
		conf.Values.AddUnused(drive.File)
	}
}

// hotplug are options that a running guest takes at once.
func hotplug(key string) bool {
	switch key {
	case "lock", "vmstate", "name", "onboot", "shares", "startup", "description", "protection", "vmstatestorage", "hookscript", "tags",
		"cpuunits", "cpulimit", "balloon":
		return true
	}
	if guestconf.IsDrive(key) {
		return strings.HasPrefix(key, "scsi") || strings.HasPrefix(key, "virtio")
	}
	return guestconf.IsNet(key) || guestconf.IsUnused(key) || guestconf.IsCloudinit(key)
}

// applyPending moves pending changes into the configuration: all of them when the guest is stopped, else those that can be
// hot-plugged.
func (g *Guest) applyPending(ctx context.Context, running bool) error {
	var destroy []string
	err := g.Edit(func(conf *guestconf.Config) error {
		for key, force := range conf.PendingDelete {
			if running && !hotplug(key) {
				continue
			}
			destroy = append(destroy, detach(conf, key, force)...)
			delete(conf.Values, key)
			delete(conf.PendingDelete, key)
		}
		for key, value := range conf.Pending {
			old, had := conf.Values[key]
			cdrom := guestconf.IsDrive(key) && guestconf.ParseDrive(key, value).IsCDROM()
			if running && !hotplug(key) && !cdrom {
				if old == value {
					delete(conf.Pending, key)
				}
				continue
			}
			if had && guestconf.IsDrive(key) && guestconf.ParseDrive(key, old).File != guestconf.ParseDrive(key, value).File {
				detach(conf, key, false)
			}
			conf.Values[key] = value
			delete(conf.Pending, key)
		}
		return nil
	})
	for _, volid := range destroy {
		if !g.owns(volid) {
			continue // another guest's volume is only forgotten
		}
		if free := g.cluster.free(ctx, g.Node, volid); free != nil && err == nil {
			err = free
		}
	}
	return err
}

// detach takes a drive off: its volume becomes unusedN, or is returned to be destroyed.
func detach(conf *guestconf.Config, key string, force bool) (destroy []string) {
	if guestconf.IsUnused(key) || key == "vmstate" {
		return []string{conf.Values[key]}
	}
	if !guestconf.IsDrive(key) {
		return nil
	}
	drive := conf.Values.Drive(key)
	if !drive.HasVolume() {
		return nil
	}
	if drive.IsCDROM() {
		if drive.IsCloudinit() {
			return []string{drive.File}
		}
		return nil
	}
	if force {
		return []string{drive.File}
	}
	conf.Values.AddUnused(drive.File)
	return nil
}

// ApplyTask is POST config: the same in a task.
func (c *Cluster) ApplyTask(node string, vmid int, update Update) string {
	return c.Tasks.Start(node, "qmconfig", strconv.Itoa(vmid), update.User, func(ctx context.Context, task *worker.Task) error {
		task.Logf("update VM %d: %s", vmid, update.text())
		return c.Apply(ctx, task, node, vmid, update)
	}).Text
}

// text is the update as the task's log shows it: the parameters in the order of their names.
func (u Update) text() string {
	shown := maps.Clone(u.Set)
	for key, values := range map[string][]string{"delete": u.Delete, "revert": u.Revert} {
		if len(values) > 0 {
			shown[key] = strings.Join(values, ",")
		}
	}
	for key, given := range map[string]bool{"force": u.Force, "skiplock": u.SkipLock} {
		if given {
			shown[key] = "1"
		}
	}
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(shown)) {
		value := shown[key]
		if key == "cipassword" {
			value = "<hidden>"
		}
		parts = append(parts, "-"+key+" "+value)
	}
	return strings.Join(parts, " ")
}

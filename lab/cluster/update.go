package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"gantry/lab/apierror"
	"gantry/lab/guestconf"
	"gantry/lab/schema"
	"gantry/lab/worker"
)

// updateOnly are parameters of an update that are no options.
var updateOnly = []string{"node", "vmid", "delete", "revert", "digest", "force", "skiplock", "background_delay", "import-working-storage"}

// Update is what a change of a configuration wants.
type Update struct {
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
	update := Update{Set: params.Texts(updateOnly...), Delete: schema.SplitList(params.Str("delete")),
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
	return guest.applyPending(ctx, guest.Running())
}

// CheckUpdate makes the checks that need the guest.
func (g *Guest) CheckUpdate(update Update) error {
	conf := g.Config()
	if update.Digest != "" && update.Digest != conf.Digest() {
		return apierror.Die("checksum mismatch (file change by other user?)")
	}
	if err := g.CheckLock(); err != nil && !update.SkipLock {
		return err
	}
	if conf.Values.Flag("protection") {
		for _, key := range update.Delete {
			if _, set := conf.Values[key]; set && (guestconf.IsDrive(key) || guestconf.IsUnused(key)) {
				return apierror.Die("can't remove drive '%s' - protection mode enabled", key)
			}
		}
	}
	return nil
}

// stage puts all changes into the pending section.
func (g *Guest) stage(conf *guestconf.Config, set map[string]string, update Update) error {
	for _, key := range update.Revert {
		delete(conf.Pending, key)
		delete(conf.PendingDelete, key)
	}
	boot := conf.Effective().Boot()
	hasOrder := strings.HasPrefix(conf.Effective()["boot"], "order=")
	for _, key := range update.Delete {
		delete(conf.Pending, key)
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
		conf.Pending[key] = value
	}
	return nil
}

// hotplug are options that a running guest takes at once.
func hotplug(key string) bool {
	switch key {
	case "lock", "name", "onboot", "shares", "startup", "description", "protection", "vmstatestorage", "hookscript", "tags",
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
			dropUnused(conf, key, value)
		}
		return nil
	})
	for _, volid := range destroy {
		if free := g.cluster.free(ctx, g.Node, volid); free != nil && err == nil {
			err = free
		}
	}
	return err
}

// detach takes a drive off: its volume becomes unusedN, or is returned to be destroyed.
func detach(conf *guestconf.Config, key string, force bool) (destroy []string) {
	if guestconf.IsUnused(key) {
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

// dropUnused removes the unusedN entry of a volume that is attached again.
func dropUnused(conf *guestconf.Config, key, value string) {
	if !guestconf.IsDrive(key) {
		return
	}
	file := guestconf.ParseDrive(key, value).File
	for _, unused := range conf.Values.Unused() {
		if conf.Values[unused] == file {
			delete(conf.Values, unused)
		}
	}
}

// ApplyTask is POST config: the same in a task.
func (c *Cluster) ApplyTask(user, node string, vmid int, update Update) string {
	return c.Tasks.Start(node, "qmconfig", strconv.Itoa(vmid), user, func(ctx context.Context, task *worker.Task) error {
		if len(update.Set) > 0 {
			task.Logf("update VM %d: %s", vmid, changeText(update))
		}
		return c.Apply(ctx, task, node, vmid, update)
	}).Text
}

func changeText(update Update) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(update.Set)) {
		value := update.Set[key]
		if key == "cipassword" {
			value = "<hidden>"
		}
		parts = append(parts, fmt.Sprintf("-%s %s", key, strings.ReplaceAll(value, "\n", " ")))
	}
	if len(update.Delete) > 0 {
		parts = append(parts, "-delete "+strings.Join(update.Delete, ","))
	}
	return strings.Join(parts, " ")
}

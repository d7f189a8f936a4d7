package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gantry/lab/access"
	"gantry/lab/apierror"
	"gantry/lab/guestconf"
	"gantry/lab/worker"
)

// CloneOptions are those of …/clone. Full is nil when the caller left it open: templates are then cloned linked.
type CloneOptions struct {
	NewID                                                      int
	Name, Description, Pool, Snapshot, Storage, Format, Target string
	Full                                                       *bool
}

// Clone copies a guest in a task. All that can be known before is refused at once.
func (c *Cluster) Clone(node string, vmid int, user string, options CloneOptions) (string, error) {
	c.mu.RLock()
	guest := c.guests[vmid]
	c.mu.RUnlock()
	if guest == nil || guest.Node != node {
		return "", apierror.Die("unable to find configuration file for VM %d on node '%s'", vmid, node)
	}
	if options.Target == "" {
		options.Target = node
	}
	if !c.HasNode(options.Target) {
		return "", apierror.Die("no such cluster node '%s'", options.Target)
	}
	values, err := guest.cloneSource(options)
	if err != nil {
		return "", err
	}
	full := !values.Flag("template")
	if options.Full != nil {
		full = *options.Full
	}
	if err := c.checkClone(guest, values, options, full); err != nil {
		return "", err
	}
	copied, err := c.createConfig(options.Target, options.NewID, "clone")
	if err != nil {
		return "", apierror.Die("unable to create VM %d: config file already exists", options.NewID)
	}
	return c.Tasks.StartUndoing(node, "qmclone", strconv.Itoa(vmid), user, func(ctx context.Context, task *worker.Task) error {
		if c.Major >= 9 {
			task.Logf("creating a clone of VM %d with ID %d", vmid, options.NewID)
		}
		return c.clone(ctx, task, guest, copied, values, options, full)
	}, c.undoConfig(copied, "clone failed: ")).Text, nil
}

func (g *Guest) cloneSource(options CloneOptions) (guestconf.Section, error) {
	conf := g.Config()
	if err := g.CheckLock(); err != nil {
		return nil, err
	}
	if options.Snapshot == "" || options.Snapshot == "current" {
		return conf.Values, nil
	}
	values, known := conf.Snapshots[options.Snapshot]
	if !known {
		return nil, apierror.Die("snapshot '%s' does not exist", options.Snapshot)
	}
	return values, nil
}

func (c *Cluster) checkClone(guest *Guest, values guestconf.Section, options CloneOptions, full bool) error {
	if options.Storage != "" {
		if _, err := c.StorageOnNode(options.Storage, options.Target); err != nil {
			return err
		}
	}
	if full {
		return nil
	}
	for name, value := range map[string]string{"storage": options.Storage, "format": options.Format} {
		if value != "" {
			return apierror.Die("parameter '%s' not allowed for linked clones", name)
		}
	}
	for _, key := range values.Drives() {
		drive := values.Drive(key)
		if !drive.HasVolume() || drive.IsCDROM() {
			continue
		}
		at, err := c.place(guest.Node, drive.File)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(at.Volume.File, "base-") {
			return apierror.Die("Linked clone feature is not supported for '%s' (%s)", drive.File, key)
		}
	}
	return nil
}

func (c *Cluster) clone(ctx context.Context, task *worker.Task, guest, copied *Guest, values guestconf.Section, options CloneOptions, full bool) error {
	release, err := c.flock(ctx, task, copied.VMID, 0)
	if err != nil {
		return err
	}
	defer release()
	fresh := guestconf.Section{}
	var made []string
	undo := func() {
		if c.stopped() {
			return
		}
		for _, volid := range made {
			_ = c.free(context.WithoutCancel(ctx), copied.Node, volid)
		}
	}
	for key, value := range values {
		switch {
		case guestconf.IsUnused(key), guestconf.IsDrive(key):
		case slices.Contains([]string{"template", "lock", "parent", "snaptime", "vmstate", "snapstate", "description", "tags", "runningmachine", "runningcpu"}, key):
		case guestconf.IsNet(key):
			net := guestconf.ParseNet(key, value)
			net.MAC = guestconf.NewMAC()
			fresh[key] = net.String()
		default:
			fresh[key] = value
		}
	}
	for _, key := range values.Drives() {
		drive := values.Drive(key)
		if drive.HasVolume() && (!drive.IsCDROM() || drive.IsCloudinit()) {
			if err = task.Step(ctx, "disk"); err == nil {
				drive.File, err = c.cloneDisk(ctx, task, guest, copied, &drive, options, full)
			}
			if err != nil {
				undo()
				return err
			}
			made = append(made, drive.File)
		}
		fresh[key] = drive.String()
	}
	c.cloneIdentity(fresh, guest, options)
	if err = task.Step(ctx, "config"); err == nil {
		err = copied.Edit(func(conf *guestconf.Config) error { conf.Values = fresh; return nil })
	}
	if err != nil {
		undo()
		return err
	}
	if options.Pool != "" {
		c.addToPool(options.Pool, copied.VMID)
	}
	return nil
}

func (c *Cluster) cloneIdentity(fresh guestconf.Section, guest *Guest, options CloneOptions) {
	fresh["name"] = options.Name
	if options.Name == "" {
		fresh["name"] = fmt.Sprintf("Copy-of-VM-%s", strings.ReplaceAll(guestName(guest.VMID, guest.Config().Values), " ", ""))
	}
	if options.Description != "" {
		fresh["description"] = options.Description
	}
	smbios := guestconf.Properties(fresh["smbios1"], "uuid")
	parts := []string{"uuid=" + access.NewSecret()}
	for _, part := range strings.Split(fresh["smbios1"], ",") {
		if name, _, found := strings.Cut(part, "="); found && name != "uuid" && smbios[name] != "" {
			parts = append(parts, part)
		}
	}
	fresh["smbios1"] = strings.Join(parts, ",")
	if fresh["vmgenid"] != "" {
		fresh["vmgenid"] = access.NewSecret()
	}
	fresh["meta"] = fmt.Sprintf("creation-qemu=%s,ctime=%d", c.QEMUVersion(), c.Now().Unix())
}

// cloneDisk copies one drive and sets its size.
func (c *Cluster) cloneDisk(ctx context.Context, task *worker.Task, guest, copied *Guest, drive *guestconf.Drive, options CloneOptions, full bool) (string, error) {
	at, err := c.place(guest.Node, drive.File)
	if err != nil {
		return "", err
	}
	if drive.IsCloudinit() {
		return c.cloneCloudinit(ctx, task, copied, drive, at, options)
	}
	info, err := c.info(ctx, guest.Node, drive.File)
	if err != nil {
		return "", err
	}
	drive.Options["size"] = guestconf.FormatSize(info.VirtualSize)
	if !full {
		return c.linkedDisk(ctx, task, copied, drive.Key, at, info.VirtualSize)
	}
	return c.fullDisk(ctx, task, guest, copied, drive, at, info.VirtualSize, options)
}

func (c *Cluster) targetOf(node string, at volumePlace, vmid int, id, format string) (target, error) {
	if id == "" {
		id = at.Definition.ID
	}
	definition, err := c.StorageOnNode(id, node)
	if err != nil {
		return target{}, err
	}
	if format == "" {
		format = at.Volume.Format
	}
	if !slices.Contains(definition.Formats(), format) {
		format = definition.Formats()[0]
	}
	return target{definition: definition, vmid: vmid, format: format}, nil
}

func (c *Cluster) cloneCloudinit(ctx context.Context, task *worker.Task, copied *Guest, drive *guestconf.Drive, at volumePlace, options CloneOptions) (string, error) {
	task.Logf("create full clone of drive %s (%s)", drive.Key, at.ID)
	to, err := c.targetOf(copied.Node, at, copied.VMID, options.Storage, options.Format)
	if err != nil {
		return "", err
	}
	to.name = to.definition.ImageName(copied.VMID, fmt.Sprintf("vm-%d-cloudinit", copied.VMID), to.format)
	drive.Options["size"] = guestconf.FormatSize(cloudinitSize)
	volid, err := c.allocate(ctx, task, copied.Node, to, cloudinitSize)
	c.logAllocated(task, volid, err)
	return volid, err
}

func (c *Cluster) logAllocated(task *worker.Task, volid string, err error) {
	if err == nil && c.Major >= 9 {
		task.Logf("allocated target volume '%s'", volid)
	}
}

func (c *Cluster) linkedDisk(ctx context.Context, task *worker.Task, copied *Guest, key string, at volumePlace, size int64) (string, error) {
	task.Logf("create linked clone of drive %s (%s)", key, at.ID)
	format := at.Volume.Format
	if at.Definition.FileBased() {
		format = "qcow2" // only qcow2 can have a base
	}
	volid, err := c.newVolume(copied.Node, target{definition: at.Definition, vmid: copied.VMID, format: format}, func(to volumePlace) error {
		if to.Definition.FileBased() {
			base := "../" + at.Volume.VMID + "/" + at.Volume.File
			task.Logf("clone %s: images, %s, %d to %s (base=%s)", at.Volume.Name, to.Volume.File, copied.VMID, to.Volume.File, base)
			c.logFormatting(task, to, format, size, base)
		}
		return c.Backend.CloneVolume(ctx, at.Path, to.Path, format, true)
	})
	if err != nil {
		return "", err
	}
	id, name, _ := strings.Cut(volid, ":")
	return id + ":" + at.Volume.Name + "/" + name, nil
}

func (c *Cluster) fullDisk(ctx context.Context, task *worker.Task, guest, copied *Guest, drive *guestconf.Drive, at volumePlace, size int64, options CloneOptions) (string, error) {
	task.Logf("create full clone of drive %s (%s)", drive.Key, at.ID)
	to, err := c.targetOf(copied.Node, at, copied.VMID, options.Storage, options.Format)
	if err != nil {
		return "", err
	}
	return c.newVolume(copied.Node, to, func(place volumePlace) error {
		c.logFormatting(task, place, to.format, size, "")
		c.logAllocated(task, place.ID, nil)
		if guest.Running() {
			return c.mirror(ctx, task, guest, drive.Key, at, place, to.format, size)
		}
		err := c.Backend.ImportVolume(ctx, at.Path, place.Path, to.format, progress(task, size))
		if err != nil {
			_ = c.Backend.DeleteVolume(context.WithoutCancel(ctx), place.Path)
		}
		return err
	})
}

// mirror is how the disk of a running guest is copied.
func (c *Cluster) mirror(ctx context.Context, task *worker.Task, guest *Guest, key string, from, to volumePlace, format string, size int64) error {
	drive := "drive-" + key
	task.Log("drive mirror is starting for " + drive)
	task.Logf("%s: transferred 0.0 B of %s (0.00%%) in 0s", drive, humanBytes(float64(size)))
	if err := c.Backend.ImportVolume(ctx, from.Path, to.Path, format, nil); err != nil {
		_ = c.Backend.DeleteVolume(context.WithoutCancel(ctx), to.Path)
		return err
	}
	all := humanBytes(float64(size))
	task.Logf("%s: transferred %s of %s (100.00%%) in 1s, ready", drive, all, all)
	task.Log("all 'mirror' jobs are ready")
	frozen := guest.Config().Values.AgentEnabled()
	freeze, thaw := "freeze filesystem", "unfreeze filesystem"
	if c.Major >= 9 {
		freeze, thaw = "issuing guest agent 'guest-fsfreeze-freeze' command", "issuing guest agent 'guest-fsfreeze-thaw' command"
	}
	if frozen {
		task.Log(freeze)
	}
	task.Log(drive + ": Cancelling block job")
	task.Log(drive + ": Done.")
	if frozen {
		task.Log(thaw)
	}
	return nil
}

// Template turns a guest into a template in a task: its volumes become base volumes.
func (c *Cluster) Template(node string, vmid int, user, key string) (string, error) {
	guest, err := c.Guest(node, vmid)
	if err != nil {
		return "", err
	}
	conf := guest.Config()
	switch {
	case guest.Lock() != "":
		return "", guest.CheckLock()
	case len(conf.Snapshots) > 0:
		return "", apierror.Die("unable to create template, because VM contains snapshots")
	case conf.Values.Flag("template") && key == "":
		return "", apierror.Die("you can't convert a template to a template")
	case guest.Running():
		return "", apierror.Die("you can't convert a VM to template if VM is running")
	}
	return c.work(node, "qmtemplate", vmid, user, func(ctx context.Context, task *worker.Task, guest *Guest) error {
		err := guest.Edit(func(conf *guestconf.Config) error { conf.Values["template"] = "1"; return nil })
		if err != nil {
			return err
		}
		for _, drive := range guest.Config().Values.Drives() {
			if key != "" && key != drive {
				continue
			}
			if err := guest.makeBase(task, drive); err != nil {
				return err
			}
		}
		return nil
	}), nil
}

// makeBase renames a disk to base-… and makes the file read-only.
func (g *Guest) makeBase(task *worker.Task, key string) error {
	drive := g.Config().Values.Drive(key)
	if !drive.HasVolume() || drive.IsCDROM() {
		return nil
	}
	at, err := g.cluster.place(g.Node, drive.File)
	if err != nil || strings.HasPrefix(at.Volume.File, "base-") {
		return err
	}
	file := "base-" + strings.TrimPrefix(at.Volume.File, "vm-")
	if err := os.Rename(at.Path, filepath.Join(filepath.Dir(at.Path), file)); err != nil {
		return fmt.Errorf("rename the volume: %w", err)
	}
	if err := os.Chmod(filepath.Join(filepath.Dir(at.Path), file), 0o444); err != nil {
		return fmt.Errorf("protect the base volume: %w", err)
	}
	id, name, _ := strings.Cut(drive.File, ":")
	drive.File = id + ":" + strings.TrimSuffix(name, at.Volume.File) + file
	return g.Edit(func(conf *guestconf.Config) error {
		conf.Values[key] = drive.String()
		return nil
	})
}

package cluster

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gantry/lab/access"
	"gantry/lab/apierror"
	"gantry/lab/guestconf"
	"gantry/lab/schema"
	"gantry/lab/storage"
	"gantry/lab/worker"
)

// QEMUVersion is the version that the nodes report.
func (c *Cluster) QEMUVersion() string {
	if c.Major == 8 {
		return "9.2.0"
	}
	return "10.1.2"
}

// MachineVersion is the version of the machine types that QEMU gives to new guests: QEMU's without the patch level.
func (c *Cluster) MachineVersion() string {
	version := c.QEMUVersion()
	return version[:strings.LastIndex(version, ".")]
}

func decodeBase64(text string) string {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return text
	}
	return string(raw)
}

// createOnly are parameters of a creation that are no options of the guest.
var createOnly = []string{"node", "vmid", "archive", "force", "pool", "start", "unique", "storage", "bwlimit", "live-restore",
	"import-working-storage", "ha-managed"}

// Create makes a guest. The checks and the configuration that holds only the lock are made at once; disks and the full
// configuration come from a task, whose UPID is returned.
func (c *Cluster) Create(user, node string, vmid int, params schema.Params) (string, error) {
	options := params.Texts(createOnly...)
	if params.Has("archive") {
		return "", apierror.Die("restoring archives is not possible here")
	}
	if err := c.prepareOptions(node, user, options); err != nil {
		return "", err
	}
	if err := c.checkDrives(node, user, options); err != nil {
		return "", err
	}
	pool := params.Str("pool")
	guest, err := c.createConfig(node, vmid, "create")
	if err != nil {
		return "", apierror.Die("unable to create VM %d - %s", vmid, err)
	}
	task := c.Tasks.StartUndoing(node, "qmcreate", strconv.Itoa(vmid), user, func(ctx context.Context, task *worker.Task) error {
		if err := c.create(ctx, task, guest, options, pool); err != nil {
			return err
		}
		if params.Flag("start") {
			task.Log("Execute autostart")
			c.StartGuest(node, vmid, user, PowerOptions{})
		}
		return nil
	}, c.undoConfig(guest, "unable to create VM "+strconv.Itoa(vmid)+" - "))
	return task.Text, nil
}

// undoConfig takes the configuration back that was made before a task which failed, and puts prefix before the task's error.
func (c *Cluster) undoConfig(guest *Guest, prefix string) func(error) error {
	return func(err error) error {
		// A task that was cut off by the end of the lab leaves what a node that lost power leaves.
		if c.stopped() {
			return err
		}
		c.dropConfig(guest)
		return apierror.Die("%s%s", prefix, err)
	}
}

// stopped tells whether the lab is closing.
func (c *Cluster) stopped() bool {
	select {
	case <-c.closing:
		return true
	default:
		return false
	}
}

func (c *Cluster) create(ctx context.Context, task *worker.Task, guest *Guest, options map[string]string, pool string) error {
	release, err := c.flock(ctx, task, guest.VMID, 0)
	if err != nil {
		return err
	}
	defer release()
	made, err := c.createDisks(ctx, task, guest, options)
	undo := func() {
		if c.stopped() {
			return
		}
		for _, volid := range made {
			_ = c.free(context.WithoutCancel(ctx), guest.Node, volid)
		}
	}
	if err == nil {
		err = task.Step(ctx, "config")
	}
	if err != nil {
		undo()
		return err
	}
	c.addDefaults(options)
	err = guest.Edit(func(conf *guestconf.Config) error {
		conf.Values = options
		return nil
	})
	if err != nil {
		undo()
		return err
	}
	if pool != "" {
		c.addToPool(pool, guest.VMID)
	}
	return nil
}

// addDefaults adds what PVE sets on every new guest.
func (c *Cluster) addDefaults(options guestconf.Section) {
	if options["smbios1"] == "" {
		options["smbios1"] = "uuid=" + access.NewSecret()
	}
	switch options["vmgenid"] {
	case "", "1":
		options["vmgenid"] = access.NewSecret()
	case "0":
		delete(options, "vmgenid")
	}
	if options["boot"] == "" {
		if order := defaultBoot(options); len(order) > 0 {
			options["boot"] = "order=" + strings.Join(order, ";")
		}
	}
	options["meta"] = fmt.Sprintf("creation-qemu=%s,ctime=%d", c.QEMUVersion(), c.Now().Unix())
}

func defaultBoot(options guestconf.Section) []string {
	var disk, cdrom []string
	for _, key := range options.Drives() {
		switch {
		case !guestconf.IsBootable(key):
		case options.Drive(key).IsCDROM():
			cdrom = append(cdrom, key)
		default:
			disk = append(disk, key)
		}
	}
	var order []string
	if len(disk) > 0 {
		order = append(order, disk[0])
	}
	if len(cdrom) > 0 {
		order = append(order, cdrom[0])
	}
	if nets := options.Nets(); len(nets) > 0 {
		order = append(order, nets[0])
	}
	return order
}

var tagText = regexp.MustCompile(`^[a-z0-9_][a-z0-9_\-+.]*$`)

// prepareOptions brings option values into the form in which PVE stores them.
func (c *Cluster) prepareOptions(node, user string, options map[string]string) error {
	delete(options, "digest")
	if script := options["hookscript"]; script != "" {
		if _, err := c.info(context.Background(), node, script); err != nil {
			return apierror.Param("hookscript", "script '%s' does not exist\n", script)
		}
	}
	if tags, ok := options["tags"]; ok {
		options["tags"] = normalizeTags(tags)
	}
	if password := options["cipassword"]; password != "" && !strings.HasPrefix(password, "$5$") && !strings.HasPrefix(password, "$6$") {
		options["cipassword"] = guestconf.HashPassword(password, guestconf.NewSalt())
	}
	if memory, ok := options["memory"]; ok {
		options["memory"] = guestconf.Properties(memory, "current")["current"]
	}
	if cdrom, ok := options["cdrom"]; ok {
		delete(options, "cdrom")
		options["ide2"] = cdrom + ",media=cdrom"
	}
	for key, value := range options {
		if guestconf.IsNet(key) {
			net := guestconf.ParseNet(key, value)
			if net.MAC == "" {
				net.MAC = guestconf.NewMAC()
			}
			options[key] = net.String()
		}
	}
	return nil
}

// normalizeTags sorts, lower-cases and joins tags as PVE does.
func normalizeTags(text string) string {
	var tags []string
	for _, tag := range schema.SplitList(strings.ToLower(text)) {
		if tagText.MatchString(tag) && !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	slices.Sort(tags)
	return strings.Join(tags, ";")
}

var newDisk = regexp.MustCompile(`^([^/:\s]+):(\d+(\.\d+)?)$`)

// newDiskSize splits STORAGE:GIB.
func newDiskSize(file string) (id string, bytes int64, ok bool) {
	parts := newDisk.FindStringSubmatch(file)
	if parts == nil {
		return "", 0, false
	}
	gib, err := strconv.ParseFloat(parts[2], 64)
	if err != nil {
		return "", 0, false
	}
	return parts[1], int64(gib * (1 << 30)), true
}

// checkDrives are the checks on storages before a task is started.
func (c *Cluster) checkDrives(node, user string, options map[string]string) error {
	for key, value := range options {
		if !guestconf.IsDrive(key) {
			continue
		}
		drive := guestconf.ParseDrive(key, value)
		if source := drive.Options["import-from"]; strings.HasPrefix(source, "/") && user != access.Root {
			return apierror.Die("Only root can pass arbitrary filesystem paths. at /usr/share/perl5/PVE/Storage.pm line %d.", c.absoluteLine())
		}
		id, size, fresh := newDiskSize(drive.File)
		if drive.Options["import-from"] != "" && (!fresh || size != 0) {
			return apierror.Params(map[string]string{key: "expected 'STORAGE:0' together with import-from\n"})
		}
		if !drive.HasVolume() || strings.HasPrefix(drive.File, "/") {
			if strings.HasPrefix(drive.File, "/") && user != access.Root {
				return apierror.Die("Only root can pass arbitrary filesystem paths. at /usr/share/perl5/PVE/Storage.pm line %d.", c.absoluteLine())
			}
			continue
		}
		if !fresh {
			found, _, err := storage.Split(drive.File)
			if err != nil {
				return apierror.Die("%s", err)
			}
			id = found
		}
		definition, err := c.StorageOnNode(id, node)
		if err != nil {
			return err
		}
		_, name, _ := strings.Cut(drive.File, ":")
		if (fresh || name == "cloudinit") && !definition.Has("images") {
			return apierror.Die("storage '%s' does not support content-type 'images'", id)
		}
	}
	return nil
}

// absoluteLine is the line number in Perl's message about absolute paths.
func (c *Cluster) absoluteLine() int {
	if c.Major == 8 {
		return 569
	}
	return 651
}

// createDisks allocates, imports or checks all drives in options and replaces their values. It returns the volumes it made, also
// when it fails.
func (c *Cluster) createDisks(ctx context.Context, task *worker.Task, guest *Guest, options guestconf.Section) (made []string, err error) {
	for _, key := range options.Drives() {
		drive := options.Drive(key)
		volid, err := c.createDisk(ctx, task, guest, &drive)
		if volid != "" {
			made = append(made, volid)
		}
		if err != nil {
			return made, err
		}
		options[key] = drive.String()
		if volid != "" && task != nil {
			task.Logf("%s: successfully created disk '%s'", key, options[key])
		}
	}
	return made, nil
}

func (c *Cluster) createDisk(ctx context.Context, task *worker.Task, guest *Guest, drive *guestconf.Drive) (made string, err error) {
	if !drive.HasVolume() {
		return "", nil
	}
	if task != nil {
		if err := task.Step(ctx, "disk"); err != nil {
			return "", err
		}
	}
	source := drive.Options["import-from"]
	id, size, fresh := newDiskSize(drive.File)
	storageID, name, _ := strings.Cut(drive.File, ":")
	if !fresh && name != "cloudinit" {
		info, err := c.info(ctx, guest.Node, drive.File)
		if err == nil && !drive.IsCDROM() {
			drive.Options["size"] = guestconf.FormatSize(info.VirtualSize)
		}
		return "", err
	}
	if name == "cloudinit" {
		id = storageID
	}
	definition, err := c.StorageOnNode(id, guest.Node)
	if err != nil {
		return "", err
	}
	format := drive.Options["format"]
	to := target{definition: definition, vmid: guest.VMID, format: format}
	switch {
	case name == "cloudinit":
		made, err = c.createCloudinit(ctx, task, guest, to, drive)
	case source != "":
		made, err = c.importDisk(ctx, task, guest, source, to)
	default:
		if !slices.Contains(definition.Formats(), format) {
			to.format = definition.Formats()[0]
		}
		made, err = c.allocate(ctx, task, guest.Node, to, size)
	}
	if err != nil {
		return "", err
	}
	drive.File = made
	delete(drive.Options, "format")
	delete(drive.Options, "import-from")
	if name != "cloudinit" {
		info, err := c.info(ctx, guest.Node, made)
		if err != nil {
			return made, err
		}
		drive.Options["size"] = guestconf.FormatSize(info.VirtualSize)
	}
	return made, nil
}

// cloudinitSize is the size of a cloud-init drive.
const cloudinitSize = 4 << 20

func (c *Cluster) createCloudinit(ctx context.Context, task *worker.Task, guest *Guest, to target, drive *guestconf.Drive) (string, error) {
	if to.format == "" {
		to.format = "raw"
		if to.definition.FileBased() {
			to.format = "qcow2"
		}
	}
	to.name = to.definition.ImageName(guest.VMID, fmt.Sprintf("vm-%d-cloudinit", guest.VMID), to.format)
	drive.Options["media"] = "cdrom"
	at, err := c.place(guest.Node, to.definition.ID+":"+to.name)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(at.Path); err == nil {
		return at.ID, nil // the drive is made again in place
	}
	return c.allocate(ctx, task, guest.Node, to, cloudinitSize)
}

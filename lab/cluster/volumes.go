package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"gantry/lab/apierror"
	"gantry/lab/machine"
	"gantry/lab/storage"
	"gantry/lab/worker"
)

// volumePlace is a volume with its storage and real path.
type volumePlace struct {
	ID         string
	Definition *storage.Definition
	Volume     storage.Volume
	Path       string // real
	Shown      string // as a node prints it
}

// place resolves a volume id on a node.
func (c *Cluster) place(node, volid string) (volumePlace, error) {
	id, name, err := storage.Split(volid)
	if err != nil {
		return volumePlace{}, apierror.Die("%s", err)
	}
	definition, err := c.StorageOnNode(id, node)
	if err != nil {
		return volumePlace{}, err
	}
	volume, err := definition.Parse(name)
	if err != nil {
		return volumePlace{}, apierror.Die("%s", err)
	}
	return volumePlace{ID: volid, Definition: definition, Volume: volume, Path: definition.File(c.DataDir, node, volume),
		Shown: definition.Shown(volume)}, nil
}

// shown rewrites the lab's real paths in a backend's error to those of a node.
func (c *Cluster) shown(node string, err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for _, definition := range c.StorageList() {
		text = strings.ReplaceAll(text, definition.Root(c.DataDir, node), definition.MountPoint())
	}
	return errors.New(text)
}

// info reads a volume; a missing one is PVE's "volume '…' does not exist".
func (c *Cluster) info(ctx context.Context, node, volid string) (machine.VolumeInfo, error) {
	at, err := c.place(node, volid)
	if err != nil {
		return machine.VolumeInfo{}, err
	}
	info, err := c.Backend.VolumeInfo(ctx, at.Path)
	if errors.Is(err, os.ErrNotExist) {
		return info, apierror.Die("volume '%s' does not exist", volid)
	}
	return info, c.shown(node, err)
}

var diskNumber = regexp.MustCompile(`^(?:vm|base)-\d+-(disk|state)-(\d+)(?:\.|$)`)

// reserve picks a free volume name of the guest and keeps others from taking it until release is called.
func (c *Cluster) reserve(node string, definition *storage.Definition, vmid int, format string) (name string, release func(), err error) {
	folder := definition.Folder(c.DataDir, node, "images")
	if definition.FileBased() {
		folder = filepath.Join(folder, strconv.Itoa(vmid))
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return "", nil, fmt.Errorf("make the images folder: %w", err)
		}
	}
	taken := map[int]bool{}
	if definition.FileBased() {
		entries, err := os.ReadDir(folder)
		if err != nil {
			return "", nil, fmt.Errorf("list the images: %w", err)
		}
		for _, entry := range entries {
			if parts := diskNumber.FindStringSubmatch(entry.Name()); parts != nil && parts[1] == "disk" {
				number, _ := strconv.Atoi(parts[2])
				taken[number] = true
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for number := 0; ; number++ {
		stem := fmt.Sprintf("vm-%d-disk-%d", vmid, number)
		key := node + " " + definition.ID + " " + stem
		if taken[number] || c.reserved[key] || (!definition.FileBased() && c.blockTaken(folder, vmid, number)) {
			continue
		}
		c.reserved[key] = true
		return definition.ImageName(vmid, stem, format), func() {
			c.mu.Lock()
			delete(c.reserved, key)
			c.mu.Unlock()
		}, nil
	}
}

func (c *Cluster) blockTaken(folder string, vmid, number int) bool {
	for _, kind := range []string{"vm", "base"} {
		if _, err := os.Lstat(filepath.Join(folder, fmt.Sprintf("%s-%d-disk-%d", kind, vmid, number))); err == nil {
			return true
		}
	}
	return false
}

// target is where a new volume goes.
type target struct {
	definition *storage.Definition
	vmid       int
	name       string // fixed name without storage, or "" for the next vm-N-disk-N
	format     string
}

// newVolume reserves a name, runs fill with the volume's place and returns the volume's id. fill must leave nothing behind on error.
func (c *Cluster) newVolume(node string, to target, fill func(at volumePlace) error) (string, error) {
	name := to.name
	if name == "" {
		reserved, release, err := c.reserve(node, to.definition, to.vmid, to.format)
		if err != nil {
			return "", err
		}
		defer release()
		name = reserved
	}
	at, err := c.place(node, to.definition.ID+":"+name)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(at.Path), 0o755); err != nil {
		return "", fmt.Errorf("make the images folder: %w", err)
	}
	if err := fill(at); err != nil {
		return "", c.shown(node, err)
	}
	return at.ID, nil
}

// allocate makes an empty volume and prints what qemu-img prints.
func (c *Cluster) allocate(ctx context.Context, task *worker.Task, node string, to target, size int64) (string, error) {
	return c.newVolume(node, to, func(at volumePlace) error {
		c.logFormatting(task, at, to.format, size, "")
		if err := c.Backend.CreateVolume(ctx, at.Path, to.format, size); err != nil {
			return fmt.Errorf("unable to create image: %w", err)
		}
		return nil
	})
}

// logFormatting prints qemu-img's line for a new file; block storages print nothing like it.
func (c *Cluster) logFormatting(task *worker.Task, at volumePlace, format string, size int64, backing string) {
	if task == nil || !at.Definition.FileBased() {
		return
	}
	switch {
	case backing != "" && c.Major >= 9:
		task.Logf("Formatting '%s', fmt=qcow2 cluster_size=131072 extended_l2=on preallocation=metadata compression_type=zlib size=%d backing_file=%s backing_fmt=qcow2 lazy_refcounts=off refcount_bits=16", at.Shown, size, backing)
	case backing != "":
		task.Logf("Formatting '%s', fmt=qcow2 cluster_size=65536 extended_l2=off compression_type=zlib size=%d backing_file=%s backing_fmt=qcow2 lazy_refcounts=off refcount_bits=16", at.Shown, size, backing)
	case format == "qcow2":
		task.Logf("Formatting '%s', fmt=qcow2 cluster_size=65536 extended_l2=off preallocation=metadata compression_type=zlib size=%d lazy_refcounts=off refcount_bits=16", at.Shown, size)
	case format == "vmdk":
		task.Logf("Formatting '%s', fmt=vmdk size=%d compat6=off hwversion=undefined", at.Shown, size)
	default:
		task.Logf("Formatting '%s', fmt=raw size=%d preallocation=off", at.Shown, size)
	}
}

// free destroys a volume. A base volume that linked clones use is refused.
func (c *Cluster) free(ctx context.Context, node, volid string) error {
	at, err := c.place(node, volid)
	if err != nil {
		return err
	}
	if strings.HasPrefix(at.Volume.File, "base-") && c.baseInUse(at) {
		return apierror.Die("base volume '%s' is still in use by linked cloned", volid)
	}
	if err := c.Backend.DeleteVolume(ctx, at.Path); err != nil {
		return c.shown(node, err)
	}
	if at.Volume.Content == "images" && at.Definition.FileBased() {
		_ = os.Remove(filepath.Dir(at.Path)) // the guest's folder, when it is empty
	}
	return nil
}

func (c *Cluster) baseInUse(at volumePlace) bool {
	prefix := at.Definition.ID + ":" + at.Volume.Name + "/"
	for _, guest := range c.Guests("") {
		conf := guest.Config()
		for key, value := range conf.Values {
			if strings.HasPrefix(value, prefix) && key != "description" {
				return true
			}
		}
	}
	return false
}

// ContentRow is one volume of a storage.
type ContentRow struct {
	VolID   string
	Volume  storage.Volume
	Info    machine.VolumeInfo
	ModTime int64
	Size    int64 // of the file, for what is no image
}

// Content lists a storage's volumes of the given kinds (nil = all), of one guest when vmid is set.
func (c *Cluster) Content(ctx context.Context, node string, definition *storage.Definition, kind string, vmid int) ([]ContentRow, error) {
	var rows []ContentRow
	if kind == "" || kind == "images" || kind == "rootdir" {
		images, err := c.imageRows(ctx, node, definition, vmid)
		if err != nil {
			return nil, err
		}
		rows = images
	}
	if !definition.FileBased() {
		return rows, nil
	}
	for _, content := range []string{"iso", "vztmpl", "backup", "snippets", "import"} {
		if !definition.Has(content) || (kind != "" && kind != content) {
			continue
		}
		if vmid != 0 && (content == "iso" || content == "vztmpl") {
			continue // what belongs to no guest; PVE lists imports all the same
		}
		entries, err := os.ReadDir(definition.Folder(c.DataDir, node, content))
		if err != nil {
			continue
		}
		for _, entry := range entries {
			name := content + "/" + entry.Name()
			volume, err := definition.Parse(name)
			stat, statErr := entry.Info()
			if err != nil || statErr != nil || !stat.Mode().IsRegular() || strings.Contains(entry.Name(), ".tmp_dwnl.") {
				continue
			}
			rows = append(rows, ContentRow{VolID: definition.ID + ":" + name, Volume: volume, Size: stat.Size(), ModTime: stat.ModTime().Unix()})
		}
	}
	return rows, nil
}

func (c *Cluster) imageRows(ctx context.Context, node string, definition *storage.Definition, vmid int) ([]ContentRow, error) {
	root := definition.Folder(c.DataDir, node, "images")
	folders := []string{""}
	if definition.FileBased() {
		folders = nil
		entries, err := os.ReadDir(root)
		if err != nil {
			return nil, nil
		}
		for _, entry := range entries {
			if _, err := strconv.Atoi(entry.Name()); err == nil && (vmid == 0 || entry.Name() == strconv.Itoa(vmid)) {
				folders = append(folders, entry.Name())
			}
		}
	}
	var rows []ContentRow
	for _, folder := range folders {
		entries, err := os.ReadDir(filepath.Join(root, folder))
		if err != nil {
			continue
		}
		for _, entry := range entries {
			name := entry.Name()
			if folder != "" {
				name = folder + "/" + name
			}
			volume, err := definition.Parse(name)
			if err != nil || (vmid != 0 && volume.VMID != strconv.Itoa(vmid)) {
				continue
			}
			path := definition.File(c.DataDir, node, volume)
			info, err := c.Backend.VolumeInfo(ctx, path)
			stat, statErr := os.Stat(path)
			if err != nil || statErr != nil {
				continue
			}
			volid := definition.ID + ":" + name
			if base := c.baseName(definition, info.Backing); base != "" {
				volid = definition.ID + ":" + base + "/" + name
			}
			rows = append(rows, ContentRow{VolID: volid, Volume: volume, Info: info, ModTime: stat.ModTime().Unix()})
		}
	}
	sort.Slice(rows, func(a, b int) bool { return rows[a].VolID < rows[b].VolID })
	return rows, nil
}

// baseName turns the path of a backing file into its volume name.
func (c *Cluster) baseName(definition *storage.Definition, backing string) string {
	if backing == "" {
		return ""
	}
	file := filepath.Base(backing)
	if !strings.HasPrefix(file, "base-") {
		return ""
	}
	if !definition.FileBased() {
		return file
	}
	return filepath.Base(filepath.Dir(backing)) + "/" + file
}

// Usage is what a storage reports, in bytes.
func (c *Cluster) Usage(node string, definition *storage.Definition) (total, used, free int64) {
	total = definition.Total
	if total == 0 {
		total = storage.DefaultTotal
	}
	used = 8<<30 + c.status.usage(node, definition.ID)
	return total, used, max(total-used, 0)
}

// measure adds up the files of a storage. pvestatd calls it.
func (c *Cluster) measure(node string, definition *storage.Definition) int64 {
	var sum int64
	_ = filepath.WalkDir(definition.Root(c.DataDir, node), func(_ string, entry os.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			if info, err := entry.Info(); err == nil {
				sum += info.Size()
			}
		}
		return nil
	})
	return sum
}

// Description is what GET …/content/{volume} shows.
type Description struct {
	Shown, Format, Parent string
	Size, Used            int64
}

// Describe reads one volume.
func (c *Cluster) Describe(ctx context.Context, node, volid string) (Description, error) {
	at, err := c.place(node, volid)
	if err != nil {
		return Description{}, err
	}
	info, err := c.info(ctx, node, volid)
	if err != nil {
		return Description{}, err
	}
	// used is counted in whole blocks of the file system
	return Description{Shown: at.Shown, Format: info.Format, Size: info.VirtualSize, Used: (info.UsedSize + 4095) / 4096 * 4096,
		Parent: c.baseName(at.Definition, info.Backing)}, nil
}

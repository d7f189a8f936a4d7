package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gantry/lab/apierror"
	"gantry/lab/machine"
	"gantry/lab/worker"
)

// importDisk copies an image into a new volume of the guest.
func (c *Cluster) importDisk(ctx context.Context, task *worker.Task, guest *Guest, source string, to target) (string, error) {
	path, info, err := c.importSource(ctx, guest.Node, source)
	if err != nil {
		return "", err
	}
	if to.format == "" || !slices.Contains(to.definition.Formats(), to.format) {
		to.format = to.definition.Formats()[0]
		if slices.Contains(to.definition.Formats(), info.Format) {
			to.format = info.Format
		}
	}
	return c.newVolume(guest.Node, to, func(at volumePlace) error {
		c.logFormatting(task, at, to.format, info.VirtualSize, "")
		err := c.Backend.ImportVolume(ctx, path, at.Path, to.format, progress(task, info.VirtualSize))
		if err != nil {
			_ = c.Backend.DeleteVolume(context.WithoutCancel(ctx), at.Path)
		}
		return err
	})
}

// importSource finds the image: a volume id, a path of the host, or a path that a node would print.
func (c *Cluster) importSource(ctx context.Context, node, source string) (path string, info machine.VolumeInfo, err error) {
	path, shown := source, source
	if strings.HasPrefix(source, "/") {
		path = c.realPath(node, source)
	} else {
		at, err := c.place(node, source)
		if err != nil {
			return "", info, err
		}
		path, shown = at.Path, at.Shown
	}
	info, err = c.Backend.VolumeInfo(ctx, path)
	if errors.Is(err, os.ErrNotExist) {
		return "", info, apierror.Die("failed to stat '%s'", shown)
	}
	return path, info, c.shown(node, err)
}

// realPath maps a path below a storage's mount point to where the file really is, unless the host has a file of that name.
func (c *Cluster) realPath(node, path string) string {
	if _, err := os.Stat(path); err == nil {
		return path
	}
	for _, definition := range c.StorageList() {
		if rest, below := strings.CutPrefix(filepath.Clean(path), definition.MountPoint()+"/"); below {
			return filepath.Join(definition.Root(c.DataDir, node), rest)
		}
	}
	return path
}

// progress prints qemu-img's lines, at most one for each percent step that PVE shows.
func progress(task *worker.Task, size int64) func(float64) {
	last := -1.0
	return func(share float64) {
		if task == nil || (share < 1 && share-last < 0.03) || last >= 1 {
			return
		}
		last = share
		task.Logf("transferred %s of %s (%.2f%%)", humanBytes(float64(size)*share), humanBytes(float64(size)), share*100)
	}
}

// humanBytes writes bytes as PVE::Tools / render_bytes does: 48.0 MiB.
func humanBytes(bytes float64) string {
	for _, unit := range []string{"B", "KiB", "MiB", "GiB"} {
		if bytes < 1024 {
			return fmt.Sprintf("%.1f %s", bytes, unit)
		}
		bytes /= 1024
	}
	return fmt.Sprintf("%.1f TiB", bytes)
}

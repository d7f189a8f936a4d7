package cluster

import (
	"context"
	"strconv"
	"strings"

	"gantry/lab/apierror"
	"gantry/lab/guestconf"
	"gantry/lab/worker"
)

// ResizeOptions are those of PUT …/resize. Size is absolute, or relative with a leading +.
type ResizeOptions struct {
	Key, Size, Digest string
	SkipLock          bool // go on whatever the configuration's lock is
}

// Resize grows a disk in a task.
func (c *Cluster) Resize(node string, vmid int, user string, options ResizeOptions) string {
	return c.work(node, "resize", vmid, user, func(ctx context.Context, task *worker.Task, guest *Guest) error {
		conf := guest.Config()
		if options.Digest != "" && options.Digest != conf.Digest() {
			return apierror.Die("checksum mismatch (file change by other user?)")
		}
		if err := guest.CheckLock(); err != nil && !options.SkipLock {
			return err
		}
		if _, set := conf.Values[options.Key]; !set {
			return apierror.Die("disk '%s' does not exist", options.Key)
		}
		drive := conf.Values.Drive(options.Key)
		if drive.IsCDROM() {
			return apierror.Die("you can't resize a cdrom")
		}
		return guest.resize(ctx, task, drive, options.Size)
	})
}

func (g *Guest) resize(ctx context.Context, task *worker.Task, drive guestconf.Drive, size string) error {
	c := g.cluster
	at, err := c.place(g.Node, drive.File)
	if err != nil {
		return err
	}
	info, err := c.info(ctx, g.Node, drive.File)
	if err != nil {
		return err
	}
	wanted := guestconf.ParseSize(strings.TrimPrefix(size, "+"))
	if strings.HasPrefix(size, "+") {
		wanted += info.VirtualSize
	}
	if wanted < info.VirtualSize {
		return apierror.Die("shrinking disks is not supported")
	}
	if wanted > info.VirtualSize {
		if err := task.Step(ctx, "disk"); err != nil {
			return err
		}
		// qemu-img counts whole sectors; PVE rounds up to a kilobyte.
		wanted = (wanted + 1023) / 1024 * 1024
		if err := c.grow(ctx, task, g, drive.Key, at, wanted); err != nil {
			return err
		}
	}
	return g.Edit(func(conf *guestconf.Config) error {
		fresh := conf.Values.Drive(drive.Key)
		fresh.Options["size"] = guestconf.FormatSize(wanted)
		conf.Values[drive.Key] = fresh.String()
		return nil
	})
}

func (c *Cluster) grow(ctx context.Context, task *worker.Task, guest *Guest, key string, at volumePlace, size int64) error {
	if process := guest.Process(); process != nil {
		return c.shown(guest.Node, process.ResizeDisk(ctx, key, size))
	}
	if err := c.Backend.ResizeVolume(ctx, at.Path, at.Volume.Format, size); err != nil {
		task.Log(c.shown(guest.Node, err).Error())
		preallocation := ""
		if c.Major >= 9 {
			preallocation = "'--preallocation=off' "
		}
		return apierror.Die("command '/usr/bin/qemu-img resize %s-f %s %s %s' failed: exit code 1", preallocation, at.Volume.Format, at.Shown,
			strconv.FormatInt(size, 10))
	}
	task.Log("Image resized.")
	return nil
}

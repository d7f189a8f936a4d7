package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gantry/lab/machine"
)

// volumeFormats are the formats a volume may have on a directory storage (PVE: raw, qcow2, vmdk).
var volumeFormats = []string{"raw", "qcow2", "vmdk"}

// checkVolume refuses what qemu-img would understand as something else than a local file.
func checkVolume(path, format string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("volume path %q is not absolute", path)
	}
	if !slices.Contains(volumeFormats, format) {
		return fmt.Errorf("volume format %q is not one of %s", format, strings.Join(volumeFormats, ", "))
	}
	return nil
}

// CreateVolume makes an empty, sparse volume and refuses to overwrite one.
func (b *Backend) CreateVolume(ctx context.Context, path, format string, size int64) error {
	if err := checkVolume(path, format); err != nil {
		return err
	}
	if size <= 0 {
		return fmt.Errorf("volume size %d is not positive", size)
	}
	return b.makeVolume(path, func() error {
		_, err := run(ctx, commandTimeout, b.imageTool, "create", "-q", "-f", format, path, strconv.FormatInt(size, 10))
		return err
	})
}

// makeVolume runs the step that writes a new file and removes what a failed one left behind.
func (b *Backend) makeVolume(path string, write func() error) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("volume %s: %w", path, fs.ErrExist)
	}
	if err := write(); err != nil {
		_ = os.Remove(path)
		return fmt.Errorf("make volume %s: %w", path, err)
	}
	return nil
}

// ImportVolume copies source into a new volume. An image that refers to files outside of Options.Root is refused.
func (b *Backend) ImportVolume(ctx context.Context, source, target, format string, progress func(float64)) error {
	if err := checkVolume(target, format); err != nil {
		return err
	}
	sourceFormat, err := b.inspect(ctx, source)
	if err != nil {
		return fmt.Errorf("import %s: %w", source, err)
	}
	return b.makeVolume(target, func() error {
		return b.convert(ctx, source, sourceFormat, target, format, progress)
	})
}

// convert copies with qemu-img; -p makes it print its progress to standard output.
func (b *Backend) convert(ctx context.Context, source, sourceFormat, target, format string, progress func(float64)) error {
	report := &progressWriter{report: progress}
	// -U: the source may belong to a running guest, as with PVE's full clone of one.
	return runTo(ctx, copyTimeout, report, b.imageTool, "convert", "-p", "-U", "-f", sourceFormat, "-O", format, source, target)
}

// CloneVolume makes target from base. A linked clone is a qcow2 overlay whose reference to base is relative, as PVE's is,
// so that the data directory may move.
func (b *Backend) CloneVolume(ctx context.Context, base, target, format string, linked bool) error {
	if err := checkVolume(target, format); err != nil {
		return err
	}
	if !filepath.IsAbs(base) {
		return fmt.Errorf("volume path %q is not absolute", base)
	}
	baseFormat, err := b.formatOf(ctx, base)
	if err != nil {
		return fmt.Errorf("clone %s: %w", base, err)
	}
	if !linked {
		return b.makeVolume(target, func() error {
			return b.convert(ctx, base, baseFormat, target, format, nil)
		})
	}
	if format != "qcow2" {
		return fmt.Errorf("a linked clone of %s needs format qcow2, not %s", base, format)
	}
	relative, err := filepath.Rel(filepath.Dir(target), base)
	if err != nil {
		return fmt.Errorf("clone %s: %w", base, err)
	}
	// A name with a colon would be read as a protocol.
	relative = "./" + relative
	return b.makeVolume(target, func() error {
		_, err := run(ctx, commandTimeout, b.imageTool, "create", "-q", "-f", format, "-F", baseFormat, "-b", relative, target)
		return err
	})
}

// ResizeVolume grows a volume. Where a guest has it open that guest does it, and sees the larger disk at once.
func (b *Backend) ResizeVolume(ctx context.Context, path, format string, size int64) error {
	if err := checkVolume(path, format); err != nil {
		return err
	}
	if guest, key := b.userOf(path); guest != nil {
		if err := guest.ResizeDisk(ctx, key, size); !errors.Is(err, machine.ErrNotRunning) {
			return err
		}
	}
	if _, err := run(ctx, commandTimeout, b.imageTool, "resize", "-q", "-f", format, path, strconv.FormatInt(size, 10)); err != nil {
		return fmt.Errorf("resize %s: %w", path, err)
	}
	return nil
}

// DeleteVolume removes a volume's file.
func (b *Backend) DeleteVolume(_ context.Context, path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete volume: %w", err)
	}
	return nil
}

// VolumeInfo reads a volume's sizes, also while a guest has it open.
func (b *Backend) VolumeInfo(ctx context.Context, path string) (machine.VolumeInfo, error) {
	info, err := b.imageInfo(ctx, path, formatByName(path))
	if err != nil {
		return machine.VolumeInfo{}, err
	}
	volume := machine.VolumeInfo{Format: info.Format, VirtualSize: info.VirtualSize, UsedSize: info.ActualSize}
	if info.FullBackingFilename != "" {
		volume.Backing = filepath.Clean(info.FullBackingFilename)
	}
	return volume, nil
}

// imageInfo is what is used of `qemu-img info --output=json`.
type imageInfo struct {
	Format              string `json:"format"`
	VirtualSize         int64  `json:"virtual-size"`
	ActualSize          int64  `json:"actual-size"`
	BackingFilename     string `json:"backing-filename"`
	FullBackingFilename string `json:"full-backing-filename"`
	FormatSpecific      struct {
		Data struct {
			DataFile string `json:"data-file"` // qcow2 with its data in another file
			Extents  []struct {
				Filename string `json:"filename"`
			} `json:"extents"` // vmdk
		} `json:"data"`
	} `json:"format-specific"`
}

// imageInfo reads an image's header; an empty format lets qemu-img find out, which only a file that no guest wrote allows.
func (b *Backend) imageInfo(ctx context.Context, path, format string) (imageInfo, error) {
	if _, err := os.Stat(path); err != nil {
		return imageInfo{}, fmt.Errorf("read volume: %w", err)
	}
	argv := []string{b.imageTool, "info", "-U", "--output=json"}
	if format != "" {
		argv = append(argv, "-f", format)
	}
	output, err := run(ctx, commandTimeout, append(argv, path)...)
	if err != nil {
		return imageInfo{}, fmt.Errorf("read volume %s: %w", path, err)
	}
	var info imageInfo
	if err := json.Unmarshal(output, &info); err != nil {
		return imageInfo{}, fmt.Errorf("read volume %s: qemu-img's answer: %w", path, err)
	}
	return info, nil
}

// formatByName is the format that a file's name promises, "" for a foreign name. A volume's content proves nothing: a guest
// may write a qcow2 header with any backing file into its raw disk.
func formatByName(path string) string {
	if extension := strings.TrimPrefix(filepath.Ext(path), "."); slices.Contains(volumeFormats, extension) {
		return extension
	}
	return ""
}

func (b *Backend) formatOf(ctx context.Context, path string) (string, error) {
	if format := formatByName(path); format != "" {
		return format, nil
	}
	info, err := b.imageInfo(ctx, path, "")
	return info.Format, err
}

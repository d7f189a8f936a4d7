package memory

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"gantry/lab/machine"
)

// magic begins a marker file; what follows is a record in JSON.
const magic = "GANTRY-VOLUME "

// record is what a volume is here.
type record struct {
	Format    string             `json:"format"`
	Size      int64              `json:"size"`
	Backing   string             `json:"backing,omitempty"`
	Snapshots []string           `json:"snapshots,omitempty"`
	CloudInit *machine.CloudInit `json:"cloudinit,omitempty"`
	// Source is the image that the volume was imported from, for tests that look.
	Source string `json:"source,omitempty"`
}

// largestRaw is where an ext4 node refuses a raw file.
const largestRaw = 16 << 40

func write(path string, volume record, fresh bool) error {
	text, err := json.Marshal(volume)
	if err != nil {
		return fmt.Errorf("encode the volume: %w", err)
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	if fresh {
		flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	}
	file, err := os.OpenFile(path, flags, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(append([]byte(magic), text...))
	return errors.Join(err, file.Close())
}

// read understands marker files and, for images that were uploaded or downloaded, qcow2 headers and raw files.
func read(path string) (record, int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return record{}, 0, err
	}
	defer file.Close()
	stat, err := file.Stat()
	if err != nil {
		return record{}, 0, fmt.Errorf("stat the volume: %w", err)
	}
	head := make([]byte, 64<<10)
	count, err := io.ReadFull(file, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return record{}, 0, fmt.Errorf("read the volume: %w", err)
	}
	head = head[:count]
	if text, ok := bytes.CutPrefix(head, []byte(magic)); ok {
		var volume record
		if err := json.Unmarshal(text, &volume); err != nil {
			return record{}, 0, fmt.Errorf("qemu-img: Could not open '%s': %w", path, err)
		}
		return volume, stat.Size(), nil
	}
	// qcow2: magic QFI\xfb, version, …, virtual size at byte 24 (docs/interop/qcow2 in QEMU's tree).
	if len(head) >= 32 && bytes.HasPrefix(head, []byte("QFI\xfb")) {
		return record{Format: "qcow2", Size: int64(binary.BigEndian.Uint64(head[24:32]))}, stat.Size(), nil
	}
	return record{Format: "raw", Size: stat.Size()}, stat.Size(), nil
}

// CreateVolume makes a marker file.
func (b *Backend) CreateVolume(_ context.Context, path, format string, size int64) error {
	if format == "raw" && size > largestRaw {
		return fmt.Errorf("qemu-img: %s: The image size is too large for file format 'raw'", path)
	}
	return write(path, record{Format: format, Size: size}, true)
}

// ImportVolume records the source's virtual size.
func (b *Backend) ImportVolume(_ context.Context, source, target, format string, progress func(float64)) error {
	volume, _, err := read(source)
	if err != nil {
		return err
	}
	if progress != nil {
		progress(0)
	}
	if err := write(target, record{Format: format, Size: volume.Size, Source: source}, true); err != nil {
		return err
	}
	if progress != nil {
		progress(1)
	}
	return nil
}

// CloneVolume makes a child or a copy.
func (b *Backend) CloneVolume(_ context.Context, base, target, format string, linked bool) error {
	volume, _, err := read(base)
	if err != nil {
		return err
	}
	clone := record{Format: format, Size: volume.Size, Source: base}
	if linked {
		clone.Backing = base
	}
	return write(target, clone, true)
}

// ResizeVolume changes the size.
func (b *Backend) ResizeVolume(_ context.Context, path, _ string, size int64) error {
	return change(path, func(volume *record) error {
		volume.Size = size
		return nil
	})
}

// change rewrites a marker. A read-only file is refused as an immutable base image is on a node.
func change(path string, edit func(*record) error) error {
	stat, err := os.Stat(path)
	if err == nil && stat.Mode().Perm()&0o200 == 0 {
		return fmt.Errorf("qemu-img: Could not open '%s': Could not open '%s': Operation not permitted", path, path)
	}
	volume, _, err := read(path)
	if err != nil {
		return err
	}
	if err := edit(&volume); err != nil {
		return err
	}
	return write(path, volume, false)
}

// DeleteVolume removes the marker.
func (b *Backend) DeleteVolume(_ context.Context, path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// VolumeInfo reads a volume.
func (b *Backend) VolumeInfo(_ context.Context, path string) (machine.VolumeInfo, error) {
	volume, used, err := read(path)
	if err != nil {
		return machine.VolumeInfo{}, err
	}
	return machine.VolumeInfo{Format: volume.Format, VirtualSize: volume.Size, UsedSize: used, Backing: volume.Backing}, nil
}

// SnapshotVolume, RollbackVolume and DeleteVolumeSnapshot keep the names only.
func (b *Backend) SnapshotVolume(_ context.Context, path, name string) error {
	return change(path, func(volume *record) error {
		volume.Snapshots = append(volume.Snapshots, name)
		return nil
	})
}

// RollbackVolume checks that the snapshot exists.
func (b *Backend) RollbackVolume(_ context.Context, path, name string) error {
	volume, _, err := read(path)
	if err != nil {
		return err
	}
	if !slices.Contains(volume.Snapshots, name) {
		return fmt.Errorf("qemu-img: Could not apply snapshot '%s': snapshot not found", name)
	}
	return nil
}

// DeleteVolumeSnapshot forgets the name.
func (b *Backend) DeleteVolumeSnapshot(_ context.Context, path, name string) error {
	return change(path, func(volume *record) error {
		volume.Snapshots = slices.DeleteFunc(volume.Snapshots, func(known string) bool { return known == name })
		return nil
	})
}

// WriteCloudInit records the files.
func (b *Backend) WriteCloudInit(_ context.Context, path string, data machine.CloudInit) error {
	return write(path, record{Format: "raw", Size: 4 << 20, CloudInit: &data}, false)
}

// ReadCloudInit returns what WriteCloudInit wrote, for tests.
func ReadCloudInit(path string) (machine.CloudInit, error) {
	volume, _, err := read(path)
	if err != nil {
		return machine.CloudInit{}, err
	}
	if volume.CloudInit == nil {
		return machine.CloudInit{}, fmt.Errorf("%s holds no cloud-init data", path)
	}
	return *volume.CloudInit, nil
}

package qemu

import (
	"context"
	"errors"
	"fmt"
	"regexp"
)

// snapshotName is what PVE takes as a snapshot's name (pve-configid).
var snapshotName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{1,39}$`)

// SnapshotVolume makes an internal snapshot, through the guest where one has the volume open.
func (b *Backend) SnapshotVolume(ctx context.Context, path, name string) error {
	return b.snapshot(ctx, path, name, "-c", "blockdev-snapshot-internal-sync")
}

// DeleteVolumeSnapshot removes an internal snapshot.
func (b *Backend) DeleteVolumeSnapshot(ctx context.Context, path, name string) error {
	return b.snapshot(ctx, path, name, "-d", "blockdev-snapshot-delete-internal-sync")
}

// RollbackVolume sets a volume back to a snapshot; no guest may have it open.
func (b *Backend) RollbackVolume(ctx context.Context, path, name string) error {
	if guest, _ := b.userOf(path); guest != nil {
		return fmt.Errorf("roll back %s: %w", path, errors.New("the guest is running"))
	}
	return b.snapshot(ctx, path, name, "-a", "")
}

func (b *Backend) snapshot(ctx context.Context, path, name, option, command string) error {
	if !snapshotName.MatchString(name) {
		return fmt.Errorf("snapshot name %q is invalid", name)
	}
	if guest, key := b.userOf(path); guest != nil {
		if _, err := guest.execute(ctx, command, map[string]any{"device": driveID(key), "name": name}); err != nil {
			return fmt.Errorf("snapshot %s of %s: %w", name, path, err)
		}
		return nil
	}
	// Named driver: qemu-img would guess a raw volume's format from what the guest wrote into it.
	image := "driver=qcow2,file.driver=file,file.filename=" + escapeOption(path)
	if _, err := run(ctx, commandTimeout, b.imageTool, "snapshot", "--image-opts", "-q", option, name, image); err != nil {
		return fmt.Errorf("snapshot %s of %s: %w", name, path, err)
	}
	return nil
}

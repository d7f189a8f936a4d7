package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// ErrShrink is returned for a size below the volume's: the guest's data would be cut off. The text is PVE's.
var ErrShrink = errors.New("shrinking disks is not supported")

// ResizeDisk grows the volume of a drive and tells the guest. size is in bytes; the present size is no error.
func (p *Process) ResizeDisk(ctx context.Context, key string, size int64) error {
	present, err := p.diskSize(ctx, key)
	if err != nil {
		return err
	}
	if size < present {
		return fmt.Errorf("resize %s to %d bytes: %w", key, size, ErrShrink)
	}
	_, err = p.execute(ctx, "block_resize", map[string]any{"device": driveID(key), "size": size})
	return err
}

// diskSize is the size in bytes that the guest sees; unlike qemu-img, QEMU itself would shrink an open volume.
func (p *Process) diskSize(ctx context.Context, key string) (int64, error) {
	answer, err := p.execute(ctx, "query-block", nil)
	if err != nil {
		return 0, err
	}
	var drives []struct {
		Device   string `json:"device"`
		Inserted struct {
			Image struct {
				VirtualSize int64 `json:"virtual-size"`
			} `json:"image"`
		} `json:"inserted"`
	}
	if err := json.Unmarshal(answer, &drives); err != nil {
		return 0, fmt.Errorf("QMP query-block: %w", err)
	}
	for _, drive := range drives {
		if drive.Device == driveID(key) {
			return drive.Inserted.Image.VirtualSize, nil
		}
	}
	return 0, fmt.Errorf("disk '%s' does not exist", key)
}

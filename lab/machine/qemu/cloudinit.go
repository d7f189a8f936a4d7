package qemu

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"gantry/internal/nocloud"
	"gantry/lab/machine"
)

// WriteCloudInit writes the NoCloud drive, as qcow2 where the name ends so: on a dir storage PVE keeps the drive in a qcow2 volume.
// A running guest keeps the drive it was started with.
func (b *Backend) WriteCloudInit(ctx context.Context, path string, data machine.CloudInit) error {
	files := nocloud.Files{
		MetaData:      data.MetaData,
		UserData:      data.UserData,
		NetworkConfig: data.NetworkConfig,
		VendorData:    data.VendorData,
	}
	if filepath.Ext(path) != ".qcow2" {
		return nocloud.WriteISO(path, files)
	}
	iso := path + ".iso"
	if err := nocloud.WriteISO(iso, files); err != nil {
		return err
	}
	fresh := path + ".new"
	err := b.convert(ctx, iso, "raw", fresh, "qcow2", nil)
	_ = os.Remove(iso)
	if err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		_ = os.Remove(fresh)
		return fmt.Errorf("write cloud-init drive %s: %w", path, err)
	}
	return nil
}

package broker

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
)

// Names of settings that operators change through the API.
const (
	linuxDiskSetting    = "system.linux_disk_gb"
	windowsDiskSetting  = "system.windows_disk_gb"
	daemonSecretSetting = "daemon_secret"
)

// daemonSecretBytes is what `gantry controlled` wants a secret to have at least.
const daemonSecretBytes = 32

// SystemSettings are the operator's settings that hold for all replicas at once, over what the configuration file says.
type SystemSettings struct {
	// Disk sizes in GB for orders that name none.
	LinuxDiskGB, WindowsDiskGB int
	// DeleteDays is how many days deleted VMs stay in the recycle bin; 0 = none.
	DeleteDays int
}

// SettingsChange changes settings; nil = as it is.
type SettingsChange struct {
	LinuxDiskGB, WindowsDiskGB, DeleteDays *int
}

// maxSystemDiskGB bounds default sizes: 16 TiB, the largest file system that ext4 makes of 4 KiB blocks.
const maxSystemDiskGB = 16384

// Settings reads the settings; what was never set is as the configuration says.
func (b *Broker) Settings(ctx context.Context) (settings SystemSettings, err error) {
	for _, number := range []struct {
		name      string
		otherwise int
		into      *int
	}{
		{linuxDiskSetting, b.rules.LinuxDiskGB, &settings.LinuxDiskGB},
		{windowsDiskSetting, b.rules.WindowsDiskGB, &settings.WindowsDiskGB},
		{deleteDaysSetting, b.rules.DeleteDays, &settings.DeleteDays},
	} {
		*number.into = number.otherwise
		text, err := b.store.Setting(ctx, number.name)
		if Is(err, NotFound) {
			continue
		}
		if err != nil {
			return settings, err
		}
		if *number.into, err = strconv.Atoi(text); err != nil {
			return settings, Wrap(fmt.Errorf("setting %s: %w", number.name, err), "read the system settings")
		}
	}
	return settings, nil
}

// ChangeSettings stores settings, all or none.
func (b *Broker) ChangeSettings(ctx context.Context, change SettingsChange) error {
	return b.store.Transact(ctx, func(tx Tx) error {
		for _, number := range []struct {
			field, name string
			wanted      *int
			least, most int
		}{
			{"Linux", linuxDiskSetting, change.LinuxDiskGB, 1, maxSystemDiskGB},
			{"Windows", windowsDiskSetting, change.WindowsDiskGB, 1, maxSystemDiskGB},
			{"deleteDays", deleteDaysSetting, change.DeleteDays, 0, MaxDeleteDays},
		} {
			if number.wanted == nil {
				continue
			}
			if *number.wanted < number.least || *number.wanted > number.most {
				return InvalidField(number.field, "must be %d to %d", number.least, number.most)
			}
			if err := tx.SaveSetting(ctx, number.name, strconv.Itoa(*number.wanted), false); err != nil {
				return err
			}
		}
		return nil
	})
}

// DaemonSecret is what nodes' daemons that are set up by hand may be given; it is made when it is asked for first. A node that is
// added with a daemon's port and no secret is reached with it. Daemons that Gantry installs have secrets of their own.
func (b *Broker) DaemonSecret(ctx context.Context) (string, error) {
	fresh := make([]byte, daemonSecretBytes)
	if _, err := rand.Read(fresh); err != nil {
		return "", Wrap(err, "make the daemons' secret")
	}
	return b.store.InsertSetting(ctx, daemonSecretSetting, hex.EncodeToString(fresh), true)
}

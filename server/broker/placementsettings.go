package broker

import (
	"context"
	"fmt"
	"strconv"
)

// PlacementSettings say how much may be promised of what nodes have, in percent.
type PlacementSettings struct{ CPUPercent, MemoryPercent, DiskPercent int64 }

// PlacementSettingsChange changes settings; nil = as it is.
type PlacementSettingsChange struct{ CPUPercent, MemoryPercent, DiskPercent *int64 }

// Bounds of overcommit: a tenth of what is there, up to a hundred times.
const (
	minOvercommit = 10
	maxOvercommit = 10_000
)

// placementDefaults: CPUs are shared, memory and disks are not.
var placementDefaults = PlacementSettings{CPUPercent: 400, MemoryPercent: 100, DiskPercent: 100}

const (
	cpuOvercommitSetting    = "placement.cpu_percent"
	memoryOvercommitSetting = "placement.memory_percent"
	diskOvercommitSetting   = "placement.disk_percent"
)

// PlacementSettings reads the settings; what was never set is as documented.
func (b *Broker) PlacementSettings(ctx context.Context) (PlacementSettings, error) {
	return readPlacementSettings(ctx, b.store)
}

func readPlacementSettings(ctx context.Context, store SettingStore) (PlacementSettings, error) {
	settings := placementDefaults
	for _, number := range []struct {
		name string
		into *int64
	}{
		{cpuOvercommitSetting, &settings.CPUPercent}, {memoryOvercommitSetting, &settings.MemoryPercent},
		{diskOvercommitSetting, &settings.DiskPercent},
	} {
		text, err := store.Setting(ctx, number.name)
		if Is(err, NotFound) {
			continue
		}
		if err != nil {
			return settings, err
		}
		if *number.into, err = strconv.ParseInt(text, 10, 64); err != nil {
			return settings, Wrap(fmt.Errorf("setting %s: %w", number.name, err), "read the placement settings")
		}
	}
	return settings, nil
}

// ChangePlacementSettings stores settings, all or none. Machines that exist stay where they are.
func (b *Broker) ChangePlacementSettings(ctx context.Context, change PlacementSettingsChange) error {
	return b.store.Transact(ctx, func(tx Tx) error {
		for _, number := range []struct {
			field, name string
			wanted      *int64
		}{
			{"cpuPercent", cpuOvercommitSetting, change.CPUPercent}, {"memoryPercent", memoryOvercommitSetting, change.MemoryPercent},
			{"diskPercent", diskOvercommitSetting, change.DiskPercent},
		} {
			if number.wanted == nil {
				continue
			}
			if *number.wanted < minOvercommit || *number.wanted > maxOvercommit {
				return InvalidField(number.field, "must be %d to %d", minOvercommit, maxOvercommit)
			}
			if err := tx.SaveSetting(ctx, number.name, strconv.FormatInt(*number.wanted, 10), false); err != nil {
				return err
			}
		}
		return nil
	})
}

package qemu

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gantry/lab/machine"
)

// driveKey splits a drive's key into bus and slot.
var driveKey = regexp.MustCompile(`^(scsi|virtio|ide|sata)([0-9]{1,2})$`)

// slots is how many drives each bus takes, as in PVE.
var slots = map[string]int{"scsi": 31, "virtio": 16, "ide": 4, "sata": 6}

// driveID names a drive's backend in QMP, as PVE does.
func driveID(key string) string { return "drive-" + key }

// driveArguments are the options for all drives and their controllers.
func driveArguments(spec machine.Spec) ([]string, error) {
	var argv []string
	controllers := map[string][]string{
		"scsi": {"-device", "virtio-scsi-pci,id=scsihw0"},
		"sata": {"-device", "ahci,id=ahci0"},
	}
	for _, disk := range spec.Disks {
		parts := driveKey.FindStringSubmatch(disk.Key)
		if parts == nil {
			return nil, fmt.Errorf("drive %q: %w", disk.Key, errNoBus)
		}
		bus := parts[1]
		slot, err := strconv.Atoi(parts[2])
		if err != nil || slot >= slots[bus] {
			return nil, fmt.Errorf("drive %q: %w", disk.Key, errNoBus)
		}
		argv = append(argv, controllers[bus]...)
		delete(controllers, bus)

		backend, err := driveBackend(disk)
		if err != nil {
			return nil, err
		}
		device := driveDevice(bus, slot, disk) + ",drive=" + driveID(disk.Key) + ",id=" + disk.Key
		if index := bootIndex(spec, disk.Key); index > 0 {
			device += ",bootindex=" + strconv.Itoa(index)
		}
		argv = append(argv, "-drive", backend, "-device", device)
	}
	return argv, nil
}

// driveDevice is the device in the guest. IDE and CD drives as PVE places them: ide2 is the second channel's master.
func driveDevice(bus string, slot int, disk machine.Disk) string {
	kind := "hd"
	if disk.CDROM {
		kind = "cd"
	}
	switch bus {
	case "scsi":
		return fmt.Sprintf("scsi-%s,bus=scsihw0.0,channel=0,scsi-id=0,lun=%d", kind, slot)
	case "virtio":
		return "virtio-blk-pci"
	case "ide":
		return fmt.Sprintf("ide-%s,bus=ide.%d,unit=%d", kind, slot/2, slot%2)
	default:
		return fmt.Sprintf("ide-%s,bus=ahci0.%d", kind, slot)
	}
}

// driveBackend is the file behind a drive, with its limits.
func driveBackend(disk machine.Disk) (string, error) {
	format := disk.Format
	if disk.CDROM && format == "" {
		format = "raw"
	}
	if format == "" {
		format = formatByName(disk.Path)
	}
	if !slices.Contains(volumeFormats, format) {
		return "", fmt.Errorf("drive %s: format %q is not one of %s", disk.Key, format, strings.Join(volumeFormats, ", "))
	}
	options := []string{
		"file=" + escapeOption(disk.Path), "if=none", "id=" + driveID(disk.Key), "format=" + format,
		// Written data survives a QEMU that is killed: it is in the node's page cache.
		"cache=writeback",
	}
	if disk.CDROM {
		options = append(options, "media=cdrom", "readonly=on")
	} else {
		options = append(options, "discard=on", "detect-zeroes=unmap")
		if disk.ReadOnly {
			options = append(options, "readonly=on")
		}
	}
	for _, limit := range []struct {
		option string
		value  int64
	}{
		{"bps-read", disk.ReadBytesPerSecond}, {"bps-read-max", disk.ReadBytesPerSecondMax},
		{"bps-write", disk.WriteBytesPerSecond}, {"bps-write-max", disk.WriteBytesPerSecondMax},
		{"iops-read", disk.ReadOpsPerSecond}, {"iops-read-max", disk.ReadOpsPerSecondMax},
		{"iops-write", disk.WriteOpsPerSecond}, {"iops-write-max", disk.WriteOpsPerSecondMax},
	} {
		if limit.value < 0 {
			return "", fmt.Errorf("drive %s: limit %s of %d is negative", disk.Key, limit.option, limit.value)
		}
		if limit.value > 0 {
			options = append(options, fmt.Sprintf("throttling.%s=%d", limit.option, limit.value))
		}
	}
	return strings.Join(options, ","), nil
}

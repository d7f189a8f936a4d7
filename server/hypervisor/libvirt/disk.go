package libvirt

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"libvirt.org/go/libvirtxml"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// A guest's disks hang on one virtio-scsi controller: scsiN is unit N, and the cloud-init drive the unit after the last.
const seedUnit = 31

// attached is a disk of a guest.
type attached struct {
	key, device, path string // scsi0, sda, /var/lib/libvirt/images/…
	index             int    // in config.Devices.Disks
}

// disks are the guest's disks in the order of their keys, without CD drives.
func (g *guest) disks() []attached {
	var out []attached
	if g.config.Devices == nil {
		return nil
	}
	for i := range g.config.Devices.Disks {
		disk := &g.config.Devices.Disks[i]
		if (disk.Device != "disk" && disk.Device != "") || disk.Target == nil {
			continue
		}
		out = append(out, attached{key: diskKey(disk), device: disk.Target.Dev, path: diskPath(disk.Source), index: i})
	}
	return out
}

func (g *guest) disk(key string) (attached, bool) {
	for _, each := range g.disks() {
		if each.key == key {
			return each, true
		}
	}
	return attached{}, false
}

// diskKey is scsiN for disks where ours are, else the name of the device.
func diskKey(disk *libvirtxml.DomainDisk) string {
	if disk.Target.Bus == "scsi" && disk.Address != nil && disk.Address.Drive != nil {
		at := disk.Address.Drive
		if at.Unit != nil && (at.Controller == nil || *at.Controller == 0) && *at.Unit < seedUnit {
			return "scsi" + strconv.Itoa(int(*at.Unit))
		}
	}
	return disk.Target.Dev
}

func diskPath(source *libvirtxml.DomainDiskSource) string {
	switch {
	case source == nil:
		return ""
	case source.File != nil:
		return source.File.File
	case source.Block != nil:
		return source.Block.Dev
	}
	return ""
}

// deviceName is the name that libvirt wants for a SCSI unit: sda … sdz, sdaa …
func deviceName(unit int) string {
	name := ""
	for n := unit; n >= 0; n = n/26 - 1 {
		name = string(rune('a'+n%26)) + name
	}
	return "sd" + name
}

// unitOf reads scsiN; keys were checked before.
func unitOf(key string) int {
	unit, err := strconv.Atoi(strings.TrimPrefix(key, "scsi"))
	if err != nil {
		return 0
	}
	return unit
}

// diskXML is a disk on a volume.
func diskXML(spec hypervisor.DiskSpec, path, format string) libvirtxml.DomainDisk {
	unit := uint(unitOf(spec.Key))
	zero := uint(0)
	out := libvirtxml.DomainDisk{
		Device: "disk",
		Driver: &libvirtxml.DomainDiskDriver{Name: "qemu", Type: format, Discard: "unmap"},
		Source: diskSource(path),
		Target: &libvirtxml.DomainDiskTarget{Dev: deviceName(int(unit)), Bus: "scsi"},
		IOTune: ioTune(spec.IO),
		Address: &libvirtxml.DomainAddress{Drive: &libvirtxml.DomainAddressDrive{
			Controller: &zero, Bus: &zero, Target: &zero, Unit: &unit,
		}},
	}
	if spec.Key == hypervisor.SystemDisk {
		out.Boot = &libvirtxml.DomainDeviceBoot{Order: 1}
	}
	return out
}

// diskSource goes by the path: volumes of block storage are devices.
func diskSource(path string) *libvirtxml.DomainDiskSource {
	if strings.HasPrefix(path, "/dev/") {
		return &libvirtxml.DomainDiskSource{Block: &libvirtxml.DomainDiskSourceBlock{Dev: path}}
	}
	return &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: path}}
}

// seedXML is the CD drive that cloud-init reads.
func seedXML(path string) libvirtxml.DomainDisk {
	out := diskXML(hypervisor.DiskSpec{Key: "scsi" + strconv.Itoa(seedUnit), IO: hypervisor.UnlimitedIO()}, path, "raw")
	out.Device, out.Driver.Discard, out.ReadOnly = "cdrom", "", &libvirtxml.DomainDiskReadOnly{}
	return out
}

const mebibyte = 1 << 20

// ioTune is nil for no limits at all. QEMU takes a peak only above an average: a peak alone is the average as well, and one that is not
// above the average says nothing.
func ioTune(limits broker.IOLimits) *libvirtxml.DomainDiskIOTune {
	var tune libvirtxml.DomainDiskIOTune
	for _, each := range []struct {
		average, peak int64
		unit          uint64
		into, intoMax *uint64
	}{
		{limits.ReadMBps, limits.ReadMBpsMax, mebibyte, &tune.ReadBytesSec, &tune.ReadBytesSecMax},
		{limits.WriteMBps, limits.WriteMBpsMax, mebibyte, &tune.WriteBytesSec, &tune.WriteBytesSecMax},
		{limits.ReadIOPS, limits.ReadIOPSMax, 1, &tune.ReadIopsSec, &tune.ReadIopsSecMax},
		{limits.WriteIOPS, limits.WriteIOPSMax, 1, &tune.WriteIopsSec, &tune.WriteIopsSecMax},
	} {
		switch {
		case each.average != broker.Unlimited:
			*each.into = uint64(each.average) * each.unit
			if each.peak > each.average {
				*each.intoMax = uint64(each.peak) * each.unit
			}
		case each.peak != broker.Unlimited:
			*each.into = uint64(each.peak) * each.unit
		}
	}
	if tune == (libvirtxml.DomainDiskIOTune{}) {
		return nil
	}
	return &tune
}

// diskSize asks for the size that the guest sees.
func (d *driver) diskSize(ctx context.Context, g *guest, disk attached) (int64, error) {
	if disk.path == "" {
		return 0, nil
	}
	size, err := read(ctx, d.client, func(l *rpc) (uint64, error) {
		_, capacity, _, err := l.DomainGetBlockInfo(g.domain, disk.device, 0)
		return capacity, err
	})
	if err != nil {
		return 0, fmt.Errorf("size of disk %s of guest %d: %w", disk.key, g.id, err)
	}
	return int64(size), nil
}

package libvirt

import (
	"context"
	"strings"

	golibvirt "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// Configure writes one definition with all changes, which is in force with the guest's next start; limits of a guest that runs are set on
// it as well, as far as its host can.
func (d *driver) Configure(ctx context.Context, ref hypervisor.GuestRef, wanted hypervisor.GuestChange) (hypervisor.Operation, error) {
	if err := hypervisor.CheckChange(wanted); err != nil {
		return hypervisor.Operation{}, err
	}
	look := func(_ context.Context, g *guest) (bool, error) {
		if wanted == (hypervisor.GuestChange{}) {
			return true, nil
		}
		return false, fits(g, wanted)
	}
	return d.begin(ctx, ref, hypervisor.OperationConfig, look, func(ctx context.Context, g *guest, _ func(float64)) ([]string, error) {
		old, err := d.apply(ctx, g, wanted)
		if err != nil {
			return nil, err
		}
		if err := d.define(ctx, g); err != nil {
			return nil, err
		}
		if wanted.OnBoot != nil {
			if err := d.setAutostart(ctx, g, *wanted.OnBoot); err != nil {
				return nil, err
			}
		}
		warnings := d.applyLive(ctx, g, wanted)
		if old != "" && d.deleteVolume(ctx, g, old) == nil {
			g.record.forget(old) // else it goes with the guest
		}
		return warnings, nil
	})
}

// fits checks a change against the guest.
func fits(g *guest, wanted hypervisor.GuestChange) error {
	if wanted.Processor != nil {
		return broker.Because(broker.Unsupported, broker.ReasonUnsupported, "another CPU type or model for a guest that exists")
	}
	if wanted.NIC != nil {
		if g.config.Devices == nil || len(g.config.Devices.Interfaces) == 0 {
			return broker.InvalidField("nic", "the guest has none")
		}
		if mac := g.config.Devices.Interfaces[0].MAC; mac != nil && !strings.EqualFold(mac.Address, wanted.NIC.MAC) {
			return broker.InvalidField("nic.mac", "can't be changed: it is %s", mac.Address)
		}
	}
	if wanted.SystemDiskIO != nil {
		if _, found := g.disk(hypervisor.SystemDisk); !found {
			return broker.Errorf(broker.NotFound, "guest %d has no system disk", g.id)
		}
	}
	return nil
}

// apply changes the definition as loaded. It returns the name of a cloud-init drive that is no longer used.
func (d *driver) apply(ctx context.Context, g *guest, wanted hypervisor.GuestChange) (string, error) {
	if wanted.Name != nil {
		g.config.Title = *wanted.Name
	}
	if wanted.MemoryMB != nil {
		setMemory(&g.config, *wanted.MemoryMB)
	}
	limits := limitsOf(&g.config)
	if wanted.Sockets != nil || wanted.Cores != nil {
		sockets, cores := topology(&g.config)
		if wanted.Sockets != nil {
			sockets = *wanted.Sockets
		}
		if wanted.Cores != nil {
			cores = *wanted.Cores
		}
		setTopology(&g.config, sockets, cores)
	}
	if wanted.Limits != nil {
		limits = *wanted.Limits
	}
	setLimits(&g.config, limits)
	if wanted.OSFamily != nil {
		g.record.OS = *wanted.OSFamily
		setFamily(&g.config, *wanted.OSFamily)
	}
	if wanted.GuestAgent != nil {
		setAgent(&g.config, *wanted.GuestAgent)
	}
	if wanted.SystemDiskIO != nil {
		disk, _ := g.disk(hypervisor.SystemDisk)
		g.config.Devices.Disks[disk.index].IOTune = ioTune(*wanted.SystemDiskIO)
	}
	if wanted.NIC != nil {
		isNetwork, err := d.isNetwork(ctx, wanted.NIC.Bridge)
		if err != nil {
			return "", err
		}
		setNIC(&g.config.Devices.Interfaces[0], *wanted.NIC, isNetwork)
	}
	if wanted.CloudInit != nil {
		if err := d.refilter(ctx, g, wanted.CloudInit); err != nil {
			return "", err
		}
	}
	if wanted.CloudInit != nil || wanted.Name != nil {
		return d.reseed(ctx, g, wanted)
	}
	return "", nil
}

// refilter lets the guest's new addresses through. A NIC that the operator gave another filter keeps it.
func (d *driver) refilter(ctx context.Context, g *guest, data *hypervisor.CloudInit) error {
	if g.config.Devices == nil || len(g.config.Devices.Interfaces) == 0 {
		return nil
	}
	nic := &g.config.Devices.Interfaces[0]
	if nic.FilterRef != nil && nic.FilterRef.Filter != onlyMAC && !strings.HasPrefix(nic.FilterRef.Filter, "gantry-") {
		return nil
	}
	filter, err := d.filterRef(ctx, ownAddresses(data))
	if err != nil {
		return err
	}
	nic.FilterRef = filter
	return nil
}

// reseed makes a new cloud-init drive and puts it in. A guest without one gets none: its image does not read it.
func (d *driver) reseed(ctx context.Context, g *guest, wanted hypervisor.GuestChange) (string, error) {
	data, old, ours, err := d.currentSeed(ctx, g)
	if err != nil || !ours {
		return "", err
	}
	name := g.config.Title
	if wanted.CloudInit != nil {
		if data, err = newSeed(name, wanted.CloudInit, data.MACs); err != nil {
			return "", err
		}
	}
	data.Name = name
	pool, _, _ := strings.Cut(old, ":")
	drive, err := d.makeSeed(ctx, g, pool, data)
	if err != nil {
		return "", err
	}
	for i := range g.config.Devices.Disks {
		if disk := &g.config.Devices.Disks[i]; disk.Device == "cdrom" && diskPath(disk.Source) == g.record.path(old) {
			disk.Source = diskSource(drive.Path)
		}
	}
	return old, nil
}

func (r *record) path(name string) string {
	if known := r.volume(name); known != nil {
		return known.Path
	}
	return ""
}

// applyLive sets limits on a guest that runs. What its host can't do is in force after the next start: a note, no failure.
func (d *driver) applyLive(ctx context.Context, g *guest, wanted hypervisor.GuestChange) []string {
	if powerOf(g.state) == hypervisor.PowerStopped {
		return nil
	}
	var warnings []string
	try := func(what string, call func(*rpc) error) {
		if err := change(ctx, d.client, call); err != nil {
			warnings = append(warnings, what+" changes with the guest's next start: "+broker.DetailOf(err))
		}
	}
	live := uint32(golibvirt.DomainAffectLive)
	if wanted.Limits != nil {
		quota := int64(-1) // libvirt's word for no limit
		if tune := g.config.CPUTune; tune != nil && tune.GlobalQuota != nil {
			quota = tune.GlobalQuota.Value
		}
		parameters := []golibvirt.TypedParam{parameter("global_period", uint64(cpuPeriod)), parameter("global_quota", quota)}
		try("the CPU limit", func(l *rpc) error { return l.DomainSetSchedulerParametersFlags(g.domain, parameters, live) })
	}
	if wanted.SystemDiskIO != nil {
		disk, _ := g.disk(hypervisor.SystemDisk)
		parameters := tuneParameters(ioTune(*wanted.SystemDiskIO))
		try("the disk's limit", func(l *rpc) error { return l.DomainSetBlockIOTune(g.domain, disk.device, parameters, live) })
	}
	if wanted.NIC != nil {
		average := uint32(0) // libvirt's word for no limit
		if wanted.NIC.RateMbps != broker.Unlimited {
			average = uint32(*bandwidth(wanted.NIC.RateMbps).Inbound.Average)
		}
		parameters := []golibvirt.TypedParam{parameter("inbound.average", average), parameter("outbound.average", average)}
		try("the network's limit", func(l *rpc) error { return l.DomainSetInterfaceParameters(g.domain, wanted.NIC.MAC, parameters, live) })
	}
	return warnings
}

// parameter is a typed parameter; the discriminants are libvirt's virTypedParameterType.
func parameter(name string, value any) golibvirt.TypedParam {
	kind := uint32(0)
	switch value.(type) {
	case uint32:
		kind = 2
	case int64:
		kind = 3
	case uint64:
		kind = 4
	}
	return golibvirt.TypedParam{Field: name, Value: golibvirt.TypedParamValue{D: kind, I: value}}
}

// tuneParameters names every limit, so that those which are no more are taken off.
func tuneParameters(tune *libvirtxml.DomainDiskIOTune) []golibvirt.TypedParam {
	if tune == nil {
		tune = &libvirtxml.DomainDiskIOTune{}
	}
	return []golibvirt.TypedParam{
		parameter("read_bytes_sec", tune.ReadBytesSec), parameter("read_bytes_sec_max", tune.ReadBytesSecMax),
		parameter("write_bytes_sec", tune.WriteBytesSec), parameter("write_bytes_sec_max", tune.WriteBytesSecMax),
		parameter("read_iops_sec", tune.ReadIopsSec), parameter("read_iops_sec_max", tune.ReadIopsSecMax),
		parameter("write_iops_sec", tune.WriteIopsSec), parameter("write_iops_sec_max", tune.WriteIopsSecMax),
	}
}

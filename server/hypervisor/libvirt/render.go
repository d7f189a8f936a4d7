package libvirt

import (
	"maps"
	"slices"

	"libvirt.org/go/libvirtxml"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// cpuPeriod is the scheduler's period in microseconds; a limit is the time in it that all of a guest's threads have together.
const cpuPeriod = 100_000

// claimXML is the domain that takes an id: without any hardware, so that nobody can do anything with it.
func claimXML(id int, spec hypervisor.GuestSpec, machine choice) libvirtxml.Domain {
	return libvirtxml.Domain{
		Type: machine.kind, Name: domainName(id), UUID: spec.Ref.Owner, Title: spec.Name,
		Memory: &libvirtxml.DomainMemory{Unit: "MiB", Value: uint(spec.MemoryMB)},
		VCPU:   &libvirtxml.DomainVCPU{Value: 1},
		OS:     &libvirtxml.DomainOS{Type: &libvirtxml.DomainOSType{Arch: machine.arch, Machine: machine.machine, Type: "hvm"}},
	}
}

// hardware makes of a claim the guest that was ordered, but for its disks and NICs.
func hardware(domain *libvirtxml.Domain, spec hypervisor.GuestSpec, machine choice) {
	domain.Description = spec.Description
	setMemory(domain, spec.MemoryMB)
	domain.CPU = cpu(domain.Type, spec.CPUType)
	setTopology(domain, spec.Sockets, spec.Cores)
	setLimits(domain, spec.Limits)
	domain.Features = &libvirtxml.DomainFeatureList{}
	if x86(machine.arch) {
		domain.Features.APIC = &libvirtxml.DomainFeatureAPIC{}
	}
	if spec.ACPI && machine.arch != "s390x" && machine.arch != "ppc64le" {
		domain.Features.ACPI = &libvirtxml.DomainFeature{}
	}
	if spec.HideHypervisor && machine.kind == "kvm" {
		domain.Features.KVM = &libvirtxml.DomainFeatureKVM{Hidden: &libvirtxml.DomainFeatureState{State: "on"}}
	}
	setFamily(domain, spec.OSFamily)
	domain.OnPoweroff, domain.OnReboot, domain.OnCrash = "destroy", "restart", "destroy"
	domain.Devices = devices(spec.Ref.ID, machine)
	setAgent(domain, spec.GuestAgent)
}

const agentChannel = "org.qemu.guest_agent.0"

// setAgent adds or removes the channel of QEMU's guest agent. Where one answers, libvirt asks it to shut down in place of the button.
func setAgent(domain *libvirtxml.Domain, on bool) {
	if domain.Devices == nil {
		domain.Devices = &libvirtxml.DomainDeviceList{}
	}
	domain.Devices.Channels = slices.DeleteFunc(domain.Devices.Channels, isAgent)
	if on {
		domain.Devices.Channels = append(domain.Devices.Channels, libvirtxml.DomainChannel{
			Source: &libvirtxml.DomainChardevSource{UNIX: &libvirtxml.DomainChardevSourceUNIX{}},
			Target: &libvirtxml.DomainChannelTarget{VirtIO: &libvirtxml.DomainChannelTargetVirtIO{Name: agentChannel}},
		})
	}
}

func isAgent(channel libvirtxml.DomainChannel) bool {
	return channel.Target != nil && channel.Target.VirtIO != nil && channel.Target.VirtIO.Name == agentChannel
}

func hasAgent(domain *libvirtxml.Domain) bool {
	return domain.Devices != nil && slices.ContainsFunc(domain.Devices.Channels, isAgent)
}

func x86(arch string) bool { return arch == "x86_64" || arch == "i686" }

func setMemory(domain *libvirtxml.Domain, megabytes int) {
	domain.Memory = &libvirtxml.DomainMemory{Unit: "MiB", Value: uint(megabytes)}
	domain.CurrentMemory = &libvirtxml.DomainCurrentMemory{Unit: "MiB", Value: uint(megabytes)}
}

func setTopology(domain *libvirtxml.Domain, sockets, cores int) {
	domain.VCPU = &libvirtxml.DomainVCPU{Placement: "static", Value: uint(sockets * cores)}
	if domain.CPU == nil {
		domain.CPU = &libvirtxml.DomainCPU{}
	}
	domain.CPU.Topology = &libvirtxml.DomainCPUTopology{Sockets: sockets, Dies: 1, Cores: cores, Threads: 1}
}

// topology reads back what setTopology wrote; a domain that others made may have none.
func topology(domain *libvirtxml.Domain) (sockets, cores int) {
	if domain.CPU != nil && domain.CPU.Topology != nil {
		of := domain.CPU.Topology
		return max(of.Sockets, 1), max(of.Cores, 1) * max(of.Dies, 1) * max(of.Threads, 1)
	}
	if domain.VCPU != nil {
		return 1, max(int(domain.VCPU.Value), 1)
	}
	return 1, 1
}

// setLimits bounds the whole guest, so it depends on the number of its processors: set those first.
func setLimits(domain *libvirtxml.Domain, limits hypervisor.Limits) {
	if domain.CPUTune == nil {
		domain.CPUTune = &libvirtxml.DomainCPUTune{}
	}
	domain.CPUTune.GlobalPeriod, domain.CPUTune.GlobalQuota = nil, nil
	if limits.CPUPercent == broker.Unlimited {
		return
	}
	domain.CPUTune.GlobalPeriod = &libvirtxml.DomainCPUTunePeriod{Value: cpuPeriod}
	domain.CPUTune.GlobalQuota = &libvirtxml.DomainCPUTuneQuota{Value: cpuPeriod / 100 * limits.CPUPercent * int64(domain.VCPU.Value)}
}

// limitsOf reads back what setLimits wrote.
func limitsOf(domain *libvirtxml.Domain) hypervisor.Limits {
	tune := domain.CPUTune
	if tune == nil || tune.GlobalQuota == nil || tune.GlobalQuota.Value <= 0 || domain.VCPU == nil || domain.VCPU.Value == 0 {
		return hypervisor.Limits{CPUPercent: broker.Unlimited}
	}
	period := uint64(cpuPeriod)
	if tune.GlobalPeriod != nil && tune.GlobalPeriod.Value > 0 {
		period = tune.GlobalPeriod.Value
	}
	percent := uint64(tune.GlobalQuota.Value) * 100 / period / uint64(domain.VCPU.Value)
	return hypervisor.Limits{CPUPercent: max(int64(percent), 1)}
}

// setFamily sets what an operating system needs: Windows reads the hardware clock as local time, and knows Hyper-V's shortcuts.
func setFamily(domain *libvirtxml.Domain, family string) {
	domain.Clock = &libvirtxml.DomainClock{Offset: "utc"}
	if domain.Features != nil {
		domain.Features.HyperV = nil
	}
	if family != "windows" {
		return
	}
	domain.Clock.Offset = "localtime"
	if domain.Type == "kvm" && domain.Features != nil {
		on := libvirtxml.DomainFeatureState{State: "on"}
		domain.Features.HyperV = &libvirtxml.DomainFeatureHyperV{
			Relaxed: &on, VAPIC: &on, Spinlocks: &libvirtxml.DomainFeatureHyperVSpinlocks{DomainFeatureState: on, Retries: 8191},
		}
		domain.Clock.Timer = []libvirtxml.DomainTimer{{Name: "hypervclock", Present: "yes"}}
	}
}

func serialLog(id int) string {
	return "/var/log/libvirt/qemu/" + domainName(id) + "-serial.log"
}

// devices that every guest has. The screen listens on a unix socket that libvirt names, never on an address.
func devices(id int, machine choice) *libvirtxml.DomainDeviceList {
	port := uint(0)
	zero := uint(0)
	out := &libvirtxml.DomainDeviceList{
		Controllers: []libvirtxml.DomainController{{Type: "scsi", Index: &zero, Model: "virtio-scsi"}},
		Serials: []libvirtxml.DomainSerial{{
			Source: &libvirtxml.DomainChardevSource{Pty: &libvirtxml.DomainChardevSourcePty{}},
			Target: &libvirtxml.DomainSerialTarget{Port: &port},
			Log:    &libvirtxml.DomainChardevLog{File: serialLog(id), Append: "off"},
		}},
		Graphics: []libvirtxml.DomainGraphic{{VNC: &libvirtxml.DomainGraphicVNC{
			Listeners: []libvirtxml.DomainGraphicListener{{Socket: &libvirtxml.DomainGraphicListenerSocket{}}},
		}}},
		Videos:     []libvirtxml.DomainVideo{{Model: libvirtxml.DomainVideoModel{Type: "virtio"}}},
		RNGs:       []libvirtxml.DomainRNG{{Model: "virtio", Backend: &libvirtxml.DomainRNGBackend{Random: &libvirtxml.DomainRNGBackendRandom{Device: "/dev/urandom"}}}},
		MemBalloon: &libvirtxml.DomainMemBalloon{Model: "virtio", Stats: &libvirtxml.DomainMemBalloonStats{Period: 10}},
	}
	if x86(machine.arch) {
		out.Videos[0].Model.Type = "vga"
		// A tablet tells absolute positions: in a browser the two pointers stay together.
		out.Controllers = append(out.Controllers, libvirtxml.DomainController{Type: "usb", Index: &zero, Model: "qemu-xhci"})
		out.Inputs = []libvirtxml.DomainInput{{Type: "tablet", Bus: "usb"}}
	}
	return out
}

// setSystemTable shows the guest a system table of SMBIOS (type 1). Its uuid is the domain's, which is the owner mark.
func setSystemTable(domain *libvirtxml.Domain, fields map[string]string) {
	if len(fields) == 0 {
		return
	}
	system := &libvirtxml.DomainSysInfoSystem{}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		system.Entry = append(system.Entry, libvirtxml.DomainSysInfoEntry{Name: name, Value: fields[name]})
	}
	domain.SysInfo = []libvirtxml.DomainSysInfo{{SMBIOS: &libvirtxml.DomainSysInfoSMBIOS{System: system}}}
	domain.OS.SMBios = &libvirtxml.DomainSMBios{Mode: "sysinfo"}
}

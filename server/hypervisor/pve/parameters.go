package pve

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/luthermonson/go-proxmox"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// ownerTag shows operators in PVE's own panel who made a guest. It proves nothing: the owner mark is in smbios1.
const ownerTag = "gantry"

// cloudInitDrive is where the cloud-init image is attached, as PVE's documentation does.
const cloudInitDrive = "ide2"

// createParameters are what POST /nodes/{node}/qemu gets. The same works for 8.x and 9.x.
func createParameters(spec hypervisor.GuestSpec) (map[string]any, error) {
	limit, err := cpuLimit(spec.Limits.CPUPercent, spec.Sockets*spec.Cores)
	if err != nil {
		return nil, err
	}
	parameters := map[string]any{
		"vmid": spec.Ref.ID, "name": spec.Name, "smbios1": smbios(spec), "tags": ownerTag,
		"sockets": spec.Sockets, "cores": spec.Cores, "memory": strconv.Itoa(spec.MemoryMB),
		"ostype": osType(spec.OSFamily), "onboot": flag(spec.OnBoot), "acpi": flag(spec.ACPI), "kvm": flag(spec.KVM),
		// One controller a disk, each with its own thread: PVE's own panel makes guests so since 7.3. With virtio-scsi-pci all
		// disks share one queue, and the limits of one disk stall the others.
		"scsihw": "virtio-scsi-single",
		"agent":  strconv.Itoa(flag(spec.GuestAgent)),
		// The serial port is for images that log or crash without one; the screen stays VGA, so that noVNC shows it.
		"serial0": "socket", "vga": "std",
	}
	if model := cpuType(spec); model != "" {
		parameters["cpu"] = model
	}
	if arguments := spec.Arguments(); len(arguments) > 0 {
		parameters["args"] = shellWords(arguments)
	}
	if limit != "" {
		parameters["cpulimit"] = limit
	}
	if spec.Description != "" {
		parameters["description"] = spec.Description
	}
	if spec.Arch != "" && spec.Arch != "x86_64" { // naming an architecture is for root@pam only, so the usual one is left out
		parameters["arch"] = spec.Arch
	}
	for _, disk := range spec.Disks {
		parameters[disk.Key] = newDrive(disk)
		if disk.Key == hypervisor.SystemDisk {
			parameters["boot"] = "order=" + hypervisor.SystemDisk
		}
	}
	for i, nic := range spec.NICs {
		parameters["net"+strconv.Itoa(i)] = network(nil, nic)
	}
	if spec.CloudInit != nil {
		parameters[cloudInitDrive] = spec.CloudInitStorage + ":cloudinit"
		for key, value := range cloudInit(*spec.CloudInit, spec.OSFamily) {
			if value != "" {
				parameters[key] = value
			}
		}
	}
	return parameters, nil
}

func flag(on bool) int {
	if on {
		return 1
	}
	return 0
}

// cpuType is "" for PVE's default. host and max bring nested virtualisation with them where the node has it.
func cpuType(spec hypervisor.GuestSpec) string {
	if !spec.HideHypervisor {
		return spec.CPUType
	}
	return properties{{"", orElse(spec.CPUType, "kvm64")}, {"hidden", "1"}}.String()
}

func osType(family string) string {
	switch family {
	case "linux":
		return "l26"
	case "windows":
		return "win10" // 10, 2016 and 2019; the differences to win11 are a TPM and a newer machine type, which images need not have
	case "solaris":
		return "solaris"
	}
	return "other"
}

// maxCPULimit is the most that PVE takes as cpulimit.
const maxCPULimit = 128

// cpuLimit gives PVE's cpulimit, which counts whole CPUs; "" is no limit.
func cpuLimit(percent int64, cpus int) (string, error) {
	if percent == broker.Unlimited {
		return "", nil
	}
	// A guest can't use more than its CPUs, and a percentage is always exact with two digits.
	hundredths := min(percent, 100) * int64(cpus)
	if hundredths > maxCPULimit*100 {
		return "", broker.InvalidField("limits.cpuPercent", "Proxmox VE can't limit a guest to more than %d CPUs", maxCPULimit)
	}
	return decimal(float64(hundredths) / 100), nil
}

// limitPercent turns a cpulimit back; Unlimited when there is none.
func limitPercent(cpulimit string, cpus int) int64 {
	value, err := strconv.ParseFloat(cpulimit, 64)
	if err != nil || value <= 0 || cpus < 1 {
		return broker.Unlimited
	}
	return int64(value*100/float64(cpus) + 0.5)
}

// newDrive is the value of a disk to make: "STORAGE:SIZE" or an import, which has the image's size.
func newDrive(disk hypervisor.DiskSpec) string {
	if disk.ImportFrom != "" {
		drive := properties{{"", disk.Storage + ":0"}, {"import-from", disk.ImportFrom}}
		return driveOptions(drive, disk.IO).String()
	}
	return driveOptions(properties{{"", disk.Storage + ":" + newVolumeSize(disk.SizeBytes)}}, disk.IO).String()
}

// driveOptions adds what every disk of ours has: freed blocks go back to thin storages, and a thread of its own.
func driveOptions(drive properties, limits broker.IOLimits) properties {
	return ioLimits(drive.with("discard", "on").with("iothread", "1"), limits)
}

// ioLimits sets a drive's limits. PVE's mbps_* count 10^6 bytes a second times 1.048576, its iops_* requests a second; a *_max is a
// burst and does nothing without its base limit.
func ioLimits(drive properties, limits broker.IOLimits) properties {
	for _, each := range []struct {
		key   string
		value int64
	}{
		{"mbps_rd", limits.ReadMBps}, {"mbps_rd_max", limits.ReadMBpsMax}, {"mbps_wr", limits.WriteMBps}, {"mbps_wr_max", limits.WriteMBpsMax},
		{"iops_rd", limits.ReadIOPS}, {"iops_rd_max", limits.ReadIOPSMax}, {"iops_wr", limits.WriteIOPS}, {"iops_wr_max", limits.WriteIOPSMax},
	} {
		value := ""
		if each.value != broker.Unlimited {
			value = strconv.FormatInt(each.value, 10)
		}
		drive = drive.with(each.key, value)
	}
	return drive
}

// network is the value of a NIC; what old has beyond our fields (VLAN tag, MTU, queues) stays. PVE's rate is in megabytes a second.
func network(old properties, nic hypervisor.NICSpec) string {
	if old == nil {
		old = properties{{"virtio", nic.MAC}, {"bridge", nic.Bridge}, {"firewall", "1"}}
	}
	rate := ""
	if nic.RateMbps != broker.Unlimited {
		rate = decimal(float64(nic.RateMbps) / 8)
	}
	return old.with("bridge", nic.Bridge).with("rate", rate).String()
}

// nicModels are the first keys that a NIC's property string can have; the value is the MAC address.
var nicModels = []string{"virtio", "e1000", "e1000e", "rtl8139", "vmxnet3", "model"}

func nicMAC(nic properties) string {
	if mac := nic.get("macaddr"); mac != "" {
		return mac
	}
	for _, model := range nicModels {
		if mac := nic.get(model); mac != "" {
			return mac
		}
	}
	return ""
}

// cloudInit gives all cloud-init options; "" means that the option is not set.
func cloudInit(data hypervisor.CloudInit, family string) map[string]string {
	kind := "nocloud"
	if family == "windows" {
		kind = "configdrive2" // what cloudbase-init finds without setup
	}
	return map[string]string{
		"citype": kind, "ciuser": data.User, "cipassword": data.Password, "nameserver": strings.Join(strings.Fields(data.Nameserver), " "),
		"sshkeys": sshKeys(data.SSHKeys), "ipconfig0": ipConfig(data.Addresses),
	}
}

// sshKeys are URL-encoded, spaces as %20: PVE refuses "+".
func sshKeys(keys []string) string {
	if len(keys) == 0 {
		return ""
	}
	return proxmox.EncodeSSHKeys(keys...)
}

// ipConfig is the first NIC's addresses: PVE takes one of each version.
func ipConfig(addresses []broker.VMAddress) string {
	var config properties
	for _, each := range addresses {
		address, gateway := "ip", "gw"
		if !each.IP.Unmap().Is4() {
			address, gateway = "ip6", "gw6"
		}
		if config.get(address) != "" {
			continue
		}
		config = config.with(address, fmt.Sprintf("%s/%d", each.IP.Unmap(), each.Prefix))
		if each.Gateway.IsValid() {
			config = config.with(gateway, each.Gateway.Unmap().String())
		}
	}
	return config.String()
}

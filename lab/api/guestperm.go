package api

import (
	"slices"
	"strings"

	"gantry/lab/access"
	"gantry/lab/apierror"
	"gantry/lab/guestconf"
)

// Option groups of PVE::API2::Qemu: which privilege changes which options.
var (
	memoryOptions  = []string{"memory", "balloon", "shares"}
	cpuOptions     = []string{"affinity", "cores", "sockets", "cpu", "cpulimit", "cpuunits", "numa", "smp", "vcpus"}
	hardwareOpts   = []string{"acpi", "hotplug", "kvm", "machine", "scsihw", "smbios1", "tablet", "vga", "watchdog", "audio0", "ostype", "bios", "arch"}
	generalOptions = []string{"agent", "autostart", "bios", "description", "keyboard", "localtime", "migrate_downtime", "migrate_speed", "name",
		"onboot", "protection", "reboot", "startdate", "startup", "tags", "tdf", "template", "vmgenid", "hugepages",
		"keephugepages", "spice_enhancements", "ivshmem", "rng0", "allow-ksm"}
	powerOptions = []string{"freeze"}
	diskOptions  = []string{"boot", "bootdisk", "vmstatestorage"}
)

// mayConfigure is check_vm_modify_config_perm: every option needs its own privilege on the guest.
func (r *Request) mayConfigure(options map[string]string, create bool) error {
	if r.User == access.Root {
		return nil
	}
	path := vmPath(r.VMID)
	if pool := r.Params.Str("pool"); create && pool != "" && !r.has(path, "VM.Allocate") {
		path = "/pool/" + pool
	}
	for option, value := range options {
		if option == "vmstate" && !create {
			// Deleting it gives hibernation up, which takes both.
			if err := r.Cluster.Access.Check(r.User, path, []string{"VM.Config.Disk", "VM.PowerMgmt"}, false); err != nil {
				return err
			}
			continue
		}
		privileges, root := r.optionPrivileges(path, option, value, create)
		if root {
			return apierror.Die("only root can set '%s' config", option)
		}
		if len(privileges) > 0 {
			if err := r.need(path, privileges...); err != nil {
				return err
			}
		}
		if err := r.mayUseResources(option, value); err != nil {
			return err
		}
	}
	return nil
}

// optionPrivileges returns the privileges of which one is needed.
func (r *Request) optionPrivileges(path, option, value string, create bool) (privileges []string, rootOnly bool) {
	switch {
	case create && r.has(path, "VM.Allocate") && !restricted(option):
		return nil, false // who may create a guest may set its ordinary options
	case guestconf.IsUnused(option):
		return []string{"VM.Config.Disk"}, false
	case option == "cdrom", guestconf.IsDrive(option) && guestconf.ParseDrive(option, value).IsCDROM():
		return []string{"VM.Config.CDROM"}, false
	case guestconf.IsDrive(option):
		return []string{"VM.Config.Disk"}, false
	case guestconf.IsNet(option):
		return []string{"VM.Config.Network"}, false
	case guestconf.IsCloudinit(option):
		return []string{"VM.Config.Cloudinit", "VM.Config.Network"}, false
	case slices.Contains(memoryOptions, option):
		return []string{"VM.Config.Memory"}, false
	case slices.Contains(cpuOptions, option), strings.HasPrefix(option, "numa"):
		return []string{"VM.Config.CPU"}, false
	case slices.Contains(generalOptions, option), option == "hookscript":
		return []string{"VM.Config.Options"}, false
	case slices.Contains(powerOptions, option):
		return []string{"VM.PowerMgmt"}, false
	case slices.Contains(diskOptions, option):
		return []string{"VM.Config.Disk"}, false
	case slices.Contains(hardwareOpts, option):
		return []string{"VM.Config.HWType"}, false
	case strings.HasPrefix(option, "serial") && (value == "socket" || value == ""), strings.HasPrefix(option, "usb") && value == "spice",
		strings.HasPrefix(option, "virtiofs"):
		return []string{"VM.Config.HWType"}, false
	}
	return nil, true
}

// internalOption are options that PVE itself writes: they may be named to be deleted, but not be set.
func internalOption(option string) bool {
	switch option {
	case "parent", "snaptime", "vmstate", "runningmachine", "runningcpu", "meta":
		return true
	}
	return false
}

// restricted are options that are root's even for who may create guests.
func restricted(option string) bool {
	if option == "args" || option == "lock" || internalOption(option) {
		return true
	}
	return strings.HasPrefix(option, "hostpci") || strings.HasPrefix(option, "parallel") ||
		strings.HasPrefix(option, "usb") || strings.HasPrefix(option, "serial")
}

// mayUseResources checks the storages and bridges that the option names.
func (r *Request) mayUseResources(option, value string) error {
	if guestconf.IsNet(option) && value != "" {
		net := guestconf.ParseNet(option, value)
		if net.Bridge == "" {
			return nil
		}
		path := "/sdn/zones/localnetwork/" + net.Bridge
		if tag := net.Options["tag"]; tag != "" && !r.has(path, "SDN.Use") {
			path += "/" + tag
		}
		return r.need(path, "SDN.Use")
	}
	if !guestconf.IsDrive(option) || value == "" {
		return nil
	}
	drive := guestconf.ParseDrive(option, value)
	if !drive.HasVolume() {
		return nil
	}
	id, name, _ := strings.Cut(drive.File, ":")
	if _, err := r.Cluster.Storage(id); err != nil {
		return nil // the handler says that it does not exist
	}
	if strings.HasPrefix(name, "iso/") || strings.HasPrefix(name, "import/") {
		return r.need("/storage/"+id, "Datastore.Audit", "Datastore.AllocateSpace", "Datastore.AllocateTemplate")
	}
	return r.need("/storage/"+id, "Datastore.AllocateSpace")
}

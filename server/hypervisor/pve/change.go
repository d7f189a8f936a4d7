package pve

import (
	"context"
	"sort"
	"strconv"
	"strings"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// CreateGuest is one request. PVE keeps `lock: create` until the disks are made.
func (d *driver) CreateGuest(ctx context.Context, spec hypervisor.GuestSpec) (hypervisor.Operation, error) {
	if err := hypervisor.CheckSpec(spec); err != nil {
		return hypervisor.Operation{}, err
	}
	path, err := nodePath(spec.Ref.Node, "/qemu")
	if err != nil {
		return hypervisor.Operation{}, err
	}
	if spec.KVM && !d.offersKVM(ctx, spec.Ref.Node) {
		spec = withoutKVM(spec)
	}
	if spec.Hardware.NeedsArguments() && !d.options.argumentsAllowed() {
		return hypervisor.Operation{}, noArguments()
	}
	parameters, err := createParameters(spec)
	if err != nil {
		return hypervisor.Operation{}, err
	}
	return d.client.begin(ctx, "POST", path, parameters)
}

// Configure takes two requests: the owner check, and POST config, which PVE carries out as a task.
func (d *driver) Configure(ctx context.Context, ref hypervisor.GuestRef, change hypervisor.GuestChange) (hypervisor.Operation, error) {
	if err := hypervisor.CheckChange(change); err != nil {
		return hypervisor.Operation{}, err
	}
	guest, err := d.own(ctx, ref)
	if err != nil || change == (hypervisor.GuestChange{}) {
		return hypervisor.Operation{}, err
	}
	if change.Processor != nil && change.Processor.Hardware.NeedsArguments() && !d.options.argumentsAllowed() {
		return hypervisor.Operation{}, noArguments()
	}
	parameters, err := changeParameters(guest.config, change)
	if err != nil {
		return hypervisor.Operation{}, err
	}
	return d.configure(ctx, guest, parameters)
}

// configure sends options; "" deletes one.
func (d *driver) configure(ctx context.Context, guest owned, options map[string]string) (hypervisor.Operation, error) {
	if lock := guest.config.text("lock"); lock != "" {
		return hypervisor.Operation{}, classify("VM is locked (" + bounded(lock) + ")") // what PVE would say, without a failed task
	}
	parameters := map[string]any{"digest": guest.digest()}
	var unset []string
	for key, value := range options {
		if value == "" {
			unset = append(unset, key)
			continue
		}
		parameters[key] = value
	}
	if len(unset) > 0 {
		sort.Strings(unset)
		parameters["delete"] = strings.Join(unset, ",")
	}
	return d.client.begin(ctx, "POST", guest.path("/config"), parameters)
}

// changeParameters are the options of a change; "" deletes one.
func changeParameters(config guestConfig, change hypervisor.GuestChange) (map[string]string, error) {
	options := map[string]string{}
	if change.Name != nil {
		options["name"] = *change.Name
	}
	if change.MemoryMB != nil {
		options["memory"] = strconv.Itoa(*change.MemoryMB)
	}
	if change.OnBoot != nil {
		options["onboot"] = strconv.Itoa(flag(*change.OnBoot))
	}
	if change.GuestAgent != nil {
		options["agent"] = strconv.Itoa(flag(*change.GuestAgent))
	}
	if change.OSFamily != nil {
		options["ostype"] = osType(*change.OSFamily)
	}
	if change.Processor != nil {
		changeProcessor(options, config, *change.Processor)
	}
	if err := changeCPUs(options, config, change); err != nil {
		return nil, err
	}
	if err := changeNIC(options, config, change.NIC); err != nil {
		return nil, err
	}
	if change.SystemDiskIO != nil {
		drive := parseProperties(config.text(hypervisor.SystemDisk))
		if len(drive) == 0 {
			return nil, broker.Errorf(broker.NotFound, "the guest has no disk %s", hypervisor.SystemDisk)
		}
		options[hypervisor.SystemDisk] = ioLimits(drive, *change.SystemDiskIO).String()
	}
	if change.CloudInit != nil {
		family := ""
		if strings.HasPrefix(orElse(options["ostype"], config.text("ostype")), "win") {
			family = "windows"
		}
		for key, value := range cloudInit(*change.CloudInit, family) {
			options[key] = value
		}
	}
	return options, nil
}

// changeCPUs keeps the limit's percentage when only the number of CPUs changes: PVE's limit counts CPUs.
func changeCPUs(options map[string]string, config guestConfig, change hypervisor.GuestChange) error {
	if change.Sockets == nil && change.Cores == nil && change.Limits == nil {
		return nil
	}
	sockets, cores := config.integer("sockets", 1), config.integer("cores", 1)
	percent := limitPercent(config.text("cpulimit"), sockets*cores)
	if change.Sockets != nil {
		sockets = *change.Sockets
		options["sockets"] = strconv.Itoa(sockets)
	}
	if change.Cores != nil {
		cores = *change.Cores
		options["cores"] = strconv.Itoa(cores)
	}
	if change.Limits != nil {
		percent = change.Limits.CPUPercent
	}
	limit, err := cpuLimit(percent, sockets*cores)
	if err != nil {
		return err
	}
	options["cpulimit"] = limit
	return nil
}

func changeNIC(options map[string]string, config guestConfig, nic *hypervisor.NICSpec) error {
	if nic == nil {
		return nil
	}
	old := parseProperties(config.text("net0"))
	if !strings.EqualFold(nicMAC(old), nic.MAC) {
		return broker.InvalidField("nic.mac", "the first NIC's MAC can't be changed")
	}
	options["net0"] = network(old, *nic)
	return nil
}

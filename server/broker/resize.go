package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
)

// ResizeKind names the workflow that changes a VM's hardware.
const ResizeKind = "resize"

// ResizeRequest changes what a VM has (AMS updateVm); nil, 0 and "" = as it is. Disks only grow. What a plan sets goes before the
// request, as it does in orders, except for disks that are larger already.
type ResizeRequest struct {
	VM     int64
	PlanID int64
	Hardware
	// IO replaces single limits of the system disk; nil = as it is, 0 = unlimited.
	IO        map[IOLimit]int64
	TrafficGB *int64
	// Restart stops and starts a running VM whose guest can't take all of it over while it runs. Without it that waits for the next start.
	Restart bool
}

// IOLimit names a field of IOLimits as orders spell it.
type IOLimit string

// ResizeData is the state that a resize task begins with.
type ResizeData struct {
	Before VMStatus `json:"before"`
	// To is the spec afterwards; the VM's own stays what it was until then.
	To      VMSpec `json:"to"`
	Restart bool   `json:"restart"`
}

// Resize queues a change of hardware. The VM's spec changes when the hypervisor has it; an undone task leaves all as it was, but for
// disks that grew already. No task where nothing but the traffic quota changes, or nothing at all.
func (b *Broker) Resize(ctx context.Context, request ResizeRequest, actor Actor) (task *Task, pending bool, err error) {
	var plan *Plan
	if request.PlanID != 0 {
		if plan, err = b.store.FindPlan(ctx, request.PlanID); err != nil {
			return nil, false, planError(request.PlanID, err)
		}
	}
	err = b.onVM(ctx, request.VM, func(tx Tx, vm *VM) error {
		task, pending = nil, false
		if err := b.inUse(vm); err != nil {
			return err
		}
		to, err := b.resized(ctx, tx, vm, request, plan)
		if err != nil {
			return err
		}
		if onlyStored(vm.Spec, to) {
			vm.Spec = to
			return tx.UpdateVM(ctx, vm)
		}
		pending = vm.Status == VMRunning && !request.Restart && NeedsRestart(vm.Spec, to)
		data, err := json.Marshal(ResizeData{Before: vm.Status, To: to, Restart: request.Restart})
		if err != nil {
			return Wrap(err, "describe the resize task")
		}
		task = &Task{Kind: ResizeKind, Data: data}
		return b.queueTask(ctx, tx, task, vm, actor)
	})
	return task, pending, err
}

// onlyStored tells that the hypervisor has nothing to do.
func onlyStored(from, to VMSpec) bool {
	from.TrafficBytes, from.PlanID = to.TrafficBytes, to.PlanID
	return reflect.DeepEqual(from, to)
}

// NeedsRestart tells that a running guest has the change only after it was stopped and started.
func NeedsRestart(from, to VMSpec) bool {
	return from.Sockets != to.Sockets || from.Cores*from.Threads != to.Cores*to.Threads || from.MemoryMB != to.MemoryMB || ChangesProcessor(from, to)
}

// ChangesProcessor tells that the guest is shown another CPU or other tables.
func ChangesProcessor(from, to VMSpec) bool {
	return from.CPUType != to.CPUType || from.Devirtualization != to.Devirtualization ||
		!reflect.DeepEqual(from.CPUModel, to.CPUModel) || !reflect.DeepEqual(from.ModelGroup, to.ModelGroup)
}

// resized is the spec that is asked for, checked as an order is.
func (b *Broker) resized(ctx context.Context, tx Tx, vm *VM, request ResizeRequest, plan *Plan) (VMSpec, error) {
	order := orderOf(vm.Spec)
	if err := checkGrown(vm.Spec, request.Hardware); err != nil {
		return VMSpec{}, err
	}
	request.apply(&order)
	order.DataDisks = grownDisks(vm.Spec.DataDisks, request.DataDisks)
	if plan != nil {
		plan.apply(&order)
		order.DataDisks = grownDisks(grownDisks(vm.Spec.DataDisks, request.DataDisks), plan.existing(vm.Spec.DataDisks))
		order.SystemDiskGB = new(max(*order.SystemDiskGB, vm.Spec.SystemDiskGB))
		order.Storage, order.Arch = "", vm.Spec.Arch // a plan says where new machines go
	}
	for name, limit := range request.IO {
		*order.IO.field(name) = limit
	}
	if request.TrafficGB != nil {
		order.TrafficGB = request.TrafficGB
	}
	to := vm.Spec
	to.CPUPercent, to.BandwidthMbps, to.TrafficBytes, to.DataDisks = Unlimited, Unlimited, Unlimited, nil
	to.Nested, to.Devirtualization = given(order.Nested, false), given(order.Devirtualization, false)
	to.OnBoot = given(order.OnBoot, false)
	for _, check := range []func(*OrderRequest, *VMSpec) error{checkProcessor, checkMemory, b.checkDisks, checkLimits} {
		if err := check(&order, &to); err != nil {
			return VMSpec{}, err
		}
	}
	if given(order.KVM, true) != vm.Spec.KVM || given(order.ACPI, true) != vm.Spec.ACPI || to.Nested != vm.Spec.Nested || to.Arch != vm.Spec.Arch {
		return VMSpec{}, InvalidField("configureTemplateId", "kvm, acpi, nested and arch can't be changed on a machine that exists")
	}
	to.CPUModel, to.ModelGroup = positive(order.CPUModel), positive(order.ModelGroup)
	if plan != nil {
		to.PlanID = &plan.ID
	}
	if !ChangesProcessor(vm.Spec, to) {
		return to, nil
	}
	hardware, err := ReadHardware(ctx, tx, to.CPUModel, to.ModelGroup)
	if err != nil {
		return VMSpec{}, err
	}
	if hardware.NeedsArguments() && !b.fleet.Supports(ctx, vm.ClusterID, CapabilityArguments) {
		failure := Because(Unsupported, ReasonUnsupported, "CPU models and SMBIOS tables other than type 1")
		failure.Field = "cpuModel"
		return VMSpec{}, failure
	}
	return to, nil
}

// orderOf is the order that a spec would come from: what is not asked to change stays.
func orderOf(spec VMSpec) OrderRequest {
	unlimited := func(value int64) *int {
		if value == Unlimited {
			value = 0
		}
		number := int(value)
		return &number
	}
	order := OrderRequest{
		Sockets: &spec.Sockets, Cores: &spec.Cores, Threads: &spec.Threads, CPUPercent: unlimited(spec.CPUPercent), CPUType: spec.CPUType,
		Nested: &spec.Nested, Devirtualization: &spec.Devirtualization, KVM: &spec.KVM, ACPI: &spec.ACPI, Arch: spec.Arch,
		MemoryMB: &spec.MemoryMB, SwapMB: &spec.SwapMB, SystemDiskGB: &spec.SystemDiskGB, DataDisks: slices.Clone(spec.DataDisks), IO: spec.IO,
		BandwidthMbps: unlimited(spec.BandwidthMbps), OnBoot: &spec.OnBoot, CPUModel: spec.CPUModel, ModelGroup: spec.ModelGroup,
	}
	if spec.TrafficBytes != Unlimited {
		order.TrafficGB = new(spec.TrafficBytes >> 30)
	}
	return order
}

// checkGrown refuses disks that would shrink or that the VM does not have.
func checkGrown(spec VMSpec, wanted Hardware) error {
	if wanted.SystemDiskGB != nil && *wanted.SystemDiskGB < spec.SystemDiskGB {
		return InvalidField("systemDiskSize", "disks only grow: it has %d GB", spec.SystemDiskGB)
	}
	for _, disk := range wanted.DataDisks {
		field := fmt.Sprintf("dataDisk.%d", disk.Number)
		at := slices.IndexFunc(spec.DataDisks, func(known DataDisk) bool { return known.Number == disk.Number })
		switch {
		case at < 0:
			return InvalidField(field, "the machine has no such disk: disks can be grown, not added")
		case disk.SizeGB < spec.DataDisks[at].SizeGB:
			return InvalidField(field, "disks only grow: it has %d GB", spec.DataDisks[at].SizeGB)
		case disk.Storage != "" && disk.Storage != "auto" && disk.Storage != spec.DataDisks[at].Storage:
			return InvalidField(field, "it is on storage %s and can't be moved", spec.DataDisks[at].Storage)
		}
	}
	return nil
}

// grownDisks are known disks with the sizes wanted, where those are larger.
func grownDisks(known, wanted []DataDisk) []DataDisk {
	grown := slices.Clone(known)
	for i := range grown {
		for _, disk := range wanted {
			if disk.Number == grown[i].Number {
				grown[i].SizeGB = max(grown[i].SizeGB, disk.SizeGB)
			}
		}
	}
	return grown
}

// existing are the plan's data disks that a machine has.
func (h *Hardware) existing(known []DataDisk) []DataDisk {
	return slices.DeleteFunc(slices.Clone(h.DataDisks), func(disk DataDisk) bool {
		return !slices.ContainsFunc(known, func(each DataDisk) bool { return each.Number == disk.Number })
	})
}

// field is the limit that orders call so.
func (l *IOLimits) field(name IOLimit) *int64 {
	return map[IOLimit]*int64{
		"mbpsRd": &l.ReadMBps, "mbpsRdMax": &l.ReadMBpsMax, "mbpsWr": &l.WriteMBps, "mbpsWrMax": &l.WriteMBpsMax,
		"iopsRd": &l.ReadIOPS, "iopsRdMax": &l.ReadIOPSMax, "iopsWr": &l.WriteIOPS, "iopsWrMax": &l.WriteIOPSMax,
	}[name]
}

package task_test

import (
	"errors"
	"testing"

	"gantry/server/broker"
	"gantry/server/hypervisor"
	"gantry/server/hypervisor/memory"
)

// machineWithDisks orders a machine with a data disk.
func (r *rig) machineWithDisks(t *testing.T) *broker.VM {
	t.Helper()
	vm, created, err := r.broker.PlaceOrder(t.Context(), broker.OrderRequest{
		NodeID: r.node, Image: "debian", Password: "first password", SystemDiskGB: new(10), DataDisks: []broker.DataDisk{{Number: 2, SizeGB: 5}},
	}, broker.Actor{Name: "test"})
	check(t, err)
	r.awaitState(created.ID, broker.TaskDone)
	return r.vm(t, vm.ID)
}

func (r *rig) resize(t *testing.T, request broker.ResizeRequest, state broker.TaskState) *broker.Task {
	t.Helper()
	queued, _, err := r.broker.Resize(t.Context(), request, broker.Actor{Name: "test"})
	check(t, err)
	if queued == nil {
		t.Fatal("no task")
	}
	return r.awaitState(queued.ID, state)
}

// sizes are the guest's disks in GB.
func (r *rig) sizes(t *testing.T, vm *broker.VM) map[string]int64 {
	t.Helper()
	guest, err := r.driver.FindGuest(t.Context(), r.ref(vm))
	check(t, err)
	sizes := map[string]int64{}
	for _, disk := range guest.Disks {
		sizes[disk.Key] = disk.SizeBytes >> 30
	}
	return sizes
}

func larger(vm *broker.VM) broker.ResizeRequest {
	return broker.ResizeRequest{VM: vm.ID, Restart: true, IO: map[broker.IOLimit]int64{"mbpsRd": 50}, TrafficGB: new(int64(7)), Hardware: broker.Hardware{
		Sockets: new(2), Cores: new(3), MemoryMB: new(2048), CPUPercent: new(50), BandwidthMbps: new(100), OnBoot: new(true), SystemDiskGB: new(20),
		DataDisks: []broker.DataDisk{{Number: 2, SizeGB: 6}},
	}}
}

func TestAResizeChangesGuestAndRecord(t *testing.T) {
	r := newRig(t)
	vm := r.machineWithDisks(t)
	r.resize(t, larger(vm), broker.TaskDone)
	vm = r.vm(t, vm.ID)
	spec, sizes := r.spec(t, vm), r.sizes(t, vm)
	if spec.Sockets != 2 || spec.Cores != 3 || spec.MemoryMB != 2048 || spec.Limits.CPUPercent != 50 || spec.NICs[0].RateMbps != 100 || !spec.OnBoot || spec.Disks[0].IO.ReadMBps != 50 {
		t.Errorf("guest %+v", spec)
	}
	if sizes["scsi0"] != 20 || sizes["scsi2"] != 6 {
		t.Errorf("disks %v", sizes)
	}
	if kept := vm.Spec; kept.Sockets != 2 || kept.MemoryMB != 2048 || kept.SystemDiskGB != 20 || kept.DataDisks[0].SizeGB != 6 || kept.TrafficBytes != 7<<30 || kept.BandwidthMbps != 100 || kept.MAC == "" {
		t.Errorf("record %+v", kept)
	}
	if vm.Status != broker.VMRunning || r.power(t, vm) != hypervisor.PowerRunning || r.pressed(vm, hypervisor.Shutdown) != 1 {
		t.Errorf("guest %s, %+v", r.power(t, vm), vm)
	}
}

func TestWithoutARestartTheGuestKeepsRunning(t *testing.T) {
	r := newRig(t)
	vm := r.machineWithDisks(t)
	request := larger(vm)
	request.Restart = false
	queued, pending, err := r.broker.Resize(t.Context(), request, broker.Actor{Name: "test"})
	check(t, err)
	done := r.awaitState(queued.ID, broker.TaskDone)
	if vm = r.vm(t, vm.ID); !pending || r.pressed(vm, hypervisor.Shutdown) != 0 || vm.Spec.MemoryMB != 2048 || done.Note == "" {
		t.Errorf("pending %v, note %q, %+v", pending, done.Note, vm.Spec)
	}
}

func TestAPlanGoesBeforeTheRequestAndShrinksNoDisk(t *testing.T) {
	r := newRig(t)
	vm := r.machineWithDisks(t)
	plan := &broker.Plan{Name: "medium", Hardware: broker.Hardware{Cores: new(4), SystemDiskGB: new(8), DataDisks: []broker.DataDisk{{Number: 1, SizeGB: 9}, {Number: 2, SizeGB: 9}}, Storage: "elsewhere"}}
	check(t, r.broker.AddPlan(t.Context(), plan))
	r.resize(t, broker.ResizeRequest{VM: vm.ID, PlanID: plan.ID, Hardware: broker.Hardware{Cores: new(2)}}, broker.TaskDone)
	if vm = r.vm(t, vm.ID); vm.Spec.Cores != 4 || vm.Spec.SystemDiskGB != 10 || len(vm.Spec.DataDisks) != 1 || vm.Spec.DataDisks[0].SizeGB != 9 || *vm.Spec.PlanID != plan.ID || vm.Spec.Storage != "data" {
		t.Errorf("%+v", vm.Spec)
	}
}

func TestAResizeThatFailsIsTakenBackButForDisksThatGrew(t *testing.T) {
	for name, row := range map[string]struct {
		fault        memory.Fault
		system, data int
	}{
		"nothing can be configured":     {memory.Fault{Method: "Configure", Times: 1, Effect: memory.Refuse, Err: broker.Errorf(broker.Failed, "no")}, 10, 5},
		"the second disk does not grow": {memory.Fault{Method: "ResizeDisk", After: 1, Effect: memory.Refuse, Err: broker.Errorf(broker.Exhausted, "no space")}, 20, 5},
		"the node has no memory for it": {memory.Fault{Method: "Power", Action: hypervisor.Start, Times: 1, Effect: memory.Refuse, Err: broker.Errorf(broker.Failed, "Cannot allocate memory")}, 20, 6},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			vm := r.machineWithDisks(t)
			defer r.cluster.Inject(row.fault)()
			r.resize(t, larger(vm), broker.TaskUndone)
			vm = r.vm(t, vm.ID)
			spec, sizes := r.spec(t, vm), r.sizes(t, vm)
			if spec.Sockets != 1 || spec.MemoryMB != 512 || spec.Limits.CPUPercent != broker.Unlimited || vm.Spec.Sockets != 1 || vm.Spec.MemoryMB != 512 || vm.Spec.TrafficBytes != broker.Unlimited {
				t.Errorf("guest %+v, record %+v", spec, vm.Spec)
			}
			if vm.Spec.SystemDiskGB != row.system || vm.Spec.DataDisks[0].SizeGB != row.data || int(sizes["scsi0"]) != row.system || int(sizes["scsi2"]) != row.data {
				t.Errorf("disks %v, record %d and %d", sizes, vm.Spec.SystemDiskGB, vm.Spec.DataDisks[0].SizeGB)
			}
			if vm.Status != broker.VMRunning || r.power(t, vm) != hypervisor.PowerRunning || vm.LastError == "" {
				t.Errorf("guest %s, %+v", r.power(t, vm), vm)
			}
		})
	}
}

func TestResizesThatAreRefusedAtOnce(t *testing.T) {
	r := newRig(t)
	vm := r.machineWithDisks(t)
	for field, request := range map[string]broker.ResizeRequest{
		"systemDiskSize":      {Hardware: broker.Hardware{SystemDiskGB: new(9)}},
		"dataDisk.2":          {Hardware: broker.Hardware{DataDisks: []broker.DataDisk{{Number: 2, SizeGB: 4}}}},
		"dataDisk.1":          {Hardware: broker.Hardware{DataDisks: []broker.DataDisk{{Number: 1, SizeGB: 4}}}},
		"sockets":             {Hardware: broker.Hardware{Sockets: new(17)}},
		"memory":              {Hardware: broker.Hardware{MemoryMB: new(1)}},
		"cpu":                 {Hardware: broker.Hardware{CPUType: "abacus"}},
		"cpuModel":            {Hardware: broker.Hardware{CPUModel: new(int64(9))}},
		"mbpsRd":              {IO: map[broker.IOLimit]int64{"mbpsRd": 1 << 40}},
		"flowLimit":           {TrafficGB: new(int64(-1))},
		"configureTemplateId": {PlanID: 99},
	} {
		request.VM = vm.ID
		if _, _, err := r.broker.Resize(t.Context(), request, broker.Actor{}); fieldOf(err) != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, _, err := r.broker.Resize(t.Context(), broker.ResizeRequest{VM: 99}, broker.Actor{}); !broker.Is(err, broker.NotFound) {
		t.Errorf("unknown machine: %v", err)
	}
	task, _, err := r.broker.Resize(t.Context(), broker.ResizeRequest{VM: vm.ID, TrafficGB: new(int64(3))}, broker.Actor{})
	if err != nil || task != nil || r.vm(t, vm.ID).Spec.TrafficBytes != 3<<30 {
		t.Errorf("the quota alone: task %v, %v", task, err)
	}
}

func fieldOf(err error) string {
	var failure *broker.Error
	if errors.As(err, &failure) {
		return failure.Field
	}
	return ""
}

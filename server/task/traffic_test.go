package task_test

import (
	"testing"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// sweepTraffic lets the sweeper look and waits for the newest task of the VM.
func (r *rig) sweepTraffic(t *testing.T, vm int64) *broker.VM {
	t.Helper()
	check(t, r.broker.SweepTraffic(t.Context()))
	tasks, _, err := r.store.ListTasks(t.Context(), broker.TaskFilter{VM: vm}, broker.Page{Number: 1, Size: 1})
	check(t, err)
	if !tasks[0].State.Final() {
		r.await(tasks[0].ID, "final", func(task *broker.Task) bool { return task.State.Final() })
	}
	return r.vm(t, vm)
}

func (r *rig) transfer(t *testing.T, vm int64, bytes int64) {
	t.Helper()
	now := time.Now()
	check(t, r.store.CountTraffic(t.Context(), []broker.TrafficPoint{{VM: vm, At: now.Add(-time.Second)}, {VM: vm, At: now, NetOut: bytes}}))
}

func TestAMachineIsStoppedWhenItsTrafficIsUsedUpAndStartedWhenItHasSomeAgain(t *testing.T) {
	r := newRig(t)
	limited, unlimited := r.machine(t), r.machine(t)
	r.change(t, limited.ID, func(vm *broker.VM) { vm.Spec.TrafficBytes = 1 << 30 })
	r.transfer(t, limited.ID, 1<<30-1)
	r.transfer(t, unlimited.ID, 1<<50)
	if vm := r.sweepTraffic(t, limited.ID); vm.Status != broker.VMRunning {
		t.Fatalf("one byte below its quota: status %d", vm.Status)
	}
	check(t, r.store.CountTraffic(t.Context(), []broker.TrafficPoint{{VM: limited.ID, At: time.Now(), NetIn: 1, NetOut: 1<<30 - 1}}))
	vm := r.sweepTraffic(t, limited.ID)
	if vm.Status != broker.VMOverTraffic || r.power(t, vm) != hypervisor.PowerStopped {
		t.Fatalf("over its quota: status %d, guest %s", vm.Status, r.power(t, vm))
	}
	if _, err := r.broker.Power(t.Context(), vm.ID, broker.PowerStart, broker.Actor{Name: "test"}); !broker.Is(err, broker.Conflict) {
		t.Errorf("its customer starts it: %v", err)
	}
	if vm := r.sweepTraffic(t, limited.ID); vm.Status != broker.VMOverTraffic {
		t.Errorf("still over: status %d", vm.Status)
	}
	if other := r.vm(t, unlimited.ID); other.Status != broker.VMRunning {
		t.Errorf("without a quota: status %d", other.Status)
	}
	r.change(t, limited.ID, func(vm *broker.VM) { vm.Spec.TrafficBytes = 2 << 30 })
	if vm := r.sweepTraffic(t, limited.ID); vm.Status != broker.VMRunning || r.power(t, vm) != hypervisor.PowerRunning {
		t.Errorf("with a larger quota: status %d", vm.Status)
	}
}

func TestTrafficIsOnlyCountedWhereTheOperatorWantsNoMore(t *testing.T) {
	r := newRig(t)
	vm := r.machine(t)
	r.change(t, vm.ID, func(vm *broker.VM) { vm.Spec.TrafficBytes = 100 })
	r.transfer(t, vm.ID, 200)
	if got := r.sweepTraffic(t, vm.ID); got.Status != broker.VMOverTraffic {
		t.Fatalf("status %d", got.Status)
	}
	check(t, r.broker.SetOverTraffic(t.Context(), broker.TrafficIgnore))
	if got := r.sweepTraffic(t, vm.ID); got.Status != broker.VMRunning {
		t.Errorf("after the setting changed: status %d", got.Status)
	}
	if got := r.sweepTraffic(t, vm.ID); got.Status != broker.VMRunning {
		t.Errorf("later: status %d", got.Status)
	}
	if err := r.broker.SetOverTraffic(t.Context(), "throttle"); !broker.Is(err, broker.Invalid) {
		t.Errorf("an unknown action: %v", err)
	}
}

package task_test

import (
	"testing"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// configured counts the Configure calls of a guest.
func (r *rig) configured(vm *broker.VM) (count int) {
	for _, call := range r.cluster.Calls() {
		if call.Method == "Configure" && call.Guest == vm.VMID {
			count++
		}
	}
	return count
}

func (r *rig) press(t *testing.T, vm *broker.VM, action broker.PowerAction) {
	t.Helper()
	queued, err := r.broker.Power(t.Context(), vm.ID, action, broker.Actor{Name: "test"})
	check(t, err)
	r.awaitState(queued.ID, broker.TaskDone)
}

func TestAnEditedModelReachesItsMachinesAtTheirNextStartOnce(t *testing.T) {
	r := newRig(t)
	model := &broker.SMBIOSModel{Type: 1, Fields: map[string]string{"product": "First"}}
	check(t, r.broker.SaveSMBIOSModel(t.Context(), model))
	group := &broker.ModelGroup{SMBIOS: []int64{model.ID}}
	check(t, r.broker.SaveModelGroup(t.Context(), group))
	vm, created, err := r.broker.PlaceOrder(t.Context(), broker.OrderRequest{
		NodeID: r.node, Image: "debian", ModelGroup: &group.ID, Devirtualization: new(true), CPUType: "host",
	}, broker.Actor{Name: "test"})
	check(t, err)
	r.awaitState(created.ID, broker.TaskDone)
	vm = r.vm(t, vm.ID)
	if spec := r.spec(t, vm); !spec.HideHypervisor || spec.SystemTable()["product"] != "First" || vm.Spec.Processor == "" {
		t.Fatalf("made as %+v, digest %q", spec, vm.Spec.Processor)
	}
	r.press(t, vm, broker.PowerShutdown)
	r.press(t, vm, broker.PowerStart)
	if got := r.configured(vm); got != 0 {
		t.Errorf("%d writes though no model was edited", got)
	}
	model.Fields = map[string]string{"product": "Second"}
	check(t, r.broker.SaveSMBIOSModel(t.Context(), model))
	r.press(t, vm, broker.PowerShutdown)
	if spec := r.spec(t, vm); spec.SystemTable()["product"] != "First" {
		t.Error("written before the start")
	}
	for range 2 {
		r.press(t, vm, broker.PowerStart)
		if spec := r.spec(t, vm); spec.SystemTable()["product"] != "Second" || !spec.HideHypervisor || r.power(t, vm) != hypervisor.PowerRunning {
			t.Errorf("started as %+v", spec)
		}
		r.press(t, vm, broker.PowerShutdown)
	}
	if got := r.configured(vm); got != 1 {
		t.Errorf("%d writes of one change", got)
	}
}

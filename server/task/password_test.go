package task_test

import (
	"strings"
	"testing"

	"gantry/server/broker"
	"gantry/server/hypervisor"
	"gantry/server/hypervisor/memory"
)

// withAgent gives a machine's guest an agent, or none, and its image cloud-init, or none.
func (r *rig) withAgent(t *testing.T, vm *broker.VM, agent, cloudInit bool) {
	t.Helper()
	r.change(t, vm.ID, func(vm *broker.VM) { vm.Spec.GuestAgent, vm.Spec.CloudInit = agent, cloudInit })
	_, err := r.driver.Configure(t.Context(), r.ref(vm), hypervisor.GuestChange{GuestAgent: &agent})
	check(t, err)
}

func (r *rig) ref(vm *broker.VM) hypervisor.GuestRef {
	return hypervisor.GuestRef{ID: vm.VMID, Node: "node1", Owner: vm.Owner}
}

func (r *rig) spec(t *testing.T, vm *broker.VM) hypervisor.GuestSpec {
	t.Helper()
	spec, found := r.cluster.Spec(vm.VMID)
	if !found {
		t.Fatal("the guest is gone")
	}
	return spec
}

func (r *rig) resetPassword(t *testing.T, vm *broker.VM, password string, state broker.TaskState) *broker.Task {
	t.Helper()
	queued, err := r.broker.ResetPassword(t.Context(), vm.ID, password, broker.Actor{Name: "test"})
	check(t, err)
	if strings.Contains(string(queued.Data), password) {
		t.Error("the task's row has the password")
	}
	return r.awaitState(queued.ID, state)
}

// pressed counts the power calls of a guest.
func (r *rig) pressed(vm *broker.VM, action hypervisor.PowerAction) (count int) {
	for _, call := range r.cluster.Calls() {
		if call.Method == "Power" && call.Guest == vm.VMID && call.Action == action {
			count++
		}
	}
	return count
}

func TestAPasswordIsSetInsideARunningGuestByItsAgent(t *testing.T) {
	r := newRig(t)
	vm := r.machine(t)
	r.withAgent(t, vm, true, true)
	before := r.pressed(vm, hypervisor.Start)
	r.resetPassword(t, vm, "second password", broker.TaskDone)
	vm = r.vm(t, vm.ID)
	if vm.Password != "second password" || vm.PendingPassword != "" || vm.Status != broker.VMRunning || vm.TaskID != nil {
		t.Errorf("%+v", vm)
	}
	if got := r.cluster.GuestPassword(vm.VMID, vm.Username); got != "second password" {
		t.Errorf("the guest has %q", got)
	}
	if spec := r.spec(t, vm); spec.CloudInit.Password != "second password" {
		t.Errorf("cloud-init would bring %q back", spec.CloudInit.Password)
	}
	if r.pressed(vm, hypervisor.Start) != before || r.pressed(vm, hypervisor.Shutdown) != 0 {
		t.Error("restarted without need")
	}
}

func TestWithoutAnAgentCloudInitSetsThePasswordWithARestart(t *testing.T) {
	for name, agent := range map[string]bool{"no agent": false, "an agent that does not answer": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			vm := r.machine(t)
			r.withAgent(t, vm, agent, true)
			defer r.cluster.Inject(memory.Fault{Method: "SetGuestPassword", Effect: memory.Refuse, Err: broker.Errorf(broker.Failed, "QEMU guest agent is not running")})()
			r.resetPassword(t, vm, "second password", broker.TaskDone)
			vm = r.vm(t, vm.ID)
			if vm.Password != "second password" || vm.Status != broker.VMRunning || r.power(t, vm) != hypervisor.PowerRunning || r.pressed(vm, hypervisor.Shutdown) != 1 {
				t.Errorf("guest %s, %d shutdowns, %+v", r.power(t, vm), r.pressed(vm, hypervisor.Shutdown), vm)
			}
			if spec := r.spec(t, vm); spec.CloudInit.Password != "second password" {
				t.Errorf("cloud-init has %q", spec.CloudInit.Password)
			}
		})
	}
}

func TestAMachineThatIsOffStaysOffAndGetsItsPasswordAtTheNextStart(t *testing.T) {
	r := newRig(t)
	vm := r.machine(t)
	stopped, err := r.broker.Power(t.Context(), vm.ID, broker.PowerShutdown, broker.Actor{Name: "test"})
	check(t, err)
	r.awaitState(stopped.ID, broker.TaskDone)
	r.resetPassword(t, vm, "second password", broker.TaskDone)
	if vm = r.vm(t, vm.ID); vm.Password != "second password" || vm.Status != broker.VMStopped || r.power(t, vm) != hypervisor.PowerStopped {
		t.Errorf("guest %s, %+v", r.power(t, vm), vm)
	}
}

func TestAPasswordThatCanNotBeSetLeavesTheOldOne(t *testing.T) {
	for name, row := range map[string]struct {
		cloudInit bool
		fault     memory.Fault
	}{
		"the agent refuses, and there is no cloud-init": {false, memory.Fault{Method: "SetGuestPassword", Effect: memory.Refuse, Err: broker.Errorf(broker.Failed, "no such user, second password")}},
		"cloud-init's data can't be written":            {true, memory.Fault{Method: "Configure", Times: 1, Effect: memory.Refuse, Err: broker.Errorf(broker.Failed, "no space")}},
		"the guest does not start again":                {true, memory.Fault{Method: "Power", Action: hypervisor.Start, Times: 1, Effect: memory.Refuse, Err: broker.Errorf(broker.Failed, "no memory")}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			vm := r.machine(t)
			r.withAgent(t, vm, !row.cloudInit, row.cloudInit)
			defer r.cluster.Inject(row.fault)()
			undone := r.resetPassword(t, vm, "second password", broker.TaskUndone)
			vm = r.vm(t, vm.ID)
			if vm.Password != "first password" || vm.PendingPassword != "" || vm.Status != broker.VMRunning || r.power(t, vm) != hypervisor.PowerRunning || vm.LastError == "" {
				t.Errorf("guest %s, %+v", r.power(t, vm), vm)
			}
			if strings.Contains(undone.Error, "second password") {
				t.Errorf("the error tells the password: %s", undone.Error)
			}
			if spec := r.spec(t, vm); row.cloudInit && spec.CloudInit.Password != "first password" {
				t.Errorf("cloud-init has %q", spec.CloudInit.Password)
			}
		})
	}
}

func TestPasswordsThatAreRefusedAtOnce(t *testing.T) {
	r := newRig(t)
	vm := r.machine(t)
	for _, password := range []string{"", "1234", strings.Repeat("x", 129), "tab\there", "密码密码密码"} {
		if _, err := r.broker.ResetPassword(t.Context(), vm.ID, password, broker.Actor{}); broker.KindOf(err) != broker.Invalid {
			t.Errorf("%q: %v", password, err)
		}
	}
	r.withAgent(t, vm, false, false)
	if _, err := r.broker.ResetPassword(t.Context(), vm.ID, "second password", broker.Actor{}); broker.KindOf(err) != broker.Unsupported {
		t.Errorf("neither agent nor cloud-init: %v", err)
	}
	r.change(t, vm.ID, func(vm *broker.VM) { vm.Status = broker.VMPaused })
	if _, err := r.broker.ResetPassword(t.Context(), vm.ID, "second password", broker.Actor{}); broker.KindOf(err) != broker.Conflict {
		t.Errorf("paused: %v", err)
	}
	if vm = r.vm(t, vm.ID); vm.PendingPassword != "" || vm.TaskID != nil {
		t.Errorf("changed: %+v", vm)
	}
}

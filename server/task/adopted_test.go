package task_test

import (
	"testing"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// adopted makes a guest that was there before Gantry, running, and the machine that it was made.
func (r *rig) adopted(t *testing.T) *broker.VM {
	t.Helper()
	const owner = "11111111-2222-4333-8444-555555555555"
	check(t, r.cluster.AddGuest(hypervisor.GuestSpec{
		Ref: hypervisor.GuestRef{ID: 500, Node: "node1", Owner: owner}, Name: "web", Sockets: 1, Cores: 1, MemoryMB: 64,
		Disks: []hypervisor.DiskSpec{{Key: "scsi0", Storage: "data", SizeBytes: 1 << 30}},
	}))
	check(t, r.cluster.SetPower(500, hypervisor.PowerRunning))
	node, err := r.store.FindNode(t.Context(), r.node)
	check(t, err)
	vm := &broker.VM{
		ClusterID: node.ClusterID, NodeID: node.ID, Kind: "memory", VMID: 500, Name: "web", Owner: owner, Status: broker.VMRunning,
		StatusAt: time.Now(), CreatedAt: time.Now(), Spec: broker.VMSpec{Adopted: true, TrafficBytes: broker.Unlimited},
	}
	check(t, r.store.InsertVM(t.Context(), vm))
	check(t, r.store.HoldVMID(t.Context(), vm.ClusterID, 500, vm.ID))
	_, err = r.store.ReserveClusterAddress(t.Context(), vm.ClusterID, "192.0.2.3", vm.ID)
	check(t, err)
	return vm
}

func TestADeletedAdoptedMachineLeavesItsGuestAndDisks(t *testing.T) {
	r := newRig(t)
	vm := r.adopted(t)
	deleted, err := r.broker.Destroy(t.Context(), vm.ID, broker.Actor{Name: "test"})
	check(t, err)
	r.awaitState(deleted.ID, broker.TaskDone)
	guest, there := r.cluster.Guests()[500]
	if !there || guest.Power != hypervisor.PowerStopped || len(guest.Disks) != 1 {
		t.Errorf("the guest is %+v, there: %v", guest, there)
	}
	if _, err := r.store.FindVM(t.Context(), vm.ID); !broker.Is(err, broker.NotFound) {
		t.Errorf("the record: %v", err)
	}
	if released, err := r.store.WasReleased(t.Context(), vm.ID); err != nil || !released {
		t.Errorf("released: %v, %v", released, err)
	}
	if _, free, err := r.store.FreeAddresses(t.Context(), r.node, 0, 4, broker.Page{Number: 1, Size: 1}); err != nil || free != 2 {
		t.Errorf("%d addresses are free, want 2 (%v)", free, err)
	}
}

func TestTheOperatorMayHaveAnAdoptedMachinesDisksDestroyed(t *testing.T) {
	r := newRig(t)
	vm := r.adopted(t)
	deleted, err := r.broker.DestroyWithDisks(t.Context(), vm.ID, broker.Actor{Name: "test"})
	check(t, err)
	r.awaitState(deleted.ID, broker.TaskDone)
	if guest, there := r.cluster.Guests()[500]; there {
		t.Errorf("the guest is still there: %+v", guest)
	}
	for name, owner := range r.cluster.Volumes() {
		if owner == 500 {
			t.Errorf("volume %s is still there", name)
		}
	}
}

// A guest that lost its mark, or got another one, is nobody's to stop.
func TestAnAdoptedMachineWhoseMarkIsGoneIsLeftAlone(t *testing.T) {
	r := newRig(t)
	vm := r.adopted(t)
	r.change(t, vm.ID, func(vm *broker.VM) { vm.Owner = "99999999-2222-4333-8444-555555555555" })
	deleted, err := r.broker.Destroy(t.Context(), vm.ID, broker.Actor{Name: "test"})
	check(t, err)
	r.awaitState(deleted.ID, broker.TaskDone)
	if guest := r.cluster.Guests()[500]; guest.Power != hypervisor.PowerRunning {
		t.Errorf("the guest is %s", guest.Power)
	}
}

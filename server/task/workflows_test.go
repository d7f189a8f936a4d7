package task_test

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"gantry/internal/controlledclient"
	"gantry/server/broker"
	"gantry/server/hypervisor"
	"gantry/server/hypervisor/memory"
	"gantry/server/task"
)

// rig is the domain with its workflows over a cluster in memory.
type rig struct {
	*bench
	cluster *memory.Cluster
	driver  hypervisor.Driver
	broker  *broker.Broker
	node    int64
	// workflows are those that the engine carries out.
	workflows *task.Workflows
}

// Driver, Daemon and OperationState make the rig what workflows and engine talk to.
func (r *rig) Driver(context.Context, int64) (hypervisor.Driver, error) { return r.driver, nil }

func (r *rig) Daemon(context.Context, int64) (*controlledclient.Client, error) {
	return nil, broker.Errorf(broker.Unsupported, "the node has no daemon")
}

func (r *rig) OperationState(ctx context.Context, _, _ int64, operation hypervisor.Operation) (hypervisor.OperationState, error) {
	return r.driver.OperationState(ctx, operation)
}

// fleet is what the domain asks of live hypervisors here.
type fleet struct{ broker.Fleet }

func (fleet) Supports(context.Context, int64, broker.Capability) bool { return true }

func newRig(t *testing.T) *rig {
	t.Helper()
	return newRigOn(t, memory.Config{Images: map[string]int64{"debian-12.qcow2": 2 << 30}})
}

func newRigOn(t *testing.T, config memory.Config) *rig {
	t.Helper()
	ctx := t.Context()
	s := openStore(t, databases["sqlite"](t))
	cluster := memory.New(config)
	r := &rig{cluster: cluster, driver: cluster.Open()}
	rules := broker.DefaultRules()
	r.workflows = task.NewWorkflows(s, r, rules, time.Now)
	r.bench = newBench(t, s, func(*bench) []task.Workflow { return r.workflows.All() },
		func(config *task.Config) { config.Operations = r })
	r.broker = broker.New(s, fleet{}, r.engine, rules, time.Now, slog.New(slog.DiscardHandler))
	row := &broker.Cluster{Kind: "memory", Name: "lab", Options: map[string]string{"host": "lab", "port": "1"}, VMIDFrom: 100, VMIDTo: 999, CreatedAt: time.Now()}
	check(t, s.InsertCluster(ctx, row))
	node := &broker.Node{ClusterID: row.ID, Name: "node1", CreatedAt: time.Now()}
	check(t, s.UpsertNode(ctx, node))
	r.node = node.ID
	check(t, s.ReplaceStorages(ctx, row.ID, node.ID, []broker.Storage{{Name: "data", Type: "dir", Content: []string{"images"}, Enabled: true, Active: true, Total: 1 << 40, Available: 1 << 40}}))
	check(t, s.ReplaceBridges(ctx, node.ID, []broker.Bridge{{Name: "vmbr0", Active: true}}))
	pool := &broker.AddressPool{Name: "pool", NodeID: node.ID, Gateway: netip.MustParseAddr("192.0.2.1"), Prefix: 24, CreatedAt: time.Now()}
	check(t, s.InsertPool(ctx, pool))
	check(t, s.InsertAddresses(ctx, pool, []broker.Address{{IP: netip.MustParseAddr("192.0.2.2")}, {IP: netip.MustParseAddr("192.0.2.3")}}))
	image := &broker.Image{Name: "debian", FileName: "debian-12.qcow2", Family: "linux", CloudInit: true, CreatedAt: time.Now()}
	check(t, s.InsertImage(ctx, image))
	volume, err := r.driver.FindImage(ctx, "node1", "debian-12.qcow2")
	check(t, err)
	check(t, s.SaveImageCopy(ctx, &broker.ImageCopy{ImageID: image.ID, NodeID: node.ID, State: broker.ImageReady, Volume: volume.Volume, UpdatedAt: time.Now()}))
	r.start()
	return r
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// machine orders a VM and waits until it runs.
func (r *rig) machine(t *testing.T) *broker.VM {
	t.Helper()
	vm, created, err := r.broker.PlaceOrder(t.Context(), broker.OrderRequest{NodeID: r.node, Image: "debian", Password: "first password"}, broker.Actor{Name: "test"})
	check(t, err)
	r.awaitState(created.ID, broker.TaskDone)
	return r.vm(t, vm.ID)
}

func (r *rig) vm(t *testing.T, id int64) *broker.VM {
	t.Helper()
	vm, err := r.store.FindVM(t.Context(), id)
	check(t, err)
	return vm
}

// power is the guest's state; "" when there is none.
func (r *rig) power(t *testing.T, vm *broker.VM) hypervisor.Power {
	t.Helper()
	guest, err := r.driver.FindGuest(t.Context(), hypervisor.GuestRef{ID: vm.VMID, Node: "node1", Owner: vm.Owner})
	if broker.Is(err, broker.NotFound) {
		return ""
	}
	check(t, err)
	return guest.Power
}

// sweep lets the sweeper look and waits for the task that it queued for the VM.
func (r *rig) sweep(t *testing.T, vm int64) {
	t.Helper()
	check(t, r.broker.Sweep(t.Context()))
	tasks, _, err := r.store.ListTasks(t.Context(), broker.TaskFilter{VM: vm}, broker.Page{Number: 1, Size: 1})
	check(t, err)
	if !tasks[0].State.Final() {
		r.await(tasks[0].ID, "final", func(changed *broker.Task) bool { return changed.State.Final() })
	}
}

func (r *rig) change(t *testing.T, id int64, change func(vm *broker.VM)) {
	t.Helper()
	vm := r.vm(t, id)
	change(vm)
	check(t, r.store.UpdateVM(t.Context(), vm))
}

func TestExpiryStopsAndRenewalStartsAgain(t *testing.T) {
	r := newRig(t)
	vm := r.machine(t)
	past := time.Now().Add(-time.Second)
	r.change(t, vm.ID, func(vm *broker.VM) { vm.ExpiresAt = &past })
	r.sweep(t, vm.ID)
	if vm = r.vm(t, vm.ID); vm.Status != broker.VMExpired || r.power(t, vm) != hypervisor.PowerStopped || !vm.RanUntilExpiry {
		t.Fatalf("expired: status %d, guest %s, %+v", vm.Status, r.power(t, vm), vm)
	}
	check(t, r.broker.Sweep(t.Context()))
	if vm = r.vm(t, vm.ID); vm.TaskID != nil {
		t.Error("the sweeper queues a task for what has expired already")
	}
	started, err := r.broker.Renew(t.Context(), vm.ID, time.Now().Add(time.Hour), broker.Actor{Name: "test"})
	check(t, err)
	r.awaitState(started.ID, broker.TaskDone)
	if vm = r.vm(t, vm.ID); vm.Status != broker.VMRunning || r.power(t, vm) != hypervisor.PowerRunning || vm.RanUntilExpiry {
		t.Errorf("renewed: status %d, guest %s", vm.Status, r.power(t, vm))
	}
}

func TestAMissingGuestIsAsGoodAsOff(t *testing.T) {
	r := newRig(t)
	past := time.Now().Add(-time.Second)
	expired, deleted := r.machine(t), r.machine(t)
	for _, vm := range []*broker.VM{expired, deleted} {
		ref := hypervisor.GuestRef{ID: vm.VMID, Node: "node1", Owner: vm.Owner}
		_, err := r.driver.Power(t.Context(), ref, hypervisor.Stop, hypervisor.PowerOptions{})
		check(t, err)
		_, err = r.driver.DeleteGuest(t.Context(), ref)
		check(t, err)
	}
	r.change(t, expired.ID, func(vm *broker.VM) { vm.ExpiresAt = &past })
	r.sweep(t, expired.ID)
	if vm := r.vm(t, expired.ID); vm.Status != broker.VMExpired || vm.LastError != "" {
		t.Errorf("expired: status %d, %s", vm.Status, vm.LastError)
	}
	recycled, err := r.broker.Delete(t.Context(), deleted.ID, broker.Actor{Name: "test"})
	check(t, err)
	r.awaitState(recycled.ID, broker.TaskDone)
	if vm := r.vm(t, deleted.ID); vm.RecycledAt == nil {
		t.Errorf("deleted: %+v", vm)
	}
}

func TestDeletedMachinesLieInTheRecycleBinUntilTheirTimeIsOver(t *testing.T) {
	r := newRig(t)
	vm := r.machine(t)
	expires := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	r.change(t, vm.ID, func(vm *broker.VM) { vm.ExpiresAt = &expires })
	recycled, err := r.broker.Delete(t.Context(), vm.ID, broker.Actor{Name: "test"})
	check(t, err)
	r.awaitState(recycled.ID, broker.TaskDone)
	vm = r.vm(t, vm.ID)
	if vm.RecycledAt == nil || !vm.DestroyAt.Equal(vm.RecycledAt.AddDate(0, 0, 3)) || !vm.ExpiresAt.Equal(expires) || r.power(t, vm) != hypervisor.PowerStopped {
		t.Fatalf("in the bin: %+v, guest %s", vm, r.power(t, vm))
	}
	restored, err := r.broker.Restore(t.Context(), vm.ID, broker.Actor{Name: "test"})
	check(t, err)
	r.awaitState(restored.ID, broker.TaskDone)
	if vm = r.vm(t, vm.ID); vm.RecycledAt != nil || vm.Status != broker.VMRunning || r.power(t, vm) != hypervisor.PowerRunning {
		t.Fatalf("restored: %+v, guest %s", vm, r.power(t, vm))
	}
	recycled, err = r.broker.Delete(t.Context(), vm.ID, broker.Actor{Name: "test"})
	check(t, err)
	r.awaitState(recycled.ID, broker.TaskDone)
	check(t, r.broker.Sweep(t.Context()))
	if r.vm(t, vm.ID).TaskID != nil {
		t.Fatal("destroyed before its time")
	}
	past := time.Now().Add(-time.Second)
	r.change(t, vm.ID, func(vm *broker.VM) { vm.DestroyAt = &past })
	r.sweep(t, vm.ID)
	if _, err := r.store.FindVM(t.Context(), vm.ID); !broker.Is(err, broker.NotFound) || r.power(t, vm) != "" {
		t.Errorf("after its time: %v, guest %q", err, r.power(t, vm))
	}
	if counts, err := r.store.CountPool(t.Context(), 1); err != nil || counts.Used != 0 {
		t.Errorf("addresses: %+v, %v", counts, err)
	}
}

func TestADeleteThatCanNotStopTheGuestLeavesTheMachineInService(t *testing.T) {
	r := newRig(t)
	vm := r.machine(t)
	defer r.cluster.Inject(memory.Fault{Method: "Power", Effect: memory.Refuse, Err: broker.Errorf(broker.Failed, "no")})()
	recycled, err := r.broker.Delete(t.Context(), vm.ID, broker.Actor{Name: "test"})
	check(t, err)
	r.awaitState(recycled.ID, broker.TaskUndone)
	if vm = r.vm(t, vm.ID); vm.RecycledAt != nil || vm.Status != broker.VMRunning || vm.LastError == "" {
		t.Errorf("%+v", vm)
	}
}

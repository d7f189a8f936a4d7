package fleet_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"gantry/internal/secrets"
	"gantry/server/broker"
	"gantry/server/fleet"
	"gantry/server/hypervisor"
	"gantry/server/hypervisor/memory"
	"gantry/server/store"
)

// world is a fleet over a cluster in memory and a store.
type world struct {
	store   *store.Store
	fleet   *fleet.Fleet
	broker  *broker.Broker
	cluster *memory.Cluster
	row     *broker.Cluster
	node    *broker.Node
	now     time.Time
}

type idleQueue struct{}

func (idleQueue) Wake()                         {}
func (idleQueue) Deadline(string) time.Duration { return time.Hour }
func (idleQueue) Arriving() func()              { return func() {} }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newWorld(t *testing.T, config memory.Config) *world {
	t.Helper()
	folder := t.TempDir()
	ring, err := secrets.Open(filepath.Join(folder, "keys"), "")
	must(t, err)
	w := &world{now: time.Date(2026, 11, 3, 10, 0, 0, 0, time.UTC)}
	w.store, err = store.Open(t.Context(), store.Config{DSN: "sqlite:" + filepath.Join(folder, "gantry.db"), Secrets: ring})
	must(t, err)
	t.Cleanup(func() { must(t, w.store.Close()) })
	clock := func() time.Time { return w.now }
	config.Now = clock
	w.cluster = memory.New(config)
	w.fleet = fleet.New(fleet.Config{Store: w.store, Registry: hypervisor.NewRegistry(w.cluster.Kind()), Now: clock, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(w.fleet.Close)
	w.broker = broker.New(w.store, w.fleet, idleQueue{}, broker.DefaultRules(), clock, slog.New(slog.DiscardHandler))
	w.row = &broker.Cluster{Kind: "memory", Name: "lab", Endpoint: "lab", TLSPin: "x", Options: map[string]string{}, VMIDFrom: 100, VMIDTo: 999, CreatedAt: w.now}
	must(t, w.store.InsertCluster(t.Context(), w.row))
	w.node = &broker.Node{ClusterID: w.row.ID, Name: "node1", CreatedAt: w.now}
	must(t, w.store.UpsertNode(t.Context(), w.node))
	return w
}

// guest makes one that is not Gantry's.
func (w *world) guest(t *testing.T, id int, name, owner string) {
	t.Helper()
	must(t, w.cluster.AddGuest(hypervisor.GuestSpec{
		Ref: hypervisor.GuestRef{ID: id, Node: "node1", Owner: owner}, Name: name, Sockets: 1, Cores: 2, MemoryMB: 1024, OSFamily: "linux",
		Disks: []hypervisor.DiskSpec{{Key: "scsi0", Storage: "data", SizeBytes: 10 << 30}, {Key: "scsi3", Storage: "data", SizeBytes: 5 << 30}},
		NICs:  []hypervisor.NICSpec{{MAC: fmt.Sprintf("02:00:00:00:00:%02X", id-143), Bridge: "vmbr0"}},
	}))
}

func (w *world) poll(t *testing.T) {
	t.Helper()
	must(t, w.fleet.Poll(t.Context(), w.row.ID))
}

func (w *world) unmanaged(t *testing.T) []broker.UnmanagedGuest {
	t.Helper()
	list, total, err := w.store.ListUnmanaged(t.Context(), broker.UnmanagedFilter{ClusterID: w.row.ID}, broker.Page{Number: 1, Size: 50})
	must(t, err)
	if int(total) != len(list) {
		t.Errorf("%d of %d", len(list), total)
	}
	return list
}

func (w *world) pool(t *testing.T, addresses ...string) *broker.AddressPool {
	t.Helper()
	pool := &broker.AddressPool{Name: "p", NodeID: w.node.ID, Gateway: netip.MustParseAddr("192.0.2.1"), Prefix: 24, DNS1: "9.9.9.9", CreatedAt: w.now}
	must(t, w.store.InsertPool(t.Context(), pool))
	var list []broker.Address
	for _, text := range addresses {
		list = append(list, broker.Address{IP: netip.MustParseAddr(text)})
	}
	must(t, w.store.InsertAddresses(t.Context(), pool, list))
	return pool
}

func (w *world) used(t *testing.T, pool *broker.AddressPool) int64 {
	t.Helper()
	counts, err := w.store.CountPool(t.Context(), pool.ID)
	must(t, err)
	return counts.Used
}

func TestAGuestIsTakenOverAndLetGoWithoutBeingTouched(t *testing.T) {
	const mark = "11111111-2222-4333-8444-555555555555"
	w := newWorld(t, memory.Config{})
	w.guest(t, 150, "shop_web 1", mark)
	must(t, w.cluster.SetPower(150, hypervisor.PowerRunning))
	pool := w.pool(t, "192.0.2.7", "192.0.2.8")
	w.poll(t)
	list := w.unmanaged(t)
	if len(list) != 1 || list[0].VMID != 150 || list[0].Name != "shop_web 1" || list[0].Power != "running" || list[0].MemoryBytes != 1<<30 || list[0].Node != "node1" {
		t.Fatalf("unmanaged %+v", list)
	}
	statements := w.store.Statements()
	w.poll(t)
	idle := w.store.Statements() - statements
	before, _ := w.cluster.Spec(150)
	changes := w.cluster.Changes()

	request := broker.AdoptRequest{NodeID: w.node.ID, VMID: 150, Addresses: []string{"192.0.2.7", "203.0.113.9"}}
	vm, err := w.broker.Adopt(t.Context(), request, broker.Actor{Name: "test"})
	must(t, err)
	again, err := w.broker.Adopt(t.Context(), request, broker.Actor{Name: "test"})
	if err != nil || again.ID != vm.ID {
		t.Errorf("again: %+v, %v", again, err)
	}
	stored, err := w.store.FindVM(t.Context(), vm.ID)
	must(t, err)
	spec := stored.Spec
	if stored.Name != "shop-web-1" || stored.Owner != mark || stored.Status != broker.VMRunning || stored.VMID != 150 || stored.ExpiresAt != nil ||
		!spec.Adopted || spec.Cores != 2 || spec.MemoryMB != 1024 || spec.SystemDiskGB != 10 || spec.Storage != "data" || spec.MAC != "02:00:00:00:00:07" ||
		len(spec.DataDisks) != 1 || spec.DataDisks[0] != (broker.DataDisk{Number: 3, SizeGB: 5, Storage: "data"}) {
		t.Errorf("machine %+v", stored)
	}
	if len(spec.Addresses) != 2 || spec.Addresses[0].Prefix != 24 || spec.Addresses[0].Gateway != pool.Gateway || spec.Addresses[1].AddressID != 0 || spec.Addresses[1].Prefix != 32 {
		t.Errorf("addresses %+v", spec.Addresses)
	}
	if w.used(t, pool) != 1 {
		t.Errorf("%d addresses of the pool are used", w.used(t, pool))
	}
	if _, err := w.store.ReserveVMID(t.Context(), w.row.ID, 99, w.now); err != nil {
		t.Error(err)
	}
	w.now = w.now.Add(time.Minute)
	w.poll(t)
	if list := w.unmanaged(t); len(list) != 0 {
		t.Errorf("still unmanaged: %+v", list)
	}
	if stored, err = w.store.FindVM(t.Context(), vm.ID); err != nil || stored.Observed.Power != "running" || stored.Observed.Drift != "" {
		t.Errorf("observed %+v, %v", stored.Observed, err)
	}

	for range 2 { // the second time is no error
		must(t, w.broker.Release(t.Context(), vm.ID))
	}
	if _, err := w.store.FindVM(t.Context(), vm.ID); !broker.Is(err, broker.NotFound) {
		t.Errorf("the record is there: %v", err)
	}
	if w.used(t, pool) != 0 {
		t.Error("addresses are still used")
	}
	w.poll(t)
	if list := w.unmanaged(t); len(list) != 1 {
		t.Errorf("after its release: %+v", list)
	}
	after, _ := w.cluster.Spec(150)
	if after.Ref != before.Ref || w.cluster.Guests()[150].Power != hypervisor.PowerRunning {
		t.Errorf("the guest is %+v, was %+v", after, before)
	}
	if idle > 12 {
		t.Errorf("a poll that sees nothing new takes %d statements", idle)
	}
	// The marks only: two Adopts and a Disown.
	if made := w.cluster.Changes() - changes; made != 3 {
		t.Errorf("%d changing calls, want 3", made)
	}
	readopted, err := w.broker.Adopt(t.Context(), request, broker.Actor{Name: "test"})
	if err != nil || readopted.ID == vm.ID {
		t.Errorf("taken over again: %+v, %v", readopted, err)
	}
}

func TestWhatCanNotBeTakenOver(t *testing.T) {
	w := newWorld(t, memory.Config{})
	w.guest(t, 150, "a", "")
	pool := w.pool(t, "192.0.2.7")
	must(t, w.cluster.SetLock(150, "backup"))
	adopt := func(change func(*broker.AdoptRequest)) error {
		request := broker.AdoptRequest{NodeID: w.node.ID, VMID: 150}
		change(&request)
		_, err := w.broker.Adopt(t.Context(), request, broker.Actor{Name: "test"})
		return err
	}
	past := w.now.Add(-time.Hour)
	for name, row := range map[string]struct {
		change func(*broker.AdoptRequest)
		kind   broker.Kind
	}{
		"locked":          {func(*broker.AdoptRequest) {}, broker.Locked},
		"no such guest":   {func(r *broker.AdoptRequest) { r.VMID = 151 }, broker.NotFound},
		"no such node":    {func(r *broker.AdoptRequest) { r.NodeID = 99 }, broker.NotFound},
		"no such key":     {func(r *broker.AdoptRequest) { r.Tenant = 99 }, broker.NotFound},
		"no such plan":    {func(r *broker.AdoptRequest) { r.PlanID = 99 }, broker.NotFound},
		"bad name":        {func(r *broker.AdoptRequest) { r.Name = "a b" }, broker.Invalid},
		"bad address":     {func(r *broker.AdoptRequest) { r.Addresses = []string{"x"} }, broker.Invalid},
		"expired already": {func(r *broker.AdoptRequest) { r.ExpiresAt = &past }, broker.Invalid},
	} {
		if err := adopt(row.change); !broker.Is(err, row.kind) {
			t.Errorf("%s: %v, want %s", name, err, row.kind)
		}
	}
	must(t, w.cluster.SetLock(150, ""))
	// A machine's address, and a machine's guest, are taken.
	w.guest(t, 160, "b", "")
	other, err := w.broker.Adopt(t.Context(), broker.AdoptRequest{NodeID: w.node.ID, VMID: 160, Addresses: []string{"192.0.2.7"}}, broker.Actor{Name: "test"})
	must(t, err)
	if err := adopt(func(r *broker.AdoptRequest) { r.Addresses = []string{"192.0.2.7"} }); !broker.Is(err, broker.Conflict) {
		t.Errorf("an address that is leased: %v", err)
	}
	if w.used(t, pool) != 1 {
		t.Error("the refused adoption left something behind")
	}
	if spec, _ := w.cluster.Spec(150); spec.Ref.Owner != "" {
		t.Errorf("the refused adoption marked the guest: %q", spec.Ref.Owner)
	}
	other.Spec.Adopted = false
	must(t, w.store.UpdateVM(t.Context(), other))
	if err := adopt(func(r *broker.AdoptRequest) { r.VMID = 160 }); !broker.Is(err, broker.Conflict) {
		t.Errorf("a machine of Gantry's own: %v", err)
	}
	// A failing mark leaves nothing.
	w.cluster.Inject(memory.Fault{Method: "Adopt", Times: 1, Effect: memory.Refuse, Err: broker.Errorf(broker.Failed, "no")})
	if err := adopt(func(*broker.AdoptRequest) {}); !broker.Is(err, broker.Failed) {
		t.Errorf("a mark that fails: %v", err)
	}
	if _, err := w.store.FindVMByVMID(t.Context(), w.row.ID, 150); !broker.Is(err, broker.NotFound) {
		t.Errorf("its machine: %v", err)
	}
	// One whose fate is unknown is taken up by the next call.
	w.cluster.Inject(memory.Fault{Method: "Adopt", Times: 1, Effect: memory.LoseReply})
	if err := adopt(func(*broker.AdoptRequest) {}); !broker.Is(err, broker.UnknownOutcome) {
		t.Errorf("a lost reply: %v", err)
	}
	must(t, adopt(func(*broker.AdoptRequest) {}))
}

func TestACopyOfAMachineGetsAMarkOfItsOwn(t *testing.T) {
	const mark = "11111111-2222-4333-8444-555555555555"
	w := newWorld(t, memory.Config{})
	w.guest(t, 150, "web", mark)
	must(t, w.cluster.AddGuest(hypervisor.GuestSpec{Ref: hypervisor.GuestRef{ID: 151, Node: "node1", Owner: mark}, Name: "web", Sockets: 1, Cores: 1, MemoryMB: 64}))
	first, err := w.broker.Adopt(t.Context(), broker.AdoptRequest{NodeID: w.node.ID, VMID: 150}, broker.Actor{})
	must(t, err)
	second, err := w.broker.Adopt(t.Context(), broker.AdoptRequest{NodeID: w.node.ID, VMID: 151}, broker.Actor{})
	must(t, err)
	if first.Owner != mark || second.Owner == mark || second.Name != "web-151" {
		t.Errorf("first %+v\nsecond %+v", first, second)
	}
	if spec, _ := w.cluster.Spec(151); spec.Ref.Owner != second.Owner {
		t.Errorf("the copy bears %q", spec.Ref.Owner)
	}
	must(t, w.broker.Release(context.Background(), second.ID))
	if spec, _ := w.cluster.Spec(151); spec.Ref.Owner != mark {
		t.Errorf("after its release the copy bears %q", spec.Ref.Owner)
	}
}

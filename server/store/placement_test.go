package store_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"gantry/server/broker"
	"gantry/server/store"
)

// promisedVM stores a VM that was promised something.
func promisedVM(t testing.TB, s broker.Tx, cluster, node int64, change func(vm *broker.VM)) *broker.VM {
	t.Helper()
	vm := newVM(cluster, node)
	vm.Status = broker.VMRunning
	vm.Spec = broker.VMSpec{Sockets: 1, Cores: 2, Threads: 2, MemoryMB: 1024, SystemDiskGB: 10, Storage: "local"}
	if change != nil {
		change(vm)
	}
	check(t, s.InsertVM(t.Context(), vm))
	return vm
}

func TestPromisesAreSummedUp(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		cluster, first := place(t, s)
		second := addNode(t, s, cluster.ID)
		promisedVM(t, s, cluster.ID, first.ID, func(vm *broker.VM) { vm.Tenant, vm.Spec.AntiAffinity = 7, "db" })
		promisedVM(t, s, cluster.ID, first.ID, func(vm *broker.VM) { vm.Tenant, vm.Spec.AntiAffinity = 8, "db" })
		promisedVM(t, s, cluster.ID, first.ID, func(vm *broker.VM) { vm.Tenant, vm.Status = 7, broker.VMCreating })
		promisedVM(t, s, cluster.ID, first.ID, func(vm *broker.VM) { vm.Spec.DataDisks = []broker.DataDisk{{Number: 1, SizeGB: 5, Storage: "local"}} })
		promisedVM(t, s, cluster.ID, first.ID, func(vm *broker.VM) { vm.Spec.DataDisks = []broker.DataDisk{{Number: 1, SizeGB: 70, Storage: "ceph"}} })
		binned := promisedVM(t, s, cluster.ID, second.ID, nil)
		at := start
		binned.RecycledAt, binned.DestroyAt = &at, &at
		check(t, s.UpdateVM(t.Context(), binned))
		gone := promisedVM(t, s, cluster.ID, second.ID, nil)
		check(t, s.MarkVMDeleted(t.Context(), gone.ID, start))
		grown := promisedVM(t, s, cluster.ID, second.ID, nil)
		grown.Spec.MemoryMB = 4096
		check(t, s.UpdateVM(t.Context(), grown))

		question := broker.PlacementQuestion{Tenant: 7, Group: "db"}
		got, err := s.NodePromises(t.Context(), question)
		check(t, err)
		want := []broker.Promise{
			{NodeID: first.ID, Storage: "ceph", DiskGB: 70},
			{NodeID: first.ID, Storage: "local", VMs: 5, OfTenant: 2, OfGroup: 1, CPUs: 20, MemoryMB: 5 * 1024, DiskGB: 55, CreatingDiskGB: 10},
			{NodeID: second.ID, Storage: "local", VMs: 2, CPUs: 8, MemoryMB: 5 * 1024, DiskGB: 20},
		}
		if !slices.Equal(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		if only, err := s.NodePromises(t.Context(), question, second.ID); err != nil || !slices.Equal(only, want[2:]) {
			t.Errorf("of one node: %+v, %v", only, err)
		}
	})
}

func TestPlacementFacts(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		cluster, node := place(t, s)
		other := addNode(t, s, cluster.ID)
		shut := addCluster(t, s, 100, 200)
		shut.Disabled = true
		check(t, s.UpdateCluster(t.Context(), shut))
		addNode(t, s, shut.ID)
		pool := addPool(t, s, node.ID, 3)
		check(t, s.ReplaceBridges(t.Context(), node.ID, []broker.Bridge{{Name: "vmbr0"}}))
		check(t, s.ReplaceStorages(t.Context(), cluster.ID, node.ID, []broker.Storage{
			{Name: "local", Content: []string{"images"}, Enabled: true, Active: true, Total: 100}, {Name: "iso", Content: []string{"iso"}, Enabled: true, Active: true},
			{Name: "off", Content: []string{"images"}, Enabled: true},
		}))
		image := &broker.Image{Name: "debian", FileName: "debian.qcow2", CreatedAt: start}
		check(t, s.InsertImage(t.Context(), image))
		check(t, s.SaveImageCopy(t.Context(), &broker.ImageCopy{ImageID: image.ID, NodeID: node.ID, State: broker.ImageReady, UpdatedAt: start}))
		load := broker.NodeLoad{NodeID: node.ID, At: start, CPU: 0.5, MemoryBytes: 9, ForeignCPUs: 2, ForeignMemoryBytes: 3}
		check(t, s.SaveNodeLoads(t.Context(), []broker.NodeLoad{{NodeID: node.ID, At: start}, {NodeID: other.ID, At: start}}))
		check(t, s.SaveNodeLoads(t.Context(), []broker.NodeLoad{load}))
		promisedVM(t, s, cluster.ID, node.ID, nil)
		address := pool.Gateway.Next().String()

		facts, err := s.PlacementFacts(t.Context(), broker.PlacementQuestion{Bridge: "vmbr0", Image: image.ID, IPv4: 3, Named: []string{address}})
		check(t, err)
		if len(facts.Nodes) != 2 || facts.Nodes[0].ID != node.ID {
			t.Fatalf("nodes %+v", facts.Nodes)
		}
		first, second := facts.Nodes[0], facts.Nodes[1]
		if !first.HasBridge || !first.HasIPv4 || !first.HasIPv6 || !first.HasNamed || first.Image != broker.ImageReady || first.Kind != "memory" ||
			len(first.Storages) != 1 || first.Storages[0].Name != "local" || *first.Load != load || len(first.Promises) != 1 {
			t.Errorf("first %+v", first)
		}
		if second.HasBridge || second.HasIPv4 || !second.HasIPv6 || second.HasNamed || second.Image != broker.ImageAbsent || second.Promises != nil {
			t.Errorf("second %+v", second)
		}
		check(t, s.ReplaceBridges(t.Context(), other.ID, []broker.Bridge{{Name: "default", Active: true}, {Name: "off"}}))
		for _, any := range []bool{true, false} { // its only active bridge will do where none was asked for
			asked, err := s.PlacementFacts(t.Context(), broker.PlacementQuestion{Bridge: "vmbr0", AnyBridge: any})
			if err != nil || asked.Nodes[1].HasBridge != any {
				t.Errorf("any bridge %v: %v and %v, %v", any, asked.Nodes[0].HasBridge, asked.Nodes[1].HasBridge, err)
			}
		}
		if facts, err = s.PlacementFacts(t.Context(), broker.PlacementQuestion{IPv4: 4, IPv6: 1}); err != nil || facts.Nodes[0].HasIPv4 || facts.Nodes[0].HasIPv6 {
			t.Errorf("four of three addresses: %+v, %v", facts.Nodes[0], err)
		}
	})
}

// placeFleet is a hypervisor that can do everything; placeQueue an engine that does nothing.
type placeFleet struct{ broker.Fleet }

func (placeFleet) Supports(context.Context, int64, broker.Capability) bool { return true }

type placeQueue struct{}

func (placeQueue) Arriving() func()              { return func() {} }
func (placeQueue) Wake()                         {}
func (placeQueue) Deadline(string) time.Duration { return time.Hour }

// stockedNode is a node with bridge, storage, image and addresses.
func stockedNode(t testing.TB, s broker.Tx, cluster int64, addresses int, storage broker.Storage) *broker.Node {
	t.Helper()
	node := &broker.Node{ClusterID: cluster, Name: fmt.Sprintf("node-%d", unique.Add(1)), CPUs: 16, MemoryBytes: 16 << 30, CreatedAt: start}
	check(t, s.UpsertNode(t.Context(), node))
	check(t, s.ReplaceBridges(t.Context(), node.ID, []broker.Bridge{{Name: "vmbr0", Active: true}}))
	check(t, s.ReplaceStorages(t.Context(), cluster, node.ID, []broker.Storage{storage}))
	addPool(t, s, node.ID, addresses)
	image, err := s.FindImageByName(t.Context(), "debian")
	if broker.Is(err, broker.NotFound) {
		image = &broker.Image{Name: "debian", FileName: "debian.qcow2", Family: "linux", CreatedAt: start}
		err = s.InsertImage(t.Context(), image)
	}
	check(t, err)
	check(t, s.SaveImageCopy(t.Context(), &broker.ImageCopy{ImageID: image.ID, NodeID: node.ID, State: broker.ImageReady, Volume: "local:x", UpdatedAt: start}))
	return node
}

func localStorage() broker.Storage {
	return broker.Storage{Name: "local", Content: []string{"images"}, Enabled: true, Active: true, Total: 1 << 40, Available: 1 << 40}
}

// Orders that come together for what two nodes have left: each place is given once, who comes too late goes to the other node, and when
// that is full, too, is refused with a reason for each node.
func TestThePlacesThatAreLeftAreGivenOnce(t *testing.T) {
	shared := broker.Storage{Name: "ceph", Content: []string{"images"}, Shared: true, Enabled: true, Active: true, Total: 50 << 30, Available: 50 << 30}
	for name, row := range map[string]struct {
		storage broker.Storage
		memory  int
		places  int
		reason  broker.Reason
	}{
		"memory of each node": {localStorage(), 5 * 1024, 6, broker.ReasonNodeMemoryFull}, // three of 5 GiB fit 16 GiB
		"one shared storage":  {shared, 512, 5, broker.ReasonNodeDiskFull},                // five of 10 GB fit 50 GiB
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, s *store.Store) {
				cluster := addCluster(t, s, 100, 9999)
				nodes := []*broker.Node{stockedNode(t, s, cluster.ID, 20, row.storage), stockedNode(t, s, cluster.ID, 20, row.storage)}
				domain := broker.New(s, placeFleet{}, placeQueue{}, broker.DefaultRules(), nil, slog.New(slog.DiscardHandler))
				disk := 10
				const orders = 12
				results := make([]error, orders)
				var all sync.WaitGroup
				for i := range orders {
					all.Go(func() {
						_, _, results[i] = domain.PlaceAnywhere(t.Context(), broker.OrderRequest{
							Placement: &broker.Placement{}, Image: "debian", MemoryMB: &row.memory, SystemDiskGB: &disk,
						}, broker.Actor{Name: "test", APIKeyID: int64(i + 1)})
					})
				}
				all.Wait()
				taken := 0
				for _, err := range results {
					if err == nil {
						taken++
						continue
					}
					var refusal *broker.Error
					if !errors.As(err, &refusal) || refusal.Reason != broker.ReasonNoNodeFits || len(refusal.Refused) != 2 {
						t.Fatalf("refused with %v", err)
					}
					for i, each := range refusal.Refused {
						if each.Reason != row.reason || each.NodeID != nodes[i].ID || each.Figures == nil {
							t.Errorf("refusal %+v", each)
						}
					}
				}
				if taken != row.places {
					t.Errorf("%d orders were taken, want %d", taken, row.places)
				}
				if count, err := s.CountVMs(t.Context(), broker.VMFilter{}); err != nil || count != int64(row.places) {
					t.Errorf("%d machines, %v", count, err)
				}
			})
		})
	}
}

// The same orders on the same nodes go the same ways.
func TestPlacementIsDeterministic(t *testing.T) {
	var before []int64
	for range 2 {
		s := open(t, databases["sqlite"](t))
		cluster := addCluster(t, s, 100, 9999)
		var ids []int64
		for range 4 {
			ids = append(ids, stockedNode(t, s, cluster.ID, 20, localStorage()).ID)
		}
		domain := broker.New(s, placeFleet{}, placeQueue{}, broker.DefaultRules(), nil, slog.New(slog.DiscardHandler))
		var went []int64
		for i := range 12 {
			memory := 512 + 512*(i%3)
			vm, _, err := domain.PlaceAnywhere(t.Context(), broker.OrderRequest{Placement: &broker.Placement{}, Image: "debian", MemoryMB: &memory}, broker.Actor{APIKeyID: int64(i%2 + 1)})
			check(t, err)
			went = append(went, vm.NodeID)
		}
		if before != nil && !slices.Equal(before, went) {
			t.Errorf("first %v, then %v", before, went)
		}
		if !slices.Equal(slices.Sorted(slices.Values(went[:4])), ids) {
			t.Errorf("the first four went to %v, want one each on %v", went[:4], ids)
		}
		before = went
	}
}

func TestPlacesAreLockedInsideTransactionsOnly(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		refused(t, s.LockPlaces(t.Context(), "node:1"), broker.Internal, "outside")
		check(t, s.Transact(t.Context(), func(tx broker.Tx) error { return tx.LockPlaces(t.Context(), "node:1", "node:2") }))
	})
}

// BenchmarkPlacementFacts reads what an order is placed by among 1,000 nodes with 100,000 machines.
func BenchmarkPlacementFacts(b *testing.B) {
	for name, dsn := range databases {
		b.Run(name, func(b *testing.B) {
			s := open(b, dsn(b))
			cluster := addCluster(b, s, 100, 999999)
			var nodes []int64
			for i := range 1000 {
				node := &broker.Node{ClusterID: cluster.ID, Name: fmt.Sprintf("n%d", i), CPUs: 64, MemoryBytes: 1 << 39, CreatedAt: start}
				check(b, s.UpsertNode(b.Context(), node))
				check(b, s.ReplaceStorages(b.Context(), cluster.ID, node.ID, []broker.Storage{localStorage()}))
				nodes = append(nodes, node.ID)
				pool := &broker.AddressPool{NodeID: node.ID, Gateway: netip.AddrFrom4([4]byte{10, byte(i / 250), byte(i % 250), 1}), Prefix: 24, CreatedAt: start}
				check(b, s.InsertPool(b.Context(), pool))
				check(b, s.InsertAddresses(b.Context(), pool, []broker.Address{{IP: pool.Gateway.Next()}}))
			}
			for range 100 {
				check(b, s.Transact(b.Context(), func(tx broker.Tx) error {
					for i := range 1000 {
						promisedVM(b, tx, cluster.ID, nodes[i], nil)
					}
					return nil
				}))
			}
			question := broker.PlacementQuestion{Tenant: 1, Bridge: "vmbr0", Image: 1, IPv4: 1}
			b.ResetTimer()
			for b.Loop() {
				if _, err := s.PlacementFacts(b.Context(), question); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

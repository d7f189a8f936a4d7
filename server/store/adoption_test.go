package store_test

import (
	"slices"
	"strings"
	"testing"

	"gantry/server/broker"
	"gantry/server/store"
)

func TestUnmanagedGuestsAreReplaced(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		cluster, _ := place(t, s)
		other, _ := place(t, s)
		guest := func(vmid int, name, node string) broker.UnmanagedGuest {
			return broker.UnmanagedGuest{ClusterID: cluster.ID, VMID: vmid, Name: name, Node: node, Power: "running", CPUs: 2, MemoryBytes: 1 << 30, DiskBytes: 5, SeenAt: start}
		}
		list := func(filter broker.UnmanagedFilter) []broker.UnmanagedGuest {
			t.Helper()
			found, _, err := s.ListUnmanaged(t.Context(), filter, broker.Page{Number: 1, Size: 10})
			check(t, err)
			return found
		}
		first := []broker.UnmanagedGuest{guest(100, "a", "n1"), guest(101, "b", "n2"), guest(102, "ab", "n1")}
		check(t, s.ReplaceUnmanaged(t.Context(), cluster.ID, first))
		check(t, s.ReplaceUnmanaged(t.Context(), other.ID, []broker.UnmanagedGuest{{VMID: 100, Name: strings.Repeat("ü", 300)}}))
		later := slices.Clone(first[:2])
		for i := range later {
			later[i].SeenAt = start.Add(1)
		}
		later[1].Power, later[1].SeenAt = "stopped", start.Add(1000)
		check(t, s.ReplaceUnmanaged(t.Context(), cluster.ID, later))
		want := []broker.UnmanagedGuest{first[0], later[1]} // what did not change keeps its time
		if got := list(broker.UnmanagedFilter{ClusterID: cluster.ID}); !slices.Equal(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		if got := list(broker.UnmanagedFilter{ClusterID: cluster.ID, Node: "n2"}); !slices.Equal(got, want[1:]) {
			t.Errorf("of a node: %+v", got)
		}
		if got := list(broker.UnmanagedFilter{Search: "a"}); !slices.Equal(got, want[:1]) {
			t.Errorf("by name: %+v", got)
		}
		if got := list(broker.UnmanagedFilter{ClusterID: other.ID}); len(got) != 1 || len([]rune(got[0].Name)) != 255 {
			t.Errorf("of another cluster: %+v", got)
		}
		check(t, s.ReplaceUnmanaged(t.Context(), cluster.ID, nil))
		if got := list(broker.UnmanagedFilter{ClusterID: cluster.ID}); len(got) != 0 {
			t.Errorf("after all were gone: %+v", got)
		}
	})
}

func TestAReleasedMachineFreesAllThatItHeld(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		cluster, node := place(t, s)
		pool := addPool(t, s, node.ID, 2)
		address := pool.Gateway.Next().String()
		vm, other := addVM(t, s, cluster.ID, node.ID), addVM(t, s, cluster.ID, node.ID)
		check(t, s.HoldVMID(t.Context(), cluster.ID, 150, vm.ID))
		check(t, s.HoldVMID(t.Context(), cluster.ID, 150, vm.ID))
		refused(t, s.HoldVMID(t.Context(), cluster.ID, 150, other.ID), broker.Conflict, "a VMID that another one holds")
		got, err := s.ReserveClusterAddress(t.Context(), cluster.ID, address, vm.ID)
		if err != nil || got.IP.String() != address || got.Prefix != 16 {
			t.Errorf("address %+v, %v", got, err)
		}
		_, err = s.ReserveClusterAddress(t.Context(), cluster.ID, address, vm.ID)
		check(t, err)
		_, err = s.ReserveClusterAddress(t.Context(), cluster.ID, address, other.ID)
		refused(t, err, broker.Conflict, "a leased address")
		_, err = s.ReserveClusterAddress(t.Context(), cluster.ID, "203.0.113.9", vm.ID)
		refused(t, err, broker.NotFound, "an address of no pool")
		vm.VMID, vm.Spec.Adopted = 150, true
		check(t, s.UpdateVM(t.Context(), vm))

		check(t, s.Transact(t.Context(), func(tx broker.Tx) error { return broker.ForgetReleased(t.Context(), tx, vm, start) }))
		_, err = s.FindVM(t.Context(), vm.ID)
		refused(t, err, broker.NotFound, "the machine")
		if released, err := s.WasReleased(t.Context(), vm.ID); err != nil || !released {
			t.Errorf("released %v, %v", released, err)
		}
		if released, err := s.WasReleased(t.Context(), other.ID); err != nil || released {
			t.Errorf("another one is released: %v, %v", released, err)
		}
		refused(t, s.MarkVMReleased(t.Context(), vm.ID, start), broker.NotFound, "release twice")
		// The same guest may come back, with name, mark, VMID and address.
		again := newVM(cluster.ID, node.ID)
		again.Name, again.Owner, again.VMID = vm.Name, vm.Owner, 150
		check(t, s.InsertVM(t.Context(), again))
		check(t, s.HoldVMID(t.Context(), cluster.ID, 150, again.ID))
		_, err = s.ReserveClusterAddress(t.Context(), cluster.ID, address, again.ID)
		check(t, err)
	})
}

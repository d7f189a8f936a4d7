package store_test

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"gantry/server/broker"
	"gantry/server/store"
)

func counts(t testing.TB, s broker.Tx, pool int64) broker.PoolCounts {
	t.Helper()
	counted, err := s.CountPool(t.Context(), pool)
	check(t, err)
	return counted
}

func TestPools(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		cluster, node := place(t, s)
		pool := addPool(t, s, node.ID, 3)
		found, err := s.FindPool(ctx, pool.ID)
		if err != nil || *found != *pool {
			t.Errorf("got %+v, %v, want %+v", found, err, pool)
		}
		pool.Name, pool.DNS2 = "renamed", "1.1.1.1"
		check(t, s.UpdatePool(ctx, pool))
		if list, total, err := s.ListPools(ctx, broker.Page{Number: 1, Size: 5}); err != nil || total != 1 || list[0] != *pool {
			t.Errorf("listed %+v, %v", list, err)
		}
		vm := addVM(t, s, cluster.ID, node.ID)
		_, err = s.ReserveAddresses(ctx, node.ID, 0, 4, 1, vm.ID)
		check(t, err)
		list, total, err := s.ListAddresses(ctx, pool.ID, broker.Page{Number: 1, Size: 2})
		if err != nil || total != 3 || len(list) != 2 || list[0].DNS2 != "1.1.1.1" || list[0].State != broker.AddressUsed ||
			list[0].VM == nil || *list[0].VM != vm.ID || list[1].State != broker.AddressFree || list[1].Gateway != pool.Gateway {
			t.Errorf("listed %+v of %d, %v", list, total, err)
		}
		list[1].State = broker.AddressReserved
		check(t, s.UpdateAddress(ctx, &list[1]))
		if got, want := counts(t, s, pool.ID), (broker.PoolCounts{Free: 1, Used: 1, Disabled: 1}); got != want {
			t.Errorf("counted %+v, want %+v", got, want)
		}
		err = s.DeletePool(ctx, pool.ID)
		refused(t, err, broker.Conflict, "pool in use")
		if got := counts(t, s, pool.ID); got.Free+got.Disabled != 2 {
			t.Errorf("a refused removal left %+v", got)
		}
		check(t, s.ReleaseAddresses(ctx, vm.ID))
		check(t, s.DeletePool(ctx, pool.ID))
		refused(t, s.DeletePool(ctx, pool.ID), broker.NotFound, "removed pool")
		refused(t, s.UpdatePool(ctx, &broker.AddressPool{Gateway: pool.Gateway}), broker.NotFound, "unknown pool")
		refused(t, s.InsertPool(ctx, &broker.AddressPool{NodeID: 99, Gateway: pool.Gateway}), broker.NotFound, "pool of an unknown node")
		refused(t, s.InsertAddresses(ctx, pool, []broker.Address{{IP: pool.Gateway}}), broker.NotFound, "addresses of a removed pool")
	})
}

func TestAnAddressIsThereOnceInACluster(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		cluster, node := place(t, s)
		pool := addPool(t, s, node.ID, 3)
		known, _, err := s.ListAddresses(ctx, pool.ID, broker.Page{Number: 1, Size: 3})
		check(t, err)
		twin := &broker.AddressPool{Name: "twin", NodeID: addNode(t, s, cluster.ID).ID, Gateway: pool.Gateway, Prefix: 16, CreatedAt: start}
		check(t, s.InsertPool(ctx, twin))
		fresh := netip.MustParseAddr("10.255.255.1")
		err = s.InsertAddresses(ctx, twin, []broker.Address{{IP: fresh}, {IP: known[1].IP}})
		refused(t, err, broker.Exists, "an address of another node of the cluster")
		// IPv4 in IPv6 clothes is the same address.
		err = s.InsertAddresses(ctx, twin, []broker.Address{{IP: netip.AddrFrom16(known[1].IP.As16())}})
		refused(t, err, broker.Exists, "a mapped address")
		if got := counts(t, s, twin.ID); got != (broker.PoolCounts{}) {
			t.Errorf("a refused insert left %+v", got)
		}
		check(t, s.InsertAddresses(ctx, twin, []broker.Address{{IP: fresh, State: broker.AddressReserved}}))
		refused(t, s.InsertAddresses(ctx, twin, []broker.Address{{IP: fresh.Next(), State: broker.AddressUsed}}), broker.Invalid, "used from the start")
		changed := known[1]
		changed.IP = fresh
		refused(t, s.UpdateAddress(ctx, &changed), broker.Exists, "changed to a known address")
		_, elsewhere := place(t, s)
		other := &broker.AddressPool{Name: "other", NodeID: elsewhere.ID, Gateway: pool.Gateway, Prefix: 16, CreatedAt: start}
		check(t, s.InsertPool(ctx, other))
		check(t, s.InsertAddresses(ctx, other, []broker.Address{{IP: known[1].IP}}))
	})
}

func TestAddressesAreReservedAndReleased(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		cluster, node := place(t, s)
		first, second := addPool(t, s, node.ID, 2), addPool(t, s, node.ID, 2)
		six := &broker.AddressPool{Name: "six", NodeID: node.ID, Gateway: netip.MustParseAddr("2001:db8::1"), Prefix: 64, CreatedAt: start}
		check(t, s.InsertPool(ctx, six))
		check(t, s.InsertAddresses(ctx, six, []broker.Address{{IP: netip.MustParseAddr("2001:db8::2")}}))
		vm, other := addVM(t, s, cluster.ID, node.ID), addVM(t, s, cluster.ID, node.ID)

		got, err := s.ReserveAddresses(ctx, node.ID, second.ID, 4, 1, vm.ID)
		if err != nil || len(got) != 1 || got[0].PoolID != second.ID || got[0].Prefix != 16 || got[0].DNS1 != "9.9.9.9" ||
			got[0].State != broker.AddressUsed || *got[0].VM != vm.ID || got[0].ClusterID != cluster.ID {
			t.Fatalf("of a named pool: %+v, %v", got, err)
		}
		got, err = s.ReserveAddresses(ctx, node.ID, 0, 4, 3, vm.ID)
		if err != nil || len(got) != 3 || got[0].PoolID != first.ID || got[2].PoolID != second.ID || got[0].ID >= got[1].ID {
			t.Fatalf("of any pool, lowest id first: %+v, %v", got, err)
		}
		if got, err := s.ReserveAddresses(ctx, node.ID, 0, 6, 1, vm.ID); err != nil || got[0].IP.String() != "2001:db8::2" {
			t.Fatalf("version 6: %+v, %v", got, err)
		}
		for version, reason := range map[int]broker.Reason{4: broker.ReasonNoIPv4, 6: broker.ReasonNoIPv6} {
			_, err := s.ReserveAddresses(ctx, node.ID, 0, version, 1, other.ID)
			refused(t, err, broker.Exhausted, fmt.Sprint("version ", version))
			if known, _ := err.(*broker.Error); known == nil || known.Reason != reason {
				t.Errorf("version %d: %v", version, err)
			}
		}
		check(t, s.ReleaseAddresses(ctx, vm.ID))
		_, err = s.ReserveAddresses(ctx, node.ID, 0, 4, 5, other.ID)
		refused(t, err, broker.Exhausted, "five of four")
		if got := counts(t, s, first.ID).Free + counts(t, s, second.ID).Free; got != 4 {
			t.Errorf("a refused reservation left %d of 4 free", got)
		}
		if got, err := s.ReserveAddresses(ctx, node.ID, 0, 4, 0, other.ID); err != nil || len(got) != 0 {
			t.Errorf("none wanted: %v, %v", got, err)
		}
		_, err = s.ReserveAddresses(ctx, node.ID, 0, 4, 1, 999)
		refused(t, err, broker.Conflict, "for a VM that does not exist")
	})
}

func TestANamedAddress(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		cluster, node := place(t, s)
		pool := addPool(t, s, node.ID, 2)
		list, _, err := s.ListAddresses(ctx, pool.ID, broker.Page{Number: 1, Size: 2})
		check(t, err)
		ip, held := list[0].IP.String(), &list[1]
		vm, other := addVM(t, s, cluster.ID, node.ID), addVM(t, s, cluster.ID, node.ID)
		for _, what := range []string{"first time", "again by the same VM"} {
			if got, err := s.ReserveAddress(ctx, node.ID, ip, vm.ID); err != nil || got.ID != list[0].ID || *got.VM != vm.ID || got.Prefix != 16 {
				t.Errorf("%s: %+v, %v", what, got, err)
			}
		}
		held.State = broker.AddressReserved
		check(t, s.UpdateAddress(ctx, held))
		for what, row := range map[string]struct {
			node int64
			ip   string
			kind broker.Kind
		}{
			"taken":             {node.ID, ip, broker.Conflict},
			"held back":         {node.ID, held.IP.String(), broker.Conflict},
			"of no pool":        {node.ID, "192.0.2.1", broker.NotFound},
			"of another node":   {addNode(t, s, cluster.ID).ID, ip, broker.NotFound},
			"not an IP address": {node.ID, "10.0.0", broker.Invalid},
		} {
			_, err := s.ReserveAddress(ctx, row.node, row.ip, other.ID)
			refused(t, err, row.kind, what)
		}
		used, err := s.FindAddress(ctx, list[0].ID)
		check(t, err)
		for what, change := range map[string]broker.Address{
			"freed":      {ID: used.ID, IP: used.IP, State: broker.AddressFree},
			"held back":  {ID: used.ID, IP: used.IP, State: broker.AddressReserved},
			"renumbered": {ID: used.ID, IP: netip.MustParseAddr("192.0.2.1"), State: broker.AddressUsed},
			"used":       {ID: held.ID, IP: held.IP, State: broker.AddressUsed},
		} {
			refused(t, s.UpdateAddress(ctx, &change), broker.Conflict, what)
		}
		check(t, s.UpdateAddress(ctx, used))
		refused(t, s.UpdateAddress(ctx, &broker.Address{ID: 999, IP: used.IP}), broker.NotFound, "unknown address")
	})
}

func TestAddressesUnderConcurrentOrders(t *testing.T) {
	const workers, rounds, addresses = 64, 6, 250
	each(t, func(t *testing.T, s *store.Store) {
		cluster, node := place(t, s)
		pool := addPool(t, s, node.ID, addresses)
		var mu sync.Mutex
		holders := map[netip.Addr]int64{}
		exhausted := 0
		var group sync.WaitGroup
		for worker := range workers {
			vms := make([]*broker.VM, rounds)
			for i := range vms {
				vms[i] = addVM(t, s, cluster.ID, node.ID)
			}
			group.Go(func() {
				for round, vm := range vms {
					want := 1 + (worker+round)%2
					got, err := s.ReserveAddresses(t.Context(), node.ID, 0, 4, want, vm.ID)
					if err == nil && round == 0 {
						// Given back and taken anew.
						check(t, s.ReleaseAddresses(t.Context(), vm.ID))
						got, err = s.ReserveAddresses(t.Context(), node.ID, 0, 4, want, vm.ID)
					}
					mu.Lock()
					switch {
					case err == nil && len(got) == want:
						for _, address := range got {
							if holder, taken := holders[address.IP]; taken {
								t.Errorf("%s went to VM %d and VM %d", address.IP, holder, vm.ID)
							}
							holders[address.IP] = vm.ID
						}
					case broker.Is(err, broker.Exhausted):
						exhausted++
					default:
						t.Errorf("%d addresses, %v", len(got), err)
					}
					mu.Unlock()
				}
			})
		}
		group.Wait()
		got := counts(t, s, pool.ID)
		if got.Used != int64(len(holders)) || got.Used+got.Free != addresses {
			t.Errorf("the pool counts %+v, the orders hold %d", got, len(holders))
		}
		// More was wanted than there is. What is left is less than the largest wish.
		if got.Free > 1 || exhausted == 0 {
			t.Errorf("%d left, %d refused", got.Free, exhausted)
		}
	})
}

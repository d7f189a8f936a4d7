package store_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"gantry/server/broker"
	"gantry/server/store"
)

func reserveVMID(t testing.TB, s broker.Tx, cluster, vm int64, now time.Time) int {
	t.Helper()
	vmid, err := s.ReserveVMID(t.Context(), cluster, vm, now)
	check(t, err)
	return vmid
}

func TestVMIDsRiseAndWrap(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		cluster := addCluster(t, s, 100, 109)
		check(t, s.ReplaceGuests(ctx, cluster.ID, []int{101, 102, 105, 2000}))
		check(t, s.BurnVMID(ctx, cluster.ID, 106, start.Add(time.Hour)))
		var got []int
		for range 6 {
			got = append(got, reserveVMID(t, s, cluster.ID, 1, start))
		}
		if want := []int{100, 103, 104, 107, 108, 109}; !slices.Equal(got, want) {
			t.Errorf("gave out %v, want %v", got, want)
		}
		_, err := s.ReserveVMID(ctx, cluster.ID, 1, start)
		refused(t, err, broker.Exhausted, "a full range")

		check(t, s.ReleaseVMID(ctx, cluster.ID, 103, start.Add(time.Minute)))
		_, err = s.ReserveVMID(ctx, cluster.ID, 1, start.Add(time.Minute-time.Second))
		refused(t, err, broker.Exhausted, "an id in quarantine")
		if got := reserveVMID(t, s, cluster.ID, 1, start.Add(time.Minute)); got != 103 {
			t.Errorf("after its quarantine came %d", got)
		}
		check(t, s.ReplaceGuests(ctx, cluster.ID, []int{105, 102, 105}))
		if got := reserveVMID(t, s, cluster.ID, 1, start); got != 101 {
			t.Errorf("a guest that is gone: %d instead of 101", got)
		}
		if got := reserveVMID(t, s, cluster.ID, 1, start.Add(2*time.Hour)); got != 106 {
			t.Errorf("a burned id after its time: %d instead of 106", got)
		}
	})
}

func TestVMIDsOfClustersAreApart(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		a, b := addCluster(t, s, 100, 199), addCluster(t, s, 100, 199)
		if x, y := reserveVMID(t, s, a.ID, 1, start), reserveVMID(t, s, b.ID, 1, start); x != 100 || y != 100 {
			t.Errorf("got %d and %d", x, y)
		}
		_, err := s.ReserveVMID(t.Context(), 999, 1, start)
		refused(t, err, broker.NotFound, "unknown cluster")
	})
}

func TestALongRunOfTakenVMIDsIsSteppedOver(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		cluster := addCluster(t, s, 100, 5000)
		var taken []int
		for vmid := 100; vmid < 2600; vmid++ {
			taken = append(taken, vmid)
		}
		check(t, s.ReplaceGuests(t.Context(), cluster.ID, taken))
		if got := reserveVMID(t, s, cluster.ID, 1, start); got != 2600 {
			t.Errorf("got %d", got)
		}
	})
}

func TestVMIDsUnderConcurrentOrders(t *testing.T) {
	const orders, ids = 64 * 8, 300
	each(t, func(t *testing.T, s *store.Store) {
		cluster, node := addCluster(t, s, 100, 100+ids-1), (*broker.Node)(nil)
		node = addNode(t, s, cluster.ID)
		var mu sync.Mutex
		given, exhausted := map[int]int{}, 0
		var group sync.WaitGroup
		for range 64 {
			group.Go(func() {
				for range orders / 64 {
					var vmid int
					err := s.Transact(t.Context(), func(tx broker.Tx) (err error) {
						vm := newVM(cluster.ID, node.ID)
						if err := tx.InsertVM(t.Context(), vm); err != nil {
							return err
						}
						if vmid, err = tx.ReserveVMID(t.Context(), cluster.ID, vm.ID, start); err != nil {
							return err
						}
						vm.VMID = vmid
						return tx.UpdateVM(t.Context(), vm)
					})
					mu.Lock()
					switch {
					case err == nil:
						given[vmid]++
					case broker.Is(err, broker.Exhausted):
						exhausted++
					default:
						t.Error(err)
					}
					mu.Unlock()
				}
			})
		}
		group.Wait()
		for vmid, times := range given {
			if times != 1 || vmid < 100 || vmid >= 100+ids {
				t.Errorf("VMID %d was given out %d times", vmid, times)
			}
		}
		if len(given) != ids || exhausted != orders-ids {
			t.Errorf("gave out %d of %d, refused %d of %d", len(given), ids, exhausted, orders-ids)
		}
		if count, err := s.CountVMs(t.Context(), broker.VMFilter{}); err != nil || count != ids {
			t.Errorf("%d machines, %v: refused orders left some", count, err)
		}
	})
}

package store_test

import (
	"fmt"
	"testing"
	"time"

	"gantry/server/broker"
	"gantry/server/store"
)

func TestDueVMsAndTheRecycleBin(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		cluster, node := place(t, s)
		past, future := start.Add(-time.Minute), start.Add(time.Minute)
		add := func(change func(vm *broker.VM)) int64 {
			vm := newVM(cluster.ID, node.ID)
			vm.Status = broker.VMRunning
			change(vm)
			check(t, s.InsertVM(t.Context(), vm))
			return vm.ID
		}
		expired := add(func(vm *broker.VM) { vm.ExpiresAt = &past })
		add(func(vm *broker.VM) { vm.ExpiresAt = &future })
		add(func(vm *broker.VM) { vm.ExpiresAt, vm.TaskID = &past, new(int64(1)) })
		add(func(vm *broker.VM) { vm.ExpiresAt, vm.Status = &past, broker.VMPaused })
		add(func(vm *broker.VM) { vm.ExpiresAt, vm.Status = &past, broker.VMExpired })
		renewed := add(func(vm *broker.VM) { vm.ExpiresAt, vm.Status, vm.RanUntilExpiry = &future, broker.VMExpired, true })
		over := add(func(vm *broker.VM) {
			vm.Name, vm.RecycledAt, vm.DestroyAt, vm.RecycledStatus, vm.ExpiresAt = "binned", &past, &past, broker.VMPaused, &past
		})
		waiting := add(func(vm *broker.VM) { vm.RecycledAt, vm.DestroyAt = &past, &future })
		due, err := s.DueVMs(t.Context(), start, 10)
		if want := (broker.DueVMs{Expired: []int64{expired}, Renewed: []int64{renewed}, Destroyed: []int64{over}}); err != nil || fmt.Sprint(due) != fmt.Sprint(want) {
			t.Errorf("due: %+v, want %+v; %v", due, want, err)
		}
		binned, total, err := s.ListVMs(t.Context(), broker.VMFilter{Recycled: true}, broker.Page{Number: 1, Size: 5})
		if err != nil || total != 2 || binned[0].ID != waiting || binned[1].RecycledStatus != broker.VMPaused || !binned[1].DestroyAt.Equal(past) {
			t.Errorf("in the bin: %d, %+v, %v", total, binned, err)
		}
		for filter, want := range map[broker.VMFilter]int64{
			{}: 6, {Search: "binned"}: 0, {Search: "binned", Recycled: true}: 1, {Search: "binned", SearchIn: broker.SearchName, Recycled: true}: 1,
			{Search: "vm-", SearchIn: broker.SearchVMID}: 0, {Search: "vm-", SearchIn: broker.SearchAddress}: 0,
		} {
			if count, err := s.CountVMs(t.Context(), filter); err != nil || count != want {
				t.Errorf("%+v: %d, want %d, %v", filter, count, want, err)
			}
		}
		if err := s.DeleteNode(t.Context(), node.ID); !broker.Is(err, broker.Conflict) {
			t.Errorf("a node with machines in the recycle bin is deleted: %v", err)
		}
		check(t, s.MarkVMDeleted(t.Context(), over, start))
		if _, err := s.FindVM(t.Context(), over); !broker.Is(err, broker.NotFound) {
			t.Errorf("destroyed: %v", err)
		}
	})
}

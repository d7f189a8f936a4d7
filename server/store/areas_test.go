package store_test

import (
	"reflect"
	"sync"
	"testing"

	"gantry/server/broker"
	"gantry/server/store"
)

func TestAreas(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		top := &broker.Area{Name: "中国"}
		check(t, s.InsertArea(ctx, top))
		child := &broker.Area{Name: "香港", ParentID: &top.ID}
		check(t, s.InsertArea(ctx, child))
		refused(t, s.InsertArea(ctx, &broker.Area{Name: "香港", ParentID: &top.ID}), broker.Exists, "the same name below the same parent")
		other := &broker.Area{Name: "香港"}
		check(t, s.InsertArea(ctx, other))
		other.ParentID = &top.ID
		refused(t, s.UpdateArea(ctx, other), broker.Exists, "moved below a parent that has the name")
		other.ParentID, other.Name = nil, "美国"
		check(t, s.UpdateArea(ctx, other))
		if found, err := s.LockArea(ctx, child.ID); err != nil || !reflect.DeepEqual(found, child) {
			t.Errorf("got %+v, %v", found, err)
		}
		atTop := int64(0)
		for name, want := range map[string]struct {
			parent *int64
			areas  []broker.Area
		}{"all": {nil, []broker.Area{*top, *child, *other}}, "top": {&atTop, []broker.Area{*top, *other}}, "children": {&top.ID, []broker.Area{*child}}} {
			list, total, err := s.ListAreas(ctx, want.parent, broker.Page{Number: 1, Size: 9})
			if err != nil || total != int64(len(want.areas)) || !reflect.DeepEqual(list, want.areas) {
				t.Errorf("%s: %+v of %d, %v", name, list, total, err)
			}
		}
		_, node := place(t, s)
		node.AreaID = &child.ID
		check(t, s.UpdateNode(ctx, node))
		if list, total, err := s.ListAreaNodes(ctx, child.ID, broker.Page{Number: 1, Size: 9}); err != nil || total != 1 || list[0].ID != node.ID {
			t.Errorf("nodes: %+v of %d, %v", list, total, err)
		}
		refused(t, s.DeleteArea(ctx, top.ID), broker.Conflict, "area with an area")
		refused(t, s.DeleteArea(ctx, child.ID), broker.Conflict, "area with a node")
		node.AreaID = nil
		check(t, s.UpdateNode(ctx, node))
		check(t, s.DeleteArea(ctx, child.ID))
		check(t, s.DeleteArea(ctx, top.ID))
		refused(t, s.DeleteArea(ctx, top.ID), broker.NotFound, "removed area")
		refused(t, s.UpdateArea(ctx, top), broker.NotFound, "removed area")
	})
}

func TestTheLastAdminStays(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		var admins []*broker.Admin
		for _, name := range []string{"one", "two", "disabled"} {
			admin := &broker.Admin{UUID: name, Username: name, Disabled: name == "disabled", CreatedAt: start}
			check(t, s.InsertAdmin(ctx, admin))
			admins = append(admins, admin)
		}
		// Two who delete each other at once: one is refused.
		errors := make([]error, 2)
		var together sync.WaitGroup
		for i := range 2 {
			together.Go(func() { errors[i] = s.DeleteAdmin(ctx, admins[i].ID) })
		}
		together.Wait()
		if (errors[0] == nil) == (errors[1] == nil) {
			t.Errorf("deleted each other: %v, %v", errors[0], errors[1])
		}
		for _, err := range errors {
			if err != nil {
				refused(t, err, broker.Conflict, "the last one")
			}
		}
		check(t, s.DeleteAdmin(ctx, admins[2].ID))
		refused(t, s.DeleteAdmin(ctx, admins[2].ID), broker.NotFound, "removed administrator")
	})
}

func TestPoolsMoveWhileNothingIsUsed(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		cluster, node := place(t, s)
		other := addNode(t, s, cluster.ID)
		pool := addPool(t, s, node.ID, 3)
		list, total, err := s.FreeAddresses(ctx, node.ID, pool.ID, 4, broker.Page{Number: 1, Size: 2})
		if err != nil || total != 3 || len(list) != 2 {
			t.Fatalf("free: %d of %d, %v", len(list), total, err)
		}
		list[0].OwnDNS1, list[0].OwnDNS2 = "1.1.1.1", "1.0.0.1"
		check(t, s.UpdateAddress(ctx, &list[0]))
		found, err := s.FindPoolAddress(ctx, pool.ID, list[0].IP.String())
		if err != nil || found.DNS1 != "1.1.1.1" || found.DNS2 != "1.0.0.1" || found.OwnDNS1 != "1.1.1.1" {
			t.Errorf("own name servers: %+v, %v", found, err)
		}
		vm := addVM(t, s, cluster.ID, node.ID)
		_, err = s.ReserveAddresses(ctx, node.ID, 0, 4, 1, vm.ID)
		check(t, err)
		refused(t, s.MovePool(ctx, pool.ID, other.ID), broker.Conflict, "pool in use")
		check(t, s.ReleaseAddresses(ctx, vm.ID))
		refused(t, s.MovePool(ctx, 99, other.ID), broker.NotFound, "unknown pool")
		refused(t, s.MovePool(ctx, pool.ID, 99), broker.NotFound, "unknown node")
		check(t, s.MovePool(ctx, pool.ID, other.ID))
		if _, total, err := s.FreeAddresses(ctx, other.ID, 0, 0, broker.Page{Number: 1, Size: 1}); err != nil || total != 3 {
			t.Errorf("moved %d addresses, %v", total, err)
		}
		if _, total, err := s.FreeAddresses(ctx, node.ID, 0, 0, broker.Page{Number: 1, Size: 1}); err != nil || total != 0 {
			t.Errorf("left %d addresses, %v", total, err)
		}
	})
}

func TestRemovedNodesAreRemembered(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		cluster, node := place(t, s)
		check(t, s.SetNodeRemoved(ctx, cluster.ID, "pve3", true))
		check(t, s.SetNodeRemoved(ctx, cluster.ID, "pve3", true))
		check(t, s.SetNodeRemoved(ctx, cluster.ID, "pve2", true))
		check(t, s.SetNodeRemoved(ctx, cluster.ID, "pve2", false))
		if names, err := s.RemovedNodes(ctx, cluster.ID); err != nil || !reflect.DeepEqual(names, []string{"pve3"}) {
			t.Errorf("removed %v, %v", names, err)
		}
		vm := addVM(t, s, cluster.ID, node.ID)
		err := s.DeleteNode(ctx, node.ID)
		refused(t, err, broker.Conflict, "node with a machine")
		check(t, s.MarkVMDeleted(ctx, vm.ID, start))
		if list, total, err := s.ListKindNodes(ctx, cluster.Kind, broker.Page{Number: 1, Size: 5}); err != nil || total != 1 || list[0].ID != node.ID {
			t.Errorf("of the kind: %+v of %d, %v", list, total, err)
		}
		check(t, s.DeleteNode(ctx, node.ID))
		check(t, s.DeleteCluster(ctx, cluster.ID))
		if names, err := s.RemovedNodes(ctx, cluster.ID); err != nil || len(names) != 0 {
			t.Errorf("of a removed cluster: %v, %v", names, err)
		}
	})
}

func TestTheHealthOfConsoleProxiesIsKept(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		node := &broker.ConsoleNode{Name: "a", URL: "https://a.example", Address: "10.0.0.1:6080", Secret: "h", CreatedAt: start}
		check(t, s.InsertConsoleNode(ctx, node))
		refused(t, s.SaveConsoleHealth(ctx, 99, true, "", start), broker.NotFound, "unknown proxy")
		check(t, s.SaveConsoleHealth(ctx, node.ID, false, "no answer", start))
		found, err := s.FindConsoleNode(ctx, node.ID)
		if err != nil || found.Healthy == nil || *found.Healthy || found.LastError != "no answer" || !found.CheckedAt.Equal(start) || found.Address != node.Address {
			t.Fatalf("got %+v, %v", found, err)
		}
		// What was read before another look must not undo what that look saw.
		stale := *found
		check(t, s.SaveConsoleHealth(ctx, node.ID, true, "", start))
		stale.Name = "renamed"
		check(t, s.UpdateConsoleNode(ctx, &stale))
		if found, err = s.FindConsoleNode(ctx, node.ID); err != nil || !*found.Healthy || found.LastError != "" || found.Name != "renamed" {
			t.Errorf("after a rename: %+v, %v", found, err)
		}
		found.Healthy = nil
		check(t, s.UpdateConsoleNode(ctx, found))
		if found, err = s.FindConsoleNode(ctx, node.ID); err != nil || found.Healthy != nil {
			t.Errorf("after a move: %+v, %v", found, err)
		}
	})
}

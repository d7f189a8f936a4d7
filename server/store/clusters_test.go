package store_test

import (
	"reflect"
	"testing"
	"time"

	"gantry/server/broker"
	"gantry/server/store"
)

func TestClusters(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		seen := start.Add(time.Hour)
		cluster := &broker.Cluster{
			Kind: "pve", Name: "Frankfurt", Endpoint: "[2001:db8::1]:8006", Options: map[string]string{"host": "2001:db8::1", "password": "p"},
			TLSPin: "ab", Version: "9.2.11", VMIDFrom: 100, VMIDTo: 200, SeenAt: &seen, CreatedAt: start,
		}
		check(t, s.InsertCluster(ctx, cluster))
		found, err := s.FindClusterByEndpoint(ctx, "pve", "[2001:db8::1]:8006")
		check(t, err)
		if !reflect.DeepEqual(found, cluster) {
			t.Errorf("got  %+v\nwant %+v", found, cluster)
		}
		same := *cluster
		err = s.InsertCluster(ctx, &same)
		refused(t, err, broker.Exists, "the same endpoint twice")
		otherKind := *cluster
		otherKind.Kind = "libvirt"
		check(t, s.InsertCluster(ctx, &otherKind))
		cluster.Name, cluster.Disabled, cluster.LastError = "Berlin", true, "no route"
		cluster.Endpoint = "[2001:db8::1]:443"
		check(t, s.UpdateCluster(ctx, cluster))
		if found, err := s.FindClusterByEndpoint(ctx, "pve", "[2001:db8::1]:443"); err != nil || !reflect.DeepEqual(found, cluster) {
			t.Errorf("after a change: %+v, %v", found, err)
		}
		if all, err := s.ListClusters(ctx); err != nil || len(all) != 2 {
			t.Errorf("listed %d, %v", len(all), err)
		}
		for what, err := range map[string]error{
			"find":   func() error { _, err := s.FindCluster(ctx, 999); return err }(),
			"update": s.UpdateCluster(ctx, &broker.Cluster{ID: 999}),
			"delete": s.DeleteCluster(ctx, 999),
			"of 0":   s.UpdateCluster(ctx, &broker.Cluster{}),
		} {
			refused(t, err, broker.NotFound, what+" an unknown cluster")
		}
	})
}

func TestClustersInUseStay(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		cluster, node := place(t, s)
		pool := addPool(t, s, node.ID, 2)
		refused(t, s.DeleteCluster(ctx, cluster.ID), broker.Conflict, "cluster with a pool")
		refused(t, s.DeleteNode(ctx, node.ID), broker.Conflict, "node with a pool")
		check(t, s.DeletePool(ctx, pool.ID))
		vm := addVM(t, s, cluster.ID, node.ID)
		refused(t, s.DeleteCluster(ctx, cluster.ID), broker.Conflict, "cluster with a VM")
		refused(t, s.DeleteNode(ctx, node.ID), broker.Conflict, "node with a VM")
		check(t, s.MarkVMDeleted(ctx, vm.ID, start))
		check(t, s.ReplaceStorages(ctx, cluster.ID, node.ID, []broker.Storage{{Name: "local"}}))
		check(t, s.DeleteCluster(ctx, cluster.ID))
		_, err := s.FindNode(ctx, node.ID)
		refused(t, err, broker.NotFound, "node of a removed cluster")
		if storages, err := s.ListStorages(ctx, node.ID); err != nil || len(storages) != 0 {
			t.Errorf("storages of a removed cluster: %v, %v", storages, err)
		}
	})
}

func TestNodes(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		cluster := addCluster(t, s, 100, 199)
		seen := start
		node := &broker.Node{
			ClusterID: cluster.ID, Name: "pve1", Status: broker.NodeOnline, CPUs: 8, MemoryBytes: 1 << 34, SeenAt: &seen,
			CreatedAt: start, SSHPassword: "p", Daemon: broker.Daemon{Secret: "d"},
		}
		check(t, s.UpsertNode(ctx, node))
		status, area := 1, int64(3)
		node.Label, node.AreaID, node.DefaultStorage, node.Status = "Rack 7", &area, "fast", broker.NodeDisabled
		node.SSHPort, node.SSHUsername, node.SSHPassword = 2222, "root", "changed"
		node.Daemon = broker.Daemon{URL: "https://pve1:7600", Secret: "changed, too", TLSPin: "cd", Status: &status}
		check(t, s.UpdateNode(ctx, node))

		later := start.Add(time.Minute)
		observed := &broker.Node{ClusterID: cluster.ID, Name: "pve1", Status: broker.NodeOffline, SeenAt: &later, LastError: "no route"}
		check(t, s.UpsertNode(ctx, observed))
		want := *node
		want.SeenAt, want.LastError = &later, "no route"
		for what, got := range map[string]*broker.Node{"given back": observed, "found": func() *broker.Node {
			found, err := s.FindNodeByName(ctx, cluster.ID, "pve1")
			check(t, err)
			return found
		}()} {
			if !reflect.DeepEqual(got, &want) {
				t.Errorf("%s: operator's fields, and what was not seen, are to stay\ngot  %+v\nwant %+v", what, got, &want)
			}
		}
		node.Status = broker.NodeOnline
		check(t, s.UpdateNode(ctx, node))
		observed.Status, observed.CPUs = broker.NodeOffline, 16
		check(t, s.UpsertNode(ctx, observed))
		if observed.Status != broker.NodeOffline || observed.CPUs != 16 {
			t.Errorf("what was seen of an enabled node: %+v", observed)
		}
		addNode(t, s, cluster.ID)
		elsewhere := addNode(t, s, addCluster(t, s, 1, 2).ID)
		if all, err := s.ListClusterNodes(ctx, cluster.ID); err != nil || len(all) != 2 {
			t.Errorf("nodes of the cluster: %d, %v", len(all), err)
		}
		page, total, err := s.ListNodes(ctx, broker.Page{Number: 2, Size: 2})
		if err != nil || total != 3 || len(page) != 1 || page[0].ID != elsewhere.ID {
			t.Errorf("second page: %+v of %d, %v", page, total, err)
		}
		refused(t, s.UpdateNode(ctx, &broker.Node{ID: 99, ClusterID: cluster.ID, Name: "x"}), broker.NotFound, "unknown node")
		refused(t, s.DeleteNode(ctx, 99), broker.NotFound, "unknown node")
	})
}

func TestDiscoveriesReplaceWhatWasKnown(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		cluster, node := place(t, s)
		seen := start
		check(t, s.ReplaceStorages(ctx, cluster.ID, node.ID, []broker.Storage{
			{Name: "local", Type: "dir", Content: []string{"iso", "import"}, Enabled: true, Active: true, Total: 100, Available: 40, SeenAt: &seen},
			{Name: "nfs", Type: "nfs", Shared: true},
		}))
		before, err := s.ListStorages(ctx, node.ID)
		check(t, err)
		if len(before) != 2 || !before[0].Holds("import") || before[0].Available != 40 || !before[1].Shared || len(before[1].Content) != 0 {
			t.Fatalf("stored %+v", before)
		}
		check(t, s.ReplaceStorages(ctx, cluster.ID, node.ID, []broker.Storage{{Name: "local", Type: "dir", Available: 30}, {Name: "zfs"}}))
		after, err := s.ListStorages(ctx, node.ID)
		check(t, err)
		if len(after) != 2 || after[0].ID != before[0].ID || after[0].Available != 30 || after[0].Active || after[1].Name != "zfs" {
			t.Errorf("replaced: %+v", after)
		}
		check(t, s.ReplaceStorages(ctx, cluster.ID, node.ID, nil))
		if none, err := s.ListStorages(ctx, node.ID); err != nil || len(none) != 0 {
			t.Errorf("after nothing was found: %v, %v", none, err)
		}
		check(t, s.ReplaceBridges(ctx, node.ID, []broker.Bridge{{Name: "vmbr0", Active: true, CIDR: "10.0.0.1/24"}, {Name: "vmbr1"}}))
		check(t, s.ReplaceBridges(ctx, node.ID, []broker.Bridge{{Name: "vmbr1", CIDR: "fd00::1/64"}}))
		if bridges, err := s.ListBridges(ctx, node.ID); err != nil || len(bridges) != 1 || bridges[0].CIDR != "fd00::1/64" {
			t.Errorf("bridges: %+v, %v", bridges, err)
		}
	})
}

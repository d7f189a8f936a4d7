package store_test

import (
	"testing"

	"gantry/server/broker"
	"gantry/server/store"
)

// TestLookupsSeeEveryChange: what this process changes, alone or in a transaction, is seen by the very next look; nobody changes what
// others get.
func TestLookupsSeeEveryChange(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		cluster := addCluster(t, s, 100, 200)
		node := addNode(t, s, cluster.ID)
		look := func(want broker.NodeStatus) {
			t.Helper()
			found, err := s.FindNode(ctx, node.ID)
			check(t, err)
			if found.Status != want {
				t.Errorf("node status %d, want %d", found.Status, want)
			}
			found.Status = 99
		}
		look(broker.NodeOnline)
		look(broker.NodeOnline)
		node.Status = broker.NodeDisabled
		check(t, s.UpdateNode(ctx, node))
		look(broker.NodeDisabled)
		check(t, s.Transact(ctx, func(tx broker.Tx) error {
			node.Status = broker.NodeOffline
			if err := tx.UpdateNode(ctx, node); err != nil {
				return err
			}
			found, err := tx.FindNode(ctx, node.ID)
			check(t, err)
			if found.Status != broker.NodeOffline {
				t.Errorf("inside the transaction: node status %d", found.Status)
			}
			return nil
		}))
		look(broker.NodeOffline)

		kept, err := s.FindCluster(ctx, cluster.ID)
		check(t, err)
		kept.Options["host"] = "elsewhere"
		if kept, err = s.FindCluster(ctx, cluster.ID); err != nil || kept.Options["host"] == "elsewhere" {
			t.Errorf("a reader changed what others read: %v, %v", kept, err)
		}

		_, err = s.Setting(ctx, "colour")
		refused(t, err, broker.NotFound, "a setting that is not there")
		check(t, s.SaveSetting(ctx, "colour", "red", false))
		if value, err := s.Setting(ctx, "colour"); err != nil || value != "red" {
			t.Errorf("setting %q, %v", value, err)
		}
		_, err = s.ListStorages(ctx, node.ID)
		check(t, err)
		check(t, s.ReplaceStorages(ctx, cluster.ID, node.ID, []broker.Storage{{Name: "local"}}))
		if storages, err := s.ListStorages(ctx, node.ID); err != nil || len(storages) != 1 {
			t.Errorf("storages %v, %v", storages, err)
		}
		check(t, s.DeleteNode(ctx, node.ID))
		_, err = s.FindNode(ctx, node.ID)
		refused(t, err, broker.NotFound, "a node that was removed")
	})
}

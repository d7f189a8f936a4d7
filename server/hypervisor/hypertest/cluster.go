package hypertest

import (
	"slices"
	"testing"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

func testCluster(t *testing.T, s *suite) {
	d := s.open(t)
	t.Run("info names the kind", func(t *testing.T) {
		if d.Info().Kind == "" {
			t.Fatal("no kind")
		}
	})
	t.Run("probe tells version and nodes, and finds nothing fatal", func(t *testing.T) {
		probe, err := d.Probe(s.context(t))
		if err != nil {
			t.Fatal(err)
		}
		if probe.Version == "" || !slices.Contains(probe.Nodes, s.Node) || !slices.Contains(probe.Nodes, probe.ThisNode) {
			t.Fatalf("probe lacks something: %+v", probe)
		}
		for _, problem := range probe.Problems {
			if problem.Fatal {
				t.Errorf("fatal problem %s: %s", problem.Reason, problem.Text[broker.English])
			}
		}
	})
	t.Run("discover lists nodes with storages and bridges", func(t *testing.T) {
		discovery, err := d.Discover(s.context(t))
		if err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(discovery.Nodes, func(each hypervisor.NodeDetail) bool { return each.Name == s.Node })
		if at < 0 {
			t.Fatalf("no node %s in %+v", s.Node, discovery.Nodes)
		}
		node := discovery.Nodes[at]
		if !node.Online || node.CPUs < 1 || node.MemoryBytes < 1<<20 || discovery.Version == "" {
			t.Errorf("node lacks something: %+v", node)
		}
		if !slices.ContainsFunc(node.Storages, func(each hypervisor.Storage) bool {
			return each.Name == s.Storage && each.Enabled && each.Active && slices.Contains(each.Content, "images") && each.Total > 0 &&
				each.Available > 0 && each.Available <= each.Total && each.Type != ""
		}) {
			t.Errorf("storage %s is not as it should be: %+v", s.Storage, node.Storages)
		}
		if !slices.ContainsFunc(node.Bridges, func(each hypervisor.Bridge) bool { return each.Name == s.Bridge && each.Active }) {
			t.Errorf("bridge %s is missing: %+v", s.Bridge, node.Bridges)
		}
	})
	t.Run("inventory lists nodes and guests", func(t *testing.T) {
		off, on := s.plain(t, d), s.running(t, d)
		if s.Refresh != nil {
			s.Refresh(t)
		}
		inventory, err := d.Inventory(s.context(t))
		if err != nil {
			t.Fatal(err)
		}
		if inventory.At.IsZero() {
			t.Error("no time")
		}
		if !slices.ContainsFunc(inventory.Nodes, func(each hypervisor.NodeState) bool {
			return each.Name == s.Node && each.Online && each.CPUs > 0 && each.MemoryTotal > 0
		}) {
			t.Errorf("node %s is missing: %+v", s.Node, inventory.Nodes)
		}
		for ref, want := range map[hypervisor.GuestRef]hypervisor.Power{off: hypervisor.PowerStopped, on: hypervisor.PowerRunning} {
			at := slices.IndexFunc(inventory.Guests, func(each hypervisor.GuestSummary) bool { return each.ID == ref.ID })
			if at < 0 {
				t.Fatalf("guest %d is missing", ref.ID)
			}
			if guest := inventory.Guests[at]; guest.Node != s.Node || guest.Template || s.Refresh != nil && guest.Power != want {
				t.Errorf("guest %d is %+v, want %s on %s", ref.ID, guest, want, s.Node)
			}
		}
	})
}

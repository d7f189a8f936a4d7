package fleet_test

import (
	"testing"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
	"gantry/server/hypervisor/memory"
)

// watched is a world whose hypervisor keeps no history, with an adopted guest that runs.
func watched(t *testing.T, keepsHistory bool) (*world, *broker.VM) {
	t.Helper()
	w := newWorld(t, memory.Config{Capabilities: &hypervisor.Capabilities{History: keepsHistory}})
	w.guest(t, 150, "web", "")
	must(t, w.cluster.SetPower(150, hypervisor.PowerRunning))
	vm, err := w.broker.Adopt(t.Context(), broker.AdoptRequest{NodeID: w.node.ID, VMID: 150}, broker.Actor{})
	must(t, err)
	return w, vm
}

// see lets the poller see counters after a pause.
func (w *world) see(t *testing.T, pause time.Duration, counters hypervisor.GuestSummary) {
	t.Helper()
	w.now = w.now.Add(pause)
	must(t, w.cluster.SetCounters(150, counters))
	w.poll(t)
}

func (w *world) history(t *testing.T, vm *broker.VM, timeframe, consolidation string) []map[string]float64 {
	t.Helper()
	rows, err := w.fleet.History(t.Context(), vm, timeframe, consolidation)
	must(t, err)
	return rows
}

func TestGuestsOfAHypervisorWithoutHistoryGetSeriesOfOurs(t *testing.T) {
	w, vm := watched(t, false)
	began := w.now
	w.see(t, 0, hypervisor.GuestSummary{CPU: 0.2, NetIn: 1000, NetOut: 500})
	w.see(t, 10*time.Second, hypervisor.GuestSummary{CPU: 0.4, NetIn: 2000, NetOut: 500, DiskRead: 100})
	w.see(t, 10*time.Second, hypervisor.GuestSummary{CPU: 0.6, NetIn: 2500, NetOut: 700, DiskRead: 100, DiskWrite: 40})
	w.now = began.Add(time.Minute)
	must(t, w.fleet.StoreHistory(t.Context()))
	rows := w.history(t, vm, "hour", "AVERAGE")
	if len(rows) != 1 {
		t.Fatalf("rows %v", rows)
	}
	for key, want := range map[string]float64{
		"time": float64(began.Unix()), "cpu": 0.4, "maxcpu": 2, "maxmem": 1 << 30, "mem": 1 << 29, "netin": 75, "netout": 10, "diskread": 5, "diskwrite": 2,
		"maxdisk": 15 << 30,
	} {
		if got := rows[0][key]; got < want*0.999 || got > want*1.001 {
			t.Errorf("%s is %v, want %v", key, got, want)
		}
	}
	if highest := w.history(t, vm, "hour", "MAX"); highest[0]["netin"] != 100 || highest[0]["cpu"] < 0.59 {
		t.Errorf("highest %v", highest)
	}
	// A restart is no negative rate, and a guest that is off has no samples.
	w.see(t, 10*time.Second, hypervisor.GuestSummary{NetIn: 10})
	must(t, w.cluster.SetPower(150, hypervisor.PowerStopped))
	w.now = began.Add(2 * time.Minute)
	must(t, w.fleet.StoreHistory(t.Context()))
	if rows = w.history(t, vm, "hour", "AVERAGE"); len(rows) != 2 || rows[1]["netin"] != 0 {
		t.Errorf("after a restart %v", rows)
	}
	w.see(t, time.Second, hypervisor.GuestSummary{})
	w.now = began.Add(3 * time.Minute)
	must(t, w.fleet.StoreHistory(t.Context()))
	if rows = w.history(t, vm, "hour", "AVERAGE"); len(rows) != 2 {
		t.Errorf("a guest that is off: %v", rows)
	}
	// The day's samples are made of the hour's when their time is over.
	w.now = began.Add(31 * time.Minute)
	must(t, w.fleet.StoreHistory(t.Context()))
	if rows = w.history(t, vm, "day", "AVERAGE"); len(rows) != 1 || rows[0]["time"] != float64(began.Truncate(30*time.Minute).Unix()) {
		t.Errorf("day %v", rows)
	}
	if _, err := w.fleet.History(t.Context(), vm, "century", "AVERAGE"); !broker.Is(err, broker.Invalid) {
		t.Errorf("a series that there is none of: %v", err)
	}
	if nodes, err := w.fleet.NodeHistory(t.Context(), w.node, "hour", "AVERAGE"); err != nil || len(nodes) == 0 || nodes[0]["memtotal"] != 1<<40 {
		t.Errorf("of the node: %v, %v", nodes, err)
	}
}

func TestTrafficIsCountedOnEveryHypervisor(t *testing.T) {
	for name, keepsHistory := range map[string]bool{"with history of its own": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			w, vm := watched(t, keepsHistory)
			store := func() {
				t.Helper()
				w.now = w.now.Add(time.Minute)
				must(t, w.fleet.StoreHistory(t.Context()))
			}
			w.see(t, 0, hypervisor.GuestSummary{NetIn: 5000, NetOut: 100}) // what was before is not counted
			store()
			w.see(t, 10*time.Second, hypervisor.GuestSummary{NetIn: 6000, NetOut: 100})
			w.see(t, 10*time.Second, hypervisor.GuestSummary{NetIn: 6500, NetOut: 300})
			w.see(t, 10*time.Second, hypervisor.GuestSummary{NetIn: 70, NetOut: 7}) // started anew within the minute
			store()
			before := w.store.Statements()
			w.see(t, 10*time.Second, hypervisor.GuestSummary{NetIn: 70, NetOut: 7})
			polled := w.store.Statements()
			store()
			if sent := w.store.Statements() - polled; sent > 20 {
				t.Errorf("a quiet minute takes %d statements, its poll %d", sent, polled-before)
			}
			used, err := w.store.Traffic(t.Context(), broker.TrafficPeriod(w.now), []int64{vm.ID})
			if err != nil || used[vm.ID].In != 1570 || used[vm.ID].Out != 207 {
				t.Errorf("traffic %+v, %v", used, err)
			}
			if rows := w.history(t, vm, "hour", "AVERAGE"); keepsHistory != (len(rows) == 60) {
				t.Errorf("%d rows", len(rows)) // the memory driver's own has 60
			}
		})
	}
}

// What is measured goes into the placement of orders: loads of nodes, and what guests take that are not Gantry's.
func TestLoadsOfNodesAreStored(t *testing.T) {
	w, _ := watched(t, true)
	must(t, w.cluster.AddGuest(hypervisor.GuestSpec{Ref: hypervisor.GuestRef{ID: 160, Node: "node1"}, Name: "x", Sockets: 2, Cores: 2, MemoryMB: 2048}))
	must(t, w.cluster.SetPower(160, hypervisor.PowerRunning))
	must(t, w.cluster.AddGuest(hypervisor.GuestSpec{Ref: hypervisor.GuestRef{ID: 161, Node: "node1"}, Name: "off", Sockets: 2, Cores: 2, MemoryMB: 2048}))
	w.poll(t)
	w.poll(t) // twice within the minute is not twice the guests
	must(t, w.fleet.StoreHistory(t.Context()))
	facts, err := w.store.PlacementFacts(t.Context(), broker.PlacementQuestion{})
	must(t, err)
	load := facts.Nodes[0].Load
	if load == nil || load.ForeignCPUs != 4 || load.ForeignMemoryBytes != 2<<30 || !load.At.Equal(w.now) {
		t.Errorf("load %+v", load)
	}
}

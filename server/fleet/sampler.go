package fleet

import (
	"sync"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// sampler gathers what polls see until it is stored, once a minute: the finest series of the history.
type sampler struct {
	mutex sync.Mutex
	// guests and nodes are the present minute's, seen what each guest's counters were last.
	guests map[int64]*gathered
	nodes  map[int64]*gathered
	loads  map[int64]broker.NodeLoad
	seen   map[int64]lastSeen
	// restarts are counters before they began anew: points that the last one of a guest would hide.
	restarts []broker.TrafficPoint
	// counted are the counters that were stored last.
	counted map[int64]lastSeen
}

type lastSeen struct {
	at      time.Time
	guest   hypervisor.GuestSummary
	cluster int64
}

// gathered is one subject's minute on its way to a sample.
type gathered struct {
	values [6]gauge
	sample broker.HistorySample
}

// gauge averages over time of equal weight: polls are evenly spread.
type gauge struct {
	sum, max float64
	count    int
}

func (g *gauge) add(value float64) {
	g.sum, g.max, g.count = g.sum+value, max(g.max, value), g.count+1
}

func (g *gauge) measure() broker.Measure {
	if g.count == 0 {
		return broker.Measure{}
	}
	return broker.Measure{Average: float32(g.sum / float64(g.count)), Max: float32(g.max)}
}

func newSampler() *sampler {
	return &sampler{
		guests: map[int64]*gathered{}, nodes: map[int64]*gathered{}, loads: map[int64]broker.NodeLoad{}, seen: map[int64]lastSeen{},
		counted: map[int64]lastSeen{},
	}
}

// look takes an inventory in. history tells that the driver keeps none: its guests and nodes get series of ours. Traffic and loads of nodes
// are gathered of all.
func (s *sampler) look(cluster int64, inventory hypervisor.Inventory, vms []broker.VM, nodes []broker.Node, history bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	ids := make(map[int]int64, len(vms))
	for i := range vms {
		ids[vms[i].VMID] = vms[i].ID
	}
	nodeIDs := make(map[string]int64, len(nodes))
	for i := range nodes {
		nodeIDs[nodes[i].Name] = nodes[i].ID
	}
	at := inventory.At.UTC()
	for _, node := range inventory.Nodes {
		if id, known := nodeIDs[node.Name]; known && node.Online {
			s.loads[id] = broker.NodeLoad{NodeID: id, At: at, CPU: node.CPU, MemoryBytes: node.MemoryUsed}
			if history {
				s.nodeSample(id, node)
			}
		}
	}
	present := make(map[int64]bool, len(vms))
	for i := range inventory.Guests {
		guest := &inventory.Guests[i]
		id, ours := ids[guest.ID]
		if !ours {
			s.foreign(nodeIDs[guest.Node], guest)
			continue
		}
		present[id] = true
		if guest.Power == hypervisor.PowerRunning || guest.Power == hypervisor.PowerPaused {
			s.guest(cluster, id, at, guest, history)
		}
	}
	for id, last := range s.seen { // of machines that are gone
		if last.cluster == cluster && !present[id] {
			delete(s.seen, id)
			delete(s.counted, id)
		}
	}
}

// foreign counts a guest that is not Gantry's to the load of its node.
func (s *sampler) foreign(node int64, guest *hypervisor.GuestSummary) {
	if load, known := s.loads[node]; known && guest.Power == hypervisor.PowerRunning {
		load.ForeignCPUs, load.ForeignMemoryBytes = load.ForeignCPUs+guest.CPUs, load.ForeignMemoryBytes+guest.MemoryTotal
		s.loads[node] = load
	}
}

func (s *sampler) guest(cluster, id int64, at time.Time, guest *hypervisor.GuestSummary, history bool) {
	before, known := s.seen[id]
	if known && !at.After(before.at) {
		return
	}
	anew := known && (guest.NetIn < before.guest.NetIn || guest.NetOut < before.guest.NetOut)
	if anew {
		s.restarts = append(s.restarts, pointOf(id, before))
	}
	s.seen[id] = lastSeen{at: at, guest: *guest, cluster: cluster}
	if !history {
		return
	}
	into := s.guests[id]
	if into == nil {
		into = &gathered{}
		s.guests[id] = into
	}
	into.sample = broker.HistorySample{ID: id, MaxCPU: float32(guest.CPUs), MaxMemory: float32(guest.MemoryTotal), MaxDisk: float32(guest.DiskTotal)}
	into.values[0].add(guest.CPU)
	into.values[1].add(float64(guest.MemoryUsed))
	seconds := at.Sub(before.at).Seconds()
	// A rate over a long gap would say little of this minute.
	if !known || anew || seconds <= 0 || seconds > 300 {
		return
	}
	for i, counters := range [4][2]int64{
		{before.guest.NetIn, guest.NetIn}, {before.guest.NetOut, guest.NetOut}, {before.guest.DiskRead, guest.DiskRead}, {before.guest.DiskWrite, guest.DiskWrite},
	} {
		into.values[2+i].add(max(float64(counters[1]-counters[0]), 0) / seconds)
	}
}

func (s *sampler) nodeSample(id int64, node hypervisor.NodeState) {
	into := s.nodes[id]
	if into == nil {
		into = &gathered{}
		s.nodes[id] = into
	}
	into.sample = broker.HistorySample{ID: id, MaxCPU: float32(node.CPUs), MaxMemory: float32(node.MemoryTotal)}
	into.values[0].add(node.CPU)
	into.values[1].add(float64(node.MemoryUsed))
}

func pointOf(id int64, last lastSeen) broker.TrafficPoint {
	return broker.TrafficPoint{VM: id, At: last.at, NetIn: last.guest.NetIn, NetOut: last.guest.NetOut}
}

// gatheredMinute is what is to be stored.
type gatheredMinute struct {
	guests, nodes []broker.HistorySample
	points        []broker.TrafficPoint
	loads         []broker.NodeLoad
}

// take gives what was gathered and begins anew. Of guests whose counters stand still nothing is counted.
func (s *sampler) take() gatheredMinute {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	minute := gatheredMinute{guests: samplesOf(s.guests), nodes: samplesOf(s.nodes), points: s.restarts}
	for id, last := range s.seen {
		before, counted := s.counted[id]
		if counted && before.guest.NetIn == last.guest.NetIn && before.guest.NetOut == last.guest.NetOut {
			continue
		}
		minute.points = append(minute.points, pointOf(id, last))
		s.counted[id] = last
	}
	for _, load := range s.loads {
		minute.loads = append(minute.loads, load)
	}
	s.guests, s.nodes, s.loads, s.restarts = map[int64]*gathered{}, map[int64]*gathered{}, map[int64]broker.NodeLoad{}, nil
	return minute
}

func samplesOf(all map[int64]*gathered) []broker.HistorySample {
	samples := make([]broker.HistorySample, 0, len(all))
	for _, each := range all {
		sample := each.sample
		for i, into := range [6]*broker.Measure{
			&sample.CPU, &sample.Memory, &sample.NetIn, &sample.NetOut, &sample.DiskRead, &sample.DiskWrite,
		} {
			*into = each.values[i].measure()
		}
		samples = append(samples, sample)
	}
	return samples
}

package libvirt

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// Groups of ConnectGetAllDomainStats (virDomainStatsTypes).
const (
	statsState   = 1
	statsCPU     = 2
	statsBalloon = 4
	statsVCPU    = 8
	statsNet     = 16
	statsBlock   = 32
)

// Inventory takes two calls for all guests and four for the node. Foreign domains are in it, with ids of their own (foreignID).
func (d *driver) Inventory(ctx context.Context) (hypervisor.Inventory, error) {
	facts, err := d.facts(ctx)
	if err != nil {
		return hypervisor.Inventory{}, err
	}
	stats, err := d.stats(ctx, nil)
	if err != nil {
		return hypervisor.Inventory{}, err
	}
	node, err := d.nodeState(ctx, facts.name)
	if err != nil {
		return hypervisor.Inventory{}, err
	}
	saved, err := d.saved(ctx)
	if err != nil {
		return hypervisor.Inventory{}, err
	}
	out := hypervisor.Inventory{At: d.now(), Nodes: []hypervisor.NodeState{node}}
	rows := make(map[golibvirt.UUID]statsRow, len(stats))
	domains := make([]golibvirt.Domain, 0, len(stats))
	for _, each := range stats {
		domains = append(domains, each.Dom)
		rows[each.Dom.UUID] = rowOf(each.Params)
	}
	usage := d.usage(rows, out.At)
	byID := identify(domains)
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		domain := byID[id]
		summary := rows[domain.UUID].summary()
		if saved[domain.UUID] && summary.Power == hypervisor.PowerStopped {
			summary.Power = hypervisor.PowerSuspended
		}
		summary.CPU = usage[domain.UUID]
		summary.ID, summary.Node, summary.Name = id, facts.name, ""
		if id >= foreignBase {
			summary.Name = domain.Name // the name of one of ours is its title, which this call does not tell
		}
		out.Guests = append(out.Guests, summary)
	}
	return out, nil
}

func (d *driver) stats(ctx context.Context, domains []golibvirt.Domain) ([]golibvirt.DomainStatsRecord, error) {
	return read(ctx, d.client, func(l *rpc) ([]golibvirt.DomainStatsRecord, error) {
		// Nowait: a guest whose job hangs is told from what libvirtd has, without waiting for it.
		return l.ConnectGetAllDomainStats(domains, statsState|statsCPU|statsBalloon|statsVCPU|statsNet|statsBlock, uint32(golibvirt.ConnectGetAllDomainsStatsNowait))
	})
}

// saved are the guests that are suspended to disk.
func (d *driver) saved(ctx context.Context) (map[golibvirt.UUID]bool, error) {
	domains, err := read(ctx, d.client, func(l *rpc) ([]golibvirt.Domain, error) {
		domains, _, err := l.ConnectListAllDomains(1, golibvirt.ConnectListDomainsManagedsave)
		return domains, err
	})
	out := map[golibvirt.UUID]bool{}
	for _, each := range domains {
		out[each.UUID] = true
	}
	return out, err
}

// processorTime is what a guest's processors had run at a time.
type processorTime struct {
	at          time.Time
	nanoseconds int64
}

// usage is the part of their processors that guests used since the inventory before; 0 for one that is seen for the first time. What is
// kept for it is only the last inventory's: after a restart the first one shows no load.
func (d *driver) usage(rows map[golibvirt.UUID]statsRow, at time.Time) map[golibvirt.UUID]float64 {
	d.host.Lock()
	defer d.host.Unlock()
	out := make(map[golibvirt.UUID]float64, len(rows))
	now := make(map[golibvirt.UUID]processorTime, len(rows))
	for id, row := range rows {
		now[id] = processorTime{at, row.number("cpu.time")}
		before, known := d.host.guests[id]
		wall := at.Sub(before.at).Nanoseconds() * max(row.number("vcpu.current"), 1)
		if spent := now[id].nanoseconds - before.nanoseconds; known && wall > 0 && spent > 0 {
			out[id] = min(float64(spent)/float64(wall), 1)
		}
	}
	d.host.guests = now
	return out
}

// statsRow is a guest's figures by their names (virConnectGetAllDomainStats(3)).
type statsRow map[string]any

func rowOf(parameters []golibvirt.TypedParam) statsRow {
	out := make(statsRow, len(parameters))
	for _, each := range parameters {
		out[each.Field] = each.Value.I
	}
	return out
}

func (r statsRow) number(name string) int64 {
	switch value := r[name].(type) {
	case int32:
		return int64(value)
	case uint32:
		return int64(value)
	case int64:
		return value
	case uint64:
		return int64(min(value, 1<<63-1))
	}
	return 0
}

// sum adds "prefix.0.suffix", "prefix.1.suffix" and so on.
func (r statsRow) sum(prefix, suffix string) int64 {
	total := int64(0)
	for i := range min(r.number(prefix+".count"), 256) {
		total += r.number(fmt.Sprintf("%s.%d.%s", prefix, i, suffix))
	}
	return total
}

func (r statsRow) summary() hypervisor.GuestSummary {
	out := hypervisor.GuestSummary{
		Power: powerOf(golibvirt.DomainState(r.number("state.state"))), CPUs: int(r.number("vcpu.current")),
		MemoryTotal: r.number("balloon.maximum") << 10, NetIn: r.sum("net", "rx.bytes"), NetOut: r.sum("net", "tx.bytes"),
		DiskRead: r.sum("block", "rd.bytes"), DiskWrite: r.sum("block", "wr.bytes"),
	}
	out.MemoryUsed = r.memoryUsed()
	if out.Power == hypervisor.PowerStopped {
		out.MemoryUsed = 0
	}
	for i := range min(r.number("block.count"), 256) {
		if strings.HasPrefix(fmt.Sprint(r[fmt.Sprintf("block.%d.name", i)]), "sdaf") {
			continue // the cloud-init drive
		}
		out.DiskTotal += r.number(fmt.Sprintf("block.%d.capacity", i))
	}
	return out
}

// memoryUsed is what the guest says of itself where its balloon driver speaks, else what QEMU takes of the host.
func (r statsRow) memoryUsed() int64 {
	if unused, has := r["balloon.unused"]; has && unused != nil {
		if available := r.number("balloon.available"); available > 0 {
			return max(available-r.number("balloon.unused"), 0) << 10
		}
	}
	return min(r.number("balloon.rss"), r.number("balloon.maximum")) << 10
}

// nodeState takes three calls.
func (d *driver) nodeState(ctx context.Context, name string) (hypervisor.NodeState, error) {
	out := hypervisor.NodeState{Name: name, Online: true}
	info, err := d.nodeInfo(ctx)
	if err != nil {
		return out, err
	}
	out.CPUs, out.MemoryTotal = info.cpus, info.memory
	memory, err := d.nodeMemory(ctx)
	if err != nil {
		return out, err
	}
	out.MemoryUsed = max(out.MemoryTotal-memory["free"]-memory["buffers"]-memory["cached"], 0)
	out.CPU, err = d.nodeLoad(ctx)
	return out, err
}

type nodeInfo struct {
	model                     string
	memory                    int64
	cpus, sockets, cores, mhz int
}

func (d *driver) nodeInfo(ctx context.Context) (nodeInfo, error) {
	return read(ctx, d.client, func(l *rpc) (nodeInfo, error) {
		model, memory, cpus, mhz, _, sockets, cores, _, err := l.NodeGetInfo()
		text := make([]byte, 0, len(model))
		for _, letter := range model {
			if letter == 0 {
				break
			}
			text = append(text, byte(letter))
		}
		return nodeInfo{model: string(text), memory: int64(memory) << 10, cpus: int(cpus), sockets: int(sockets), cores: int(cores), mhz: int(mhz)}, err
	})
}

const allCells = -1 // VIR_NODE_MEMORY_STATS_ALL_CELLS, and VIR_NODE_CPU_STATS_ALL_CPUS

// nodeMemory is in bytes, by libvirt's names: total, free, buffers, cached.
func (d *driver) nodeMemory(ctx context.Context) (map[string]int64, error) {
	rows, err := read(ctx, d.client, func(l *rpc) ([]golibvirt.NodeGetMemoryStats, error) {
		rows, _, err := l.NodeGetMemoryStats(4, allCells, 0)
		return rows, err
	})
	out := map[string]int64{}
	for _, row := range rows {
		out[row.Field] = int64(row.Value) << 10
	}
	if broker.Is(err, broker.Unsupported) {
		return out, nil
	}
	return out, err
}

// cpuTimes are nanoseconds since the host started.
type cpuTimes struct{ busy, all uint64 }

// nodeLoad is the part of all processors' time that was busy since the call before; of all time since the host's start at first.
func (d *driver) nodeLoad(ctx context.Context) (float64, error) {
	rows, err := read(ctx, d.client, func(l *rpc) ([]golibvirt.NodeGetCPUStats, error) {
		_, count, err := l.NodeGetCPUStats(allCells, 0, 0)
		if err != nil {
			return nil, err
		}
		rows, _, err := l.NodeGetCPUStats(allCells, count, 0)
		return rows, err
	})
	if broker.Is(err, broker.Unsupported) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var now cpuTimes
	for _, row := range rows {
		switch row.Field {
		case "idle", "iowait":
			now.all += row.Value
		case "user", "kernel", "intr":
			now.all += row.Value
			now.busy += row.Value
		}
	}
	d.host.Lock()
	defer d.host.Unlock()
	before := d.host.times
	d.host.times = now
	if now.all <= before.all || now.busy < before.busy {
		return 0, nil
	}
	return float64(now.busy-before.busy) / float64(now.all-before.all), nil
}

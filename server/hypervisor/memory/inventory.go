package memory

import (
	"context"
	"slices"
	"sort"

	"gantry/server/hypervisor"
)

const version = "1.0"

func (d *driver) Probe(ctx context.Context) (hypervisor.Probe, error) {
	out := hypervisor.Probe{Version: version}
	err := d.read(ctx, Call{Method: "Probe"}, func() error {
		for _, each := range d.cluster.nodes {
			out.Nodes = append(out.Nodes, each.Name)
		}
		out.ThisNode = out.Nodes[0]
		return nil
	})
	return out, err
}

func (d *driver) Discover(ctx context.Context) (hypervisor.Discovery, error) {
	out := hypervisor.Discovery{Version: version}
	err := d.read(ctx, Call{Method: "Discover"}, func() error {
		for _, each := range d.cluster.nodes {
			detail := hypervisor.NodeDetail{Name: each.Name, Online: !each.offline, CPUs: each.CPUs, MemoryBytes: each.MemoryBytes}
			for i := range each.Storages {
				storage := &each.Storages[i]
				detail.Storages = append(detail.Storages, hypervisor.Storage{
					Name: storage.Name, Type: "memory", Content: slices.Clone(storage.Content), Shared: storage.Shared,
					Enabled: true, Active: !each.offline, Total: storage.Total, Available: storage.Total - d.cluster.used(each, storage.Name),
				})
			}
			for _, bridge := range each.Bridges {
				detail.Bridges = append(detail.Bridges, hypervisor.Bridge{Name: bridge, Active: !each.offline})
			}
			out.Nodes = append(out.Nodes, detail)
		}
		return nil
	})
	return out, err
}

func (d *driver) Inventory(ctx context.Context) (hypervisor.Inventory, error) {
	var out hypervisor.Inventory
	err := d.read(ctx, Call{Method: "Inventory"}, func() error {
		c := d.cluster
		out.At = c.now()
		for _, each := range c.nodes {
			out.Nodes = append(out.Nodes, hypervisor.NodeState{Name: each.Name, Online: !each.offline, CPUs: each.CPUs, MemoryTotal: each.MemoryBytes})
		}
		for _, each := range c.guests {
			out.Guests = append(out.Guests, c.summary(each))
		}
		sort.Slice(out.Guests, func(i, j int) bool { return out.Guests[i].ID < out.Guests[j].ID })
		return nil
	})
	return out, err
}

func (c *Cluster) summary(each *guest) hypervisor.GuestSummary {
	out := hypervisor.GuestSummary{
		ID: each.spec.Ref.ID, Node: each.node, Power: each.power, CPUs: each.spec.Sockets * each.spec.Cores,
		MemoryTotal: int64(each.spec.MemoryMB) << 20, Lock: each.lock,
	}
	if c.node(each.node).offline {
		out.Power = hypervisor.PowerUnknown
	}
	if each.complete {
		out.Name = each.spec.Name
	}
	for _, name := range each.disks {
		out.DiskTotal += c.volumes[name].size
	}
	if each.power == hypervisor.PowerRunning {
		out.Uptime = int64(c.now().Sub(each.started).Seconds())
		out.MemoryUsed = out.MemoryTotal / 2
		out.CPU, out.NetIn, out.NetOut = each.traffic.CPU, each.traffic.NetIn, each.traffic.NetOut
		out.DiskRead, out.DiskWrite = each.traffic.DiskRead, each.traffic.DiskWrite
	}
	return out
}

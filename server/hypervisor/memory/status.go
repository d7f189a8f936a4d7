package memory

import (
	"context"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

func (d *driver) Status(ctx context.Context, ref hypervisor.GuestRef) (hypervisor.Status, error) {
	var out hypervisor.Status
	err := d.read(ctx, Call{Method: "Status", Guest: ref.ID, Node: ref.Node}, func() error {
		found, err := d.cluster.find(ref.ID)
		if err != nil {
			return err
		}
		summary := d.cluster.summary(found)
		out = hypervisor.Status{Power: found.power, Raw: map[string]any{
			"vmid": ref.ID, "name": summary.Name, "status": string(found.power), "cpus": summary.CPUs, "uptime": summary.Uptime,
			"mem": summary.MemoryUsed, "maxmem": summary.MemoryTotal, "maxdisk": summary.DiskTotal,
		}}
		return nil
	})
	return out, err
}

func (d *driver) Config(ctx context.Context, ref hypervisor.GuestRef) (map[string]any, error) {
	var out map[string]any
	err := d.read(ctx, Call{Method: "Config", Guest: ref.ID, Node: ref.Node}, func() error {
		found, err := d.cluster.find(ref.ID)
		if err != nil {
			return err
		}
		spec := found.spec
		out = map[string]any{
			"name": spec.Name, "sockets": spec.Sockets, "cores": spec.Cores, "cpu": spec.CPUType, "memory": spec.MemoryMB,
			"onboot": spec.OnBoot, "description": spec.Description, "owner": spec.Ref.Owner,
		}
		for key, name := range found.disks {
			out[key] = name
		}
		if spec.CloudInit != nil {
			out["ciuser"], out["cipassword"] = spec.CloudInit.User, "**********"
		}
		return nil
	})
	return out, err
}

var timeframes = map[string]time.Duration{
	"hour": time.Minute, "day": 30 * time.Minute, "week": 3 * time.Hour, "month": 12 * time.Hour, "year": 7 * 24 * time.Hour,
}

const samples = 60

func (d *driver) History(ctx context.Context, ref hypervisor.GuestRef, timeframe, consolidation string) ([]hypervisor.Sample, error) {
	var out []hypervisor.Sample
	err := d.read(ctx, Call{Method: "History", Guest: ref.ID, Node: ref.Node}, func() error {
		found, err := d.cluster.find(ref.ID)
		if err != nil {
			return err
		}
		summary := d.cluster.summary(found)
		out, err = d.samples(timeframe, consolidation, hypervisor.Sample{
			"cpu": summary.CPU, "mem": float64(summary.MemoryUsed), "maxmem": float64(summary.MemoryTotal),
			"netin": 0, "netout": 0, "diskread": 0, "diskwrite": 0,
		})
		return err
	})
	return out, err
}

func (d *driver) NodeHistory(ctx context.Context, nodeName, timeframe, consolidation string) ([]hypervisor.Sample, error) {
	var out []hypervisor.Sample
	err := d.read(ctx, Call{Method: "NodeHistory", Node: nodeName}, func() error {
		host, err := d.cluster.reachable(nodeName)
		if err != nil {
			return err
		}
		out, err = d.samples(timeframe, consolidation, hypervisor.Sample{"cpu": 0, "memtotal": float64(host.MemoryBytes)})
		return err
	})
	return out, err
}

func (d *driver) samples(timeframe, consolidation string, values hypervisor.Sample) ([]hypervisor.Sample, error) {
	if !d.Info().Capabilities.History {
		return nil, unsupported("history")
	}
	if err := hypervisor.CheckHistory(timeframe, consolidation); err != nil {
		return nil, err
	}
	step := timeframes[timeframe]
	last := d.cluster.now().Truncate(step)
	out := make([]hypervisor.Sample, samples)
	for i := range out {
		row := hypervisor.Sample{"time": float64(last.Add(-time.Duration(samples-1-i) * step).Unix())}
		for key, value := range values {
			row[key] = value
		}
		out[i] = row
	}
	return out, nil
}

func (d *driver) NodeStatus(ctx context.Context, nodeName string) (map[string]any, error) {
	var out map[string]any
	err := d.read(ctx, Call{Method: "NodeStatus", Node: nodeName}, func() error {
		host, err := d.cluster.reachable(nodeName)
		if err != nil {
			return err
		}
		out = map[string]any{"cpuinfo": map[string]any{"cpus": host.CPUs}, "memory": map[string]any{"total": host.MemoryBytes}}
		return nil
	})
	return out, err
}

// Spec is what a guest is configured as now; false when there is no such guest.
func (c *Cluster) Spec(id int) (hypervisor.GuestSpec, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle()
	found := c.guests[id]
	if found == nil {
		return hypervisor.GuestSpec{}, false
	}
	return found.spec, true
}

// Guests are all guests, by id.
func (c *Cluster) Guests() map[int]hypervisor.Guest {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle()
	out := make(map[int]hypervisor.Guest, len(c.guests))
	for id, each := range c.guests {
		out[id] = each.view(c)
	}
	return out
}

// Volumes are the names of all volumes, attached or not, with the guest that owns each: to find leaks.
func (c *Cluster) Volumes() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle()
	out := make(map[string]int, len(c.volumes))
	for name, each := range c.volumes {
		out[name] = each.guest
	}
	return out
}

// AddVolume gives a guest a detached volume, as `qm importdisk` on its node does, and returns its name.
func (c *Cluster) AddVolume(id int, storage string, size int64) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle()
	found, err := c.find(id)
	if err != nil {
		return "", err
	}
	host := c.node(found.node)
	if err := host.takesDisks(storage); err != nil {
		return "", err
	}
	name := c.addVolume(host, id, storage, size)
	found.detached = append(found.detached, name)
	return name, nil
}

// SetLock puts a lock word on a guest from outside ("backup"), or takes it off with "".
func (c *Cluster) SetLock(id int, lock string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := c.guests[id]
	if found == nil {
		return noSuchGuest(id)
	}
	found.lock = lock
	return nil
}

// SetPower changes a guest from outside: a crash, or an operator at the hypervisor's own panel.
func (c *Cluster) SetPower(id int, power hypervisor.Power) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle()
	found := c.guests[id]
	if found == nil {
		return noSuchGuest(id)
	}
	found.power = power
	return nil
}

// Migrate moves a guest to another node from outside.
func (c *Cluster) Migrate(id int, nodeName string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle()
	found := c.guests[id]
	if found == nil {
		return noSuchGuest(id)
	}
	if c.node(nodeName) == nil {
		return broker.Because(broker.NotFound, broker.ReasonNodeNotFound, nodeName)
	}
	found.node = nodeName
	return nil
}

// SetNodeOnline lets a node fail or come back. A failing one stops its guests and interrupts its operations: a create that
// ran leaves a guest that is Incomplete for ever.
func (c *Cluster) SetNodeOnline(nodeName string, online bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle()
	host := c.node(nodeName)
	if host == nil {
		return broker.Because(broker.NotFound, broker.ReasonNodeNotFound, nodeName)
	}
	host.offline = !online
	if online {
		return nil
	}
	for _, op := range append([]*operation(nil), c.running...) {
		if op.Node == nodeName {
			op.undo = nil
			c.end(op, broker.Errorf(broker.Failed, "interrupted: the node went down"))
		}
	}
	c.dropFinished()
	for _, each := range c.guests {
		if each.node == nodeName {
			each.power = hypervisor.PowerStopped
		}
	}
	return nil
}

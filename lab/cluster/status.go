package cluster

import (
	"context"
	"sync"
	"time"

	"gantry/lab/guestconf"
	"gantry/lab/machine"
)

// Status is what a node knows about a guest at one moment. Sizes in bytes, times in seconds.
type Status struct {
	VMID                int
	Node, Name          string
	Running, Paused     bool
	Template            bool
	Tags, Lock          string
	Agent, Serial       bool
	CPUs                int
	MaxMem, MaxDisk     int64
	BalloonMin          int64
	Shares              int
	PID                 int
	Uptime              int64
	CPU                 float64
	Mem                 int64
	NetIn, NetOut       int64
	DiskRead, DiskWrite int64
	NICs                map[string]machine.NICStats
	Drives              []string // of the running guest
}

// Status reads the guest's state now.
func (g *Guest) Status(ctx context.Context) Status {
	g.mu.Lock()
	values, process, started := g.conf.Values, g.process, g.started
	status := Status{VMID: g.VMID, Node: g.Node, Name: guestName(g.VMID, values), Running: process != nil, Paused: g.paused,
		Template: values.Flag("template"), Tags: values["tags"], Lock: values["lock"], Agent: values.AgentEnabled(),
		Serial: values["serial0"] != "", MaxMem: int64(values.MemoryMB()) << 20, MaxDisk: bootDiskSize(values)}
	status.CPUs = min(max(values.Int("sockets", 1), 1)*max(values.Int("cores", 1), 1), g.cluster.NodeCPUs)
	if vcpus := values.Int("vcpus", 0); vcpus > 0 {
		status.CPUs = vcpus
	}
	if balloon := values.Int("balloon", 0); balloon > 0 && balloon < values.MemoryMB() {
		status.BalloonMin, status.Shares = int64(balloon)<<20, values.Int("shares", 1000)
	}
	spec := g.spec
	g.mu.Unlock()
	if process == nil {
		return status
	}
	status.PID = process.PID()
	status.Uptime = max(int64(g.cluster.Now().Sub(started).Seconds()), 0)
	status.MaxMem = int64(spec.MemoryMB) << 20
	status.NICs = map[string]machine.NICStats{}
	for _, nic := range spec.NICs {
		status.NICs[nic.Tap] = machine.NICStats{}
	}
	for _, disk := range spec.Disks {
		status.Drives = append(status.Drives, disk.Key)
	}
	stats, err := process.Stats(ctx)
	if err != nil {
		return status
	}
	status.CPU, status.Mem = stats.CPU, min(stats.MemoryBytes, status.MaxMem)
	status.DiskRead, status.DiskWrite = stats.DiskReadBytes, stats.DiskWrittenBytes
	for tap, nic := range stats.NICs {
		status.NICs[tap] = nic
		status.NetIn += nic.In
		status.NetOut += nic.Out
	}
	return status
}

func guestName(vmid int, values guestconf.Section) string {
	if name := values["name"]; name != "" {
		return name
	}
	return "VM " + itoa(vmid)
}

// bootDiskSize is the size of the first drive in the boot order, 0 when it is no disk.
func bootDiskSize(values guestconf.Section) int64 {
	for _, key := range values.Boot() {
		if !guestconf.IsBootable(key) {
			continue
		}
		drive := values.Drive(key)
		if drive.IsCDROM() || !drive.HasVolume() {
			return 0
		}
		return drive.Size()
	}
	return 0
}

// statusCache is what pvestatd broadcast last.
type statusCache struct {
	mu     sync.RWMutex
	guests map[int]Status
	used   map[string]int64 // node/storage
	nodes  map[string]NodeStatus
	rrd    map[string]*history
}

// NodeStatus is a node's own load.
type NodeStatus struct {
	CPU             float64
	Mem, MaxMem     int64
	Disk, MaxDisk   int64
	MaxCPU          int
	Uptime          int64
	NetIn, NetOut   int64
	LoadAverage     float64
	RunningGuests   int
	AllocatedMemory int64
}

func (s *statusCache) usage(node, id string) int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.used[node+"/"+id]
}

// Broadcast returns what pvestatd said last about a guest.
func (c *Cluster) Broadcast(vmid int) (Status, bool) {
	c.status.mu.RLock()
	defer c.status.mu.RUnlock()
	status, known := c.status.guests[vmid]
	return status, known
}

func (c *Cluster) statusLoop() {
	defer c.loops.Done()
	if c.StatusInterval <= 0 {
		return
	}
	ticker := time.NewTicker(c.StatusInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			c.RefreshStatus()
		case <-c.closing:
			return
		}
	}
}

// RefreshStatus is one round of pvestatd on all nodes that are up.
func (c *Cluster) RefreshStatus() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	fresh := map[int]Status{}
	nodes := map[string]NodeStatus{}
	used := map[string]int64{}
	for _, guest := range c.Guests("") {
		if c.Faults != nil && c.Faults.Down(guest.Node) != "" {
			if old, known := c.Broadcast(guest.VMID); known {
				fresh[guest.VMID] = old
			}
			continue
		}
		status := guest.Status(ctx)
		fresh[guest.VMID] = status
		load := nodes[guest.Node]
		load.CPU += status.CPU * float64(status.CPUs)
		load.Mem += status.Mem
		load.NetIn += status.NetIn
		load.NetOut += status.NetOut
		if status.Running {
			load.RunningGuests++
			load.AllocatedMemory += status.MaxMem
		}
		nodes[guest.Node] = load
	}
	for _, definition := range c.StorageList() {
		for _, node := range c.Nodes {
			if definition.OnNode(node) {
				used[node+"/"+definition.ID] = c.measure(node, &definition)
			}
		}
	}
	for _, node := range c.Nodes {
		nodes[node] = c.nodeStatus(node, nodes[node], used)
	}
	c.status.mu.Lock()
	c.status.guests, c.status.nodes, c.status.used = fresh, nodes, used
	c.status.mu.Unlock()
	c.sampleHistory(fresh, nodes)
}

func (c *Cluster) nodeStatus(node string, load NodeStatus, used map[string]int64) NodeStatus {
	load.MaxCPU, load.MaxMem = c.NodeCPUs, c.NodeMemory
	load.CPU = min((load.CPU+0.02)/float64(c.NodeCPUs), 1)
	load.LoadAverage = load.CPU * float64(c.NodeCPUs)
	load.Mem = min(load.Mem+2<<30, load.MaxMem)
	load.Uptime = c.Uptime()
	load.MaxDisk, load.Disk = 256<<30, 16<<30
	for _, definition := range c.StorageList() {
		if definition.ID == "local" {
			load.MaxDisk = definition.Total
			load.Disk = 8<<30 + used[node+"/local"]
		}
	}
	if load.MaxDisk == 0 {
		load.MaxDisk = 4 << 40
	}
	return load
}

// Node returns what pvestatd said last about a node.
func (c *Cluster) Node(node string) NodeStatus {
	c.status.mu.RLock()
	defer c.status.mu.RUnlock()
	return c.status.nodes[node]
}

package broker

import (
	"cmp"
	"math"
	"slices"
)

// capacity decides whether a node can take one more machine, and how much would be left.
type capacity struct {
	node     *PlacementNode
	settings PlacementSettings
	// shared has what all nodes' machines were promised on shared storages: [cluster, name] → GB, and the part not written yet.
	shared map[storagePlace]sharedPromise
}

type storagePlace struct {
	cluster int64
	name    string
}

type sharedPromise struct{ promised, creating int64 }

// sharedPromises sums up what is promised on storages that several nodes of a cluster share.
func sharedPromises(nodes []PlacementNode) map[storagePlace]sharedPromise {
	sharing := map[storagePlace]bool{}
	for i := range nodes {
		for _, storage := range nodes[i].Storages {
			if storage.Shared {
				sharing[storagePlace{nodes[i].ClusterID, storage.Name}] = true
			}
		}
	}
	sums := map[storagePlace]sharedPromise{}
	for i := range nodes {
		for _, promise := range nodes[i].Promises {
			place := storagePlace{nodes[i].ClusterID, promise.Storage}
			if sharing[place] {
				sum := sums[place]
				sums[place] = sharedPromise{sum.promised + promise.DiskGB, sum.creating + promise.CreatingDiskGB}
			}
		}
	}
	return sums
}

// room is what a node would have left with the machine on it, as a share of the scarcest thing, and the storage it would use.
type room struct {
	left    float64
	storage string
}

// fits tells what would be left, or why the machine does not fit.
func (c *capacity) fits(spec *VMSpec) (room, *NodeRefusal) {
	cpus, refusal := c.processors(spec)
	if refusal != nil {
		return room{}, refusal
	}
	memory, refusal := c.memory(spec)
	if refusal != nil {
		return room{}, refusal
	}
	disk, storage, refusal := c.disks(spec)
	if refusal != nil {
		return room{}, refusal
	}
	return room{left: min(cpus, memory, disk), storage: storage}, nil
}

func (c *capacity) refuse(reason Reason, figures *Figures, args ...any) *NodeRefusal {
	return &NodeRefusal{NodeID: c.node.ID, NodeName: c.node.Name, Kind: c.node.Kind, Reason: reason, Args: args, Figures: figures}
}

func (c *capacity) processors(spec *VMSpec) (float64, *NodeRefusal) {
	figures := &Figures{Wanted: int64(spec.CPUs()), Capacity: percentOf(int64(c.node.CPUs), c.settings.CPUPercent)}
	if c.node.CPUs < spec.CPUs() { // PVE refuses to start such a guest
		figures.Capacity = int64(c.node.CPUs)
		return 0, c.refuse(ReasonNodeCPUs, figures)
	}
	for _, promise := range c.node.Promises {
		figures.Promised += promise.CPUs
	}
	idle := 1.0
	if load := c.node.Load; load != nil {
		figures.Promised += int64(load.ForeignCPUs)
		figures.Used = int64(math.Ceil(load.CPU * float64(c.node.CPUs)))
		idle = 1 - load.CPU
	}
	if figures.Promised+figures.Wanted > figures.Capacity {
		return 0, c.refuse(ReasonNodeCPUFull, figures)
	}
	return min(idle, figures.left()), nil
}

func (c *capacity) memory(spec *VMSpec) (float64, *NodeRefusal) {
	figures := &Figures{Wanted: int64(spec.MemoryMB) << 20, Capacity: percentOf(c.node.MemoryBytes, c.settings.MemoryPercent)}
	for _, promise := range c.node.Promises {
		figures.Promised += promise.MemoryMB << 20
	}
	free := 1.0
	if load := c.node.Load; load != nil {
		figures.Promised += load.ForeignMemoryBytes
		figures.Used = load.MemoryBytes
		// Whatever may be promised, what is in use can't be more than there is.
		most := max(figures.Capacity, c.node.MemoryBytes)
		if figures.Used+figures.Wanted > most {
			return 0, c.refuse(ReasonNodeMemoryFull, figures)
		}
		free = 1 - float64(figures.Used+figures.Wanted)/float64(max(most, 1))
	}
	if figures.Promised+figures.Wanted > figures.Capacity {
		return 0, c.refuse(ReasonNodeMemoryFull, figures)
	}
	return min(free, figures.left()), nil
}

// disks finds the storage that "auto" means (the node's default, else the one with most room) and checks all that the machine uses.
func (c *capacity) disks(spec *VMSpec) (float64, string, *NodeRefusal) {
	candidates := []string{cmp.Or(spec.Storage, c.node.DefaultStorage)}
	if candidates[0] == "" {
		candidates = nil
		for _, storage := range c.node.Storages {
			candidates = append(candidates, storage.Name)
		}
	}
	if len(candidates) == 0 {
		return 0, "", c.refuse(ReasonNodeNoStorage, nil, "")
	}
	var refused *NodeRefusal
	best, chosen := -1.0, ""
	for _, name := range candidates {
		left, refusal := c.disksOn(spec, name)
		switch {
		case refusal != nil && refused == nil:
			refused = refusal
		case refusal == nil && left > best:
			best, chosen = left, name
		}
	}
	if chosen == "" {
		return 0, "", refused
	}
	return best, chosen, nil
}

// disksOn checks the machine's disks with its system disk on a storage.
func (c *capacity) disksOn(spec *VMSpec, system string) (left float64, refusal *NodeRefusal) {
	wanted := map[string]int64{system: int64(spec.SystemDiskGB)}
	for _, disk := range spec.DataDisks {
		name := disk.Storage
		if name == "" || name == "auto" {
			name = system
		}
		wanted[name] += int64(disk.SizeGB)
	}
	left = 1
	for name, size := range wanted {
		index := slices.IndexFunc(c.node.Storages, func(storage Storage) bool { return storage.Name == name })
		if index < 0 {
			return 0, c.refuse(ReasonNodeNoStorage, nil, name)
		}
		storage := &c.node.Storages[index]
		promised, creating := c.promisedOn(storage)
		figures := &Figures{
			Wanted: size << 30, Promised: promised << 30, Used: storage.Total - storage.Available,
			Capacity: percentOf(storage.Total, c.settings.DiskPercent),
		}
		// What is being made now is not in use yet.
		full := figures.Used+creating<<30+figures.Wanted > max(figures.Capacity, storage.Total)
		if full || figures.Promised+figures.Wanted > figures.Capacity {
			return 0, c.refuse(ReasonNodeDiskFull, figures, name)
		}
		left = min(left, figures.left(), 1-float64(figures.Used+figures.Wanted)/float64(max(figures.Capacity, storage.Total, 1)))
	}
	return left, nil
}

func (c *capacity) promisedOn(storage *Storage) (promised, creating int64) {
	if storage.Shared {
		sum := c.shared[storagePlace{c.node.ClusterID, storage.Name}]
		return sum.promised, sum.creating
	}
	for _, promise := range c.node.Promises {
		if promise.Storage == storage.Name {
			promised, creating = promised+promise.DiskGB, creating+promise.CreatingDiskGB
		}
	}
	return promised, creating
}

// left is the share of the capacity that nobody was promised with the machine there.
func (f *Figures) left() float64 {
	if f.Capacity <= 0 {
		return 0
	}
	return 1 - float64(f.Promised+f.Wanted)/float64(f.Capacity)
}

func percentOf(value, percent int64) int64 { return int64(float64(value) * float64(percent) / 100) }

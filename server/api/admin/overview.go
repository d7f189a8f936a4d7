package admin

import (
	"context"
	"time"

	"gantry/server/api/route"
	"gantry/server/broker"
)

func (c *Calls) overviewRoutes() []route.Route {
	return []route.Route{
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getOverview", Auth: route.Admin, Name: "getOverview", Group: "overview",
			Summary: "Sums the installation up from what is stored: counts, capacity of nodes, machines made and destroyed in seven days, the busiest, drift, tasks.",
		}, c.overview),
	}
}

// OverviewRequest tells where the caller's days begin.
type OverviewRequest struct {
	Offset int `json:"offset" in:"query" rule:"min=-840,max=840" doc:"minutes east of UTC; default 0"`
}

// Overview is the state of the installation.
type Overview struct {
	Machines    MachineCounts     `json:"machines"`
	Nodes       []NodeUse         `json:"nodes"`
	Days        []DayCount        `json:"days" doc:"seven, oldest first"`
	Busiest     []OverviewMachine `json:"busiest" doc:"running machines, those with the highest load first"`
	Drifting    []OverviewMachine `json:"drifting" doc:"some machines that differ from what was ordered"`
	Failing     []OverviewMachine `json:"failing" doc:"some machines whose last task failed"`
	ActiveTasks int64             `json:"activeTasks"`
	StuckTasks  int64             `json:"stuckTasks"`
}

// MachineCounts counts machines in service, and those in the recycle bin.
type MachineCounts struct {
	Total    int64 `json:"total"`
	Running  int64 `json:"running"`
	Stopped  int64 `json:"stopped"`
	Failed   int64 `json:"failed" doc:"an operator has to look"`
	Expired  int64 `json:"expired"`
	Recycled int64 `json:"recycled" doc:"not in total"`
	Drifted  int64 `json:"drifted"`
}

// NodeUse is what a node has and what was promised of it.
type NodeUse struct {
	NodeID         int64  `json:"nodeid"`
	Name           string `json:"name"`
	Cluster        string `json:"cluster" doc:"address of the hypervisor"`
	ClusterID      int64  `json:"clusterId"`
	Status         int    `json:"status" doc:"0 online, 1 offline, 2 disabled"`
	LastError      string `json:"lastError"`
	Machines       int64  `json:"machines"`
	CPUs           int    `json:"cpus" doc:"0 = not known"`
	PromisedCPUs   int64  `json:"promisedCpus"`
	Memory         int64  `json:"memory" doc:"bytes; 0 = not known"`
	PromisedMemory int64  `json:"promisedMemory" doc:"bytes"`
	Load           *Load  `json:"load" doc:"null: never looked at"`
	Storage        int64  `json:"storage" doc:"bytes, of storages for disks"`
	StorageFree    int64  `json:"storageFree" doc:"bytes"`
}

// Load is how busy a node was when it was looked at last.
type Load struct {
	CPU    float64 `json:"cpu" doc:"share, 0 to 1"`
	Memory int64   `json:"memory" doc:"bytes in use"`
	Time   int64   `json:"time"`
}

// DayCount counts machines on a day.
type DayCount struct {
	Day     int64 `json:"day" doc:"when it began"`
	Created int64 `json:"created"`
	Deleted int64 `json:"deleted"`
}

// OverviewMachine names a machine.
type OverviewMachine struct {
	HostID int64   `json:"hostid"`
	VMID   int     `json:"vmid"`
	Name   string  `json:"name"`
	NodeID int64   `json:"nodeid"`
	CPU    float64 `json:"cpu" doc:"share of its CPUs, 0 to 1"`
	Memory int64   `json:"memory" doc:"bytes in use"`
	MaxMem int64   `json:"maxmem" doc:"bytes"`
	Text   string  `json:"text" doc:"how it differs, or what failed"`
}

func (c *Calls) overview(ctx context.Context, _ *route.Call, request OverviewRequest) (Overview, error) {
	found, err := c.overviews.overview(ctx, c.Store, c.Now(), time.Duration(request.Offset)*time.Minute)
	if err != nil {
		return Overview{}, broker.Wrap(err, "sum up the installation")
	}
	reply := Overview{
		Machines: MachineCounts{
			Running: found.Statuses[broker.VMRunning], Stopped: found.Statuses[broker.VMStopped], Failed: found.Statuses[broker.VMFailed],
			Expired: found.Statuses[broker.VMExpired], Recycled: found.Recycled, Drifted: found.Drifted,
		},
		Nodes: []NodeUse{}, Days: make([]DayCount, len(found.Days)), ActiveTasks: found.ActiveTasks, StuckTasks: found.StuckTasks,
		Busiest:  machinesOf(found.Busiest, func(*broker.VM) string { return "" }),
		Drifting: machinesOf(found.Drifting, func(vm *broker.VM) string { return vm.Observed.Drift }),
		Failing:  machinesOf(found.Failing, func(vm *broker.VM) string { return vm.LastError }),
	}
	for _, count := range found.Statuses {
		reply.Machines.Total += count
	}
	for i, day := range found.Days {
		reply.Days[i] = DayCount{Day: day.Day.UnixMilli(), Created: day.Created, Deleted: day.Deleted}
	}
	reply.Nodes, err = c.nodeUses(ctx, found.Nodes)
	return reply, err
}

func machinesOf(vms []broker.VM, text func(vm *broker.VM) string) []OverviewMachine {
	machines := make([]OverviewMachine, len(vms))
	for i := range vms {
		vm := &vms[i]
		machines[i] = OverviewMachine{
			HostID: vm.ID, VMID: vm.VMID, Name: vm.Name, NodeID: vm.NodeID, CPU: vm.Observed.CPU, Memory: vm.Observed.Memory,
			MaxMem: int64(vm.Spec.MemoryMB) << 20, Text: text(vm),
		}
	}
	return machines
}

// overviewNodes bounds the nodes of an overview.
const overviewNodes = 200

func (c *Calls) nodeUses(ctx context.Context, uses map[int64]broker.NodeUse) ([]NodeUse, error) {
	nodes, _, err := c.Store.ListNodes(ctx, broker.Page{Number: 1, Size: overviewNodes})
	if err != nil {
		return nil, broker.Wrap(err, "list nodes")
	}
	clusters, err := c.Store.ListClusters(ctx)
	if err != nil {
		return nil, broker.Wrap(err, "list clusters")
	}
	names := map[int64]string{}
	for _, cluster := range clusters {
		names[cluster.ID] = cluster.Name
	}
	records := make([]NodeUse, len(nodes))
	for i := range nodes {
		node := &nodes[i]
		use := uses[node.ID]
		records[i] = NodeUse{
			NodeID: node.ID, Name: nodeTitle(node), ClusterID: node.ClusterID, Cluster: names[node.ClusterID], Status: int(node.Status),
			LastError: node.LastError, Machines: use.VMs, CPUs: node.CPUs, PromisedCPUs: use.CPUs, Memory: node.MemoryBytes,
			PromisedMemory: use.MemoryMB << 20,
		}
		if use.At != nil {
			records[i].Load = &Load{CPU: use.Load, Memory: use.MemoryUsed, Time: use.At.UnixMilli()}
		}
		storages, err := c.Store.ListStorages(ctx, node.ID)
		if err != nil {
			return nil, broker.Wrap(err, "list storages")
		}
		for _, storage := range storages {
			if storage.Enabled && storage.Active && storage.Holds("images") {
				records[i].Storage += storage.Total
				records[i].StorageFree += storage.Available
			}
		}
	}
	return records, nil
}

func nodeTitle(node *broker.Node) string {
	if node.Label != "" && node.Label != node.Name {
		return node.Label + " (" + node.Name + ")"
	}
	return node.Name
}

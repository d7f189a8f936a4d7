package ams

import (
	"context"
	"strconv"

	"gantry/server/broker"
)

// Reader makes the objects of one request out of the store; what several of them share is read once. It is for one goroutine.
type Reader struct {
	store  broker.Store
	nodes  map[int64]*broker.Node
	images map[int64]*Image
	areas  map[int64]broker.Area
	kinds  map[int64]string
	used   map[int64]int64 // traffic of this month
}

// NewReader makes a Reader.
func NewReader(store broker.Store) *Reader {
	return &Reader{store: store, nodes: map[int64]*broker.Node{}, images: map[int64]*Image{}, areas: map[int64]broker.Area{}, kinds: map[int64]string{}, used: map[int64]int64{}}
}

// Kind gives the driver of a cluster.
func (r *Reader) Kind(ctx context.Context, cluster int64) (string, error) {
	if known, found := r.kinds[cluster]; found {
		return known, nil
	}
	row, err := r.store.FindCluster(ctx, cluster)
	if err != nil {
		return "", broker.Wrap(err, "find the cluster of a node")
	}
	r.kinds[cluster] = row.Kind
	return row.Kind, nil
}

// node gives a node, nil when it is gone.
func (r *Reader) node(ctx context.Context, id int64) (*broker.Node, error) {
	if known, found := r.nodes[id]; found {
		return known, nil
	}
	node, err := r.store.FindNode(ctx, id)
	if broker.Is(err, broker.NotFound) {
		node, err = nil, nil
	}
	if err != nil {
		return nil, broker.Wrap(err, "find node")
	}
	r.nodes[id] = node
	return node, nil
}

func nodeName(node *broker.Node) *string {
	if node == nil {
		return nil
	}
	name := node.Label
	if name == "" {
		name = node.Name
	}
	return &name
}

// VM is a machine with what belongs to it: a record of the lists and the whole of getVmInfo.
type VM struct {
	NodeType string         `json:"nodeType" doc:"driver of the node that the machine is on"`
	NodeName *string        `json:"nodeName"`
	Area     *string        `json:"area" doc:"name of the node's region"`
	VMHost   VMHost         `json:"vmhost"`
	OS       *Image         `json:"os"`
	Current  map[string]any `json:"current" doc:"{\"data\": live values}; null when there are none"`
	RRDData  *Samples       `json:"rrddata" doc:"history; null in lists"`
}

// Samples wraps a history as the original does.
type Samples struct {
	Data []map[string]float64 `json:"data"`
}

// VM reads a record from the store alone. secrets shows the password and lists all tasks: for the answer about one machine.
func (r *Reader) VM(ctx context.Context, vm *broker.VM, secrets bool) (VM, error) {
	record := VM{NodeType: vm.Kind, VMHost: VMHostOf(vm, secrets), Current: observed(vm)}
	node, err := r.node(ctx, vm.NodeID)
	if err != nil {
		return VM{}, err
	}
	record.NodeName = nodeName(node)
	if node != nil {
		if record.Area, err = r.AreaName(ctx, node.AreaID); err != nil {
			return VM{}, err
		}
	}
	if record.OS, err = r.imageByID(ctx, vm.ImageID); err != nil {
		return VM{}, err
	}
	if record.VMHost.UsedFlow, err = r.traffic(ctx, vm.ID); err != nil {
		return VM{}, err
	}
	return record, r.tasks(ctx, vm, secrets, record.VMHost.Task)
}

// tasks fills in {"<time of order in ms>": id}. Lists show the task at work only, which costs nothing for machines at rest.
func (r *Reader) tasks(ctx context.Context, vm *broker.VM, all bool, into map[string]int64) error {
	if !all {
		if vm.TaskID == nil {
			return nil
		}
		task, err := r.store.FindTask(ctx, *vm.TaskID)
		if broker.Is(err, broker.NotFound) {
			return nil
		}
		if err != nil {
			return broker.Wrap(err, "find the task of a VM")
		}
		into[taskKey(task)] = task.ID
		return nil
	}
	tasks, _, err := r.store.ListTasks(ctx, broker.TaskFilter{VM: vm.ID}, broker.Page{Number: 1, Size: 100})
	for i := range tasks {
		into[taskKey(&tasks[i])] = tasks[i].ID
	}
	return broker.Wrap(err, "list the tasks of a VM")
}

func taskKey(task *broker.Task) string { return strconv.FormatInt(task.CreatedAt.UnixMilli(), 10) }

// VMs reads a page of machines.
func (r *Reader) VMs(ctx context.Context, filter broker.VMFilter, page broker.Page) (ShortList[VM], error) {
	vms, total, err := r.store.ListVMs(ctx, filter, page)
	if err != nil {
		return ShortList[VM]{}, broker.Wrap(err, "list VMs")
	}
	if err := r.readTraffic(ctx, vms); err != nil {
		return ShortList[VM]{}, err
	}
	records := make([]VM, len(vms))
	for i := range vms {
		if records[i], err = r.VM(ctx, &vms[i], false); err != nil {
			return ShortList[VM]{}, err
		}
	}
	return ShortListOf(records, total, page), nil
}

// observed is "current" out of what the poller stored, with the names that the hypervisor's live object has.
func observed(vm *broker.VM) map[string]any {
	seen := &vm.Observed
	if seen.At == nil {
		return nil
	}
	cpus := vm.Spec.Sockets * vm.Spec.Cores
	status := seen.Power
	if status == "paused" { // PVE calls a paused guest running and says the rest in qmpstatus
		status = "running"
	}
	return map[string]any{"data": map[string]any{
		"status": status, "qmpstatus": seen.Power, "name": vm.Name, "vmid": vm.VMID, "cpu": seen.CPU, "cpus": cpus,
		"mem": seen.Memory, "maxmem": int64(vm.Spec.MemoryMB) << 20, "disk": 0, "maxdisk": int64(vm.Spec.SystemDiskGB) << 30,
		"uptime": seen.Uptime, "netin": seen.NetIn, "netout": seen.NetOut, "time": seen.At.Unix(),
	}}
}

package admin

import (
	"context"

	"gantry/server/api/ams"
	"gantry/server/api/route"
	"gantry/server/broker"
)

// adoptionRoutes take over guests that exist on hypervisors, and let go of machines. Gantry's own.
func (c *Calls) adoptionRoutes() []route.Route {
	return []route.Route{
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getUnmanagedVmByPage", Auth: route.Admin, Name: "getUnmanagedVmByPage", Group: "vm",
			Summary: "Lists the guests of the hypervisors that are nobody's machine here, as they were seen last. Gantry's own.",
		}, c.listUnmanaged),
		route.Of(route.Route{
			Methods: post, Path: "/{adminPath}/adoptVm", Auth: route.Admin, Name: "adoptVm", Group: "vm", Audit: true,
			Summary: "Takes a guest over that exists already, without touching it: only the owner mark is written (Proxmox VE: the tag gantry and, where the " +
				"uuid of smbios1 can't serve, a line in the notes; libvirt: an element in the metadata). Its addresses are recorded in the pools that have them. " +
				"The same guest again gives the same machine. Gantry's own.",
		}, c.adopt),
		route.Of(route.Route{
			Methods: eraseAny, Path: "/{adminPath}/releaseVm/{hostId}", Auth: route.Admin, Name: "releaseVm", Group: "vm", Audit: true,
			Summary: "Lets a machine go: owner mark and record are removed, addresses become free, the guest stays as it is. Calling it again is no error. Gantry's own.",
		}, c.release),
	}
}

// UnmanagedRequest asks for a page.
type UnmanagedRequest struct {
	NodeID int64  `json:"nodeid" in:"query" rule:"min=1" doc:"guests of this node only"`
	Search string `json:"search" in:"query" rule:"max=64" doc:"beginning of a name"`
	ams.Paging
}

// UnmanagedVM is a guest that is nobody's machine here.
type UnmanagedVM struct {
	NodeID    *int64 `json:"nodeid" doc:"null where the node is not known here"`
	NodeName  string `json:"nodeName"`
	NodeType  string `json:"nodeType"`
	ClusterID int64  `json:"clusterId"`
	VMID      int    `json:"vmid"`
	Name      string `json:"name"`
	Status    string `json:"status" doc:"running, stopped, paused, suspended or unknown"`
	CPUs      int    `json:"cpus"`
	Memory    int64  `json:"memory" doc:"bytes"`
	Disk      int64  `json:"disk" doc:"bytes, of all disks"`
	Template  bool   `json:"template" doc:"templates can't be taken over"`
	Lock      string `json:"lock" doc:"what works on it; empty = nothing"`
	SeenTime  int64  `json:"seenTime" doc:"since when it is like this, in milliseconds"`
}

func (c *Calls) listUnmanaged(ctx context.Context, _ *route.Call, request UnmanagedRequest) (ams.List[UnmanagedVM], error) {
	filter := broker.UnmanagedFilter{Search: request.Search}
	if request.NodeID != 0 {
		node, err := c.Store.FindNode(ctx, request.NodeID)
		if broker.Is(err, broker.NotFound) {
			failure := broker.Because(broker.NotFound, broker.ReasonNodeNotFound, request.NodeID)
			failure.Field = "nodeid"
			return ams.List[UnmanagedVM]{}, failure
		}
		if err != nil {
			return ams.List[UnmanagedVM]{}, broker.Wrap(err, "find the node")
		}
		filter.ClusterID, filter.Node = node.ClusterID, node.Name
	}
	page := request.Wanted()
	guests, total, err := c.Store.ListUnmanaged(ctx, filter, page)
	if err != nil {
		return ams.List[UnmanagedVM]{}, broker.Wrap(err, "list unmanaged guests")
	}
	reader, nodes := ams.NewReader(c.Store), map[int64]map[string]int64{}
	records := make([]UnmanagedVM, len(guests))
	for i, guest := range guests {
		if nodes[guest.ClusterID] == nil {
			list, err := c.Store.ListClusterNodes(ctx, guest.ClusterID)
			if err != nil {
				return ams.List[UnmanagedVM]{}, broker.Wrap(err, "list the nodes of a cluster")
			}
			nodes[guest.ClusterID] = map[string]int64{}
			for _, node := range list {
				nodes[guest.ClusterID][node.Name] = node.ID
			}
		}
		kind, err := reader.Kind(ctx, guest.ClusterID)
		if err != nil {
			return ams.List[UnmanagedVM]{}, err
		}
		records[i] = UnmanagedVM{
			NodeName: guest.Node, NodeType: kind, ClusterID: guest.ClusterID, VMID: guest.VMID, Name: guest.Name, Status: guest.Power,
			CPUs: guest.CPUs, Memory: guest.MemoryBytes, Disk: guest.DiskBytes, Template: guest.Template, Lock: guest.Lock,
			SeenTime: guest.SeenAt.UnixMilli(),
		}
		if id, known := nodes[guest.ClusterID][guest.Node]; known {
			records[i].NodeID = &id
		}
	}
	return ams.ListOf(records, total, page, func(record *UnmanagedVM) UnmanagedVM { return *record }), nil
}

// AdoptRequest takes a guest over.
type AdoptRequest struct {
	NodeID    int64         `json:"nodeid" rule:"required,min=1" doc:"a node of the guest's cluster"`
	VMID      int           `json:"vmid" rule:"required,min=1" doc:"see getUnmanagedVmByPage"`
	Hostname  string        `json:"hostname" rule:"max=63" doc:"default: as the guest is called"`
	Addresses ams.IPConfig  `json:"ipConfig" doc:"the addresses that the guest uses, by number: \"ip=192.0.2.7/24\"; default: those that the hypervisor gives it by cloud-init. A pool that has one marks it as used; it must be free."`
	APIID     int64         `json:"apiId" rule:"min=1" doc:"API key that the machine is given to; default: the panel's"`
	PlanID    int64         `json:"configureTemplateId" rule:"min=1" doc:"plan, noted only"`
	Username  string        `json:"username" rule:"max=64" doc:"noted only"`
	Password  string        `json:"password" rule:"max=128" doc:"noted only"`
	Expires   ams.Timestamp `json:"expirationTime" doc:"Unix time of 10 or 13 digits; default: never"`
}

func (c *Calls) adopt(ctx context.Context, call *route.Call, request AdoptRequest) (ams.VM, error) {
	for _, address := range request.Addresses {
		if address == "" {
			return ams.VM{}, broker.InvalidField("ipConfig", "must name the addresses that the guest uses")
		}
	}
	adopt := broker.AdoptRequest{
		NodeID: request.NodeID, VMID: request.VMID, Name: request.Hostname, Tenant: request.APIID, PlanID: request.PlanID,
		Addresses: request.Addresses, Username: request.Username, Password: request.Password,
	}
	if !request.Expires.IsZero() {
		adopt.ExpiresAt = &request.Expires.Time
	}
	vm, err := c.Broker.Adopt(ctx, adopt, call.Actor)
	if err != nil {
		return ams.VM{}, err
	}
	return ams.NewReader(c.Store).VM(ctx, vm, false)
}

func (c *Calls) release(ctx context.Context, _ *route.Call, request ams.HostPath) (route.Null, error) {
	return nil, c.Broker.Release(ctx, request.HostID)
}

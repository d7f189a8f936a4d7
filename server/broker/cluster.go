package broker

import "time"

// Cluster is one hypervisor endpoint: a PVE cluster or a libvirt host.
type Cluster struct {
	ID   int64
	Kind string // driver name: "pve", "libvirt", …; the {nodeType} of the AMS paths
	Name string
	// Endpoint is where Options lead, as Fleet.Endpoint names it: unique among the clusters of a kind.
	Endpoint string
	// Options open the driver (see hypervisor.Option); the store encrypts the whole map.
	Options map[string]string
	// TLSPin is the SHA-256 of the leaf certificate in lower-case hex, learnt at first use.
	TLSPin  string
	Version string // as the hypervisor says it, e.g. "9.2.11"
	// VMIDFrom and VMIDTo bound the ids that Gantry gives out here, both inclusive.
	VMIDFrom, VMIDTo int
	Disabled         bool
	// Observed by the fleet poller.
	SeenAt    *time.Time
	LastError string
	CreatedAt time.Time
}

// NodeStatus is what the AMS wire calls status: 0 online, 1 offline, 2 disabled by the operator.
type NodeStatus int

const (
	NodeOnline   NodeStatus = 0
	NodeOffline  NodeStatus = 1
	NodeDisabled NodeStatus = 2
)

// Node is one host of a cluster. Its ID is the AMS nodeid.
type Node struct {
	ID        int64
	ClusterID int64
	Name      string // as the hypervisor calls it; unique in the cluster
	Label     string // for people; may be empty
	AreaID    *int64
	Status    NodeStatus
	// DefaultStorage is used for storage "auto" when set; else the storage with most room is chosen.
	DefaultStorage string
	// Observed.
	CPUs        int
	MemoryBytes int64
	SeenAt      *time.Time
	LastError   string
	// SSH is optional: only needed to install the node daemon.
	SSHPort     int
	SSHUsername string
	SSHPassword string // encrypted at rest
	// SSHHostKey is the host key (authorized_keys format) that has to be met there; "" = the first one met is kept.
	SSHHostKey string
	// Daemon is the node's `gantry controlled`; URL is empty when the node has none.
	Daemon    Daemon
	CreatedAt time.Time
}

// Daemon tells how to reach a node's `gantry controlled`.
type Daemon struct {
	URL    string // https://host:7600
	Secret string // encrypted at rest
	TLSPin string
	// Status: nil never asked, 0 fine, 1 unreachable (AMS controllerStatus).
	Status *int
}

// Storage is a place for volumes, as one node sees it.
type Storage struct {
	ID        int64
	ClusterID int64
	NodeID    int64
	Name      string
	Type      string   // dir, lvmthin, zfspool, rbd, …
	Content   []string // PVE content types: images, import, iso, …
	Shared    bool
	Enabled   bool
	Active    bool
	// Bytes, as last seen.
	Total, Available int64
	SeenAt           *time.Time
}

// Holds tells whether the storage takes a content type.
func (s Storage) Holds(content string) bool {
	for _, each := range s.Content {
		if each == content {
			return true
		}
	}
	return false
}

// Bridge is a network that NICs can be attached to, as one node sees it.
type Bridge struct {
	ID     int64
	NodeID int64
	Name   string
	Active bool
	CIDR   string
}

// Area is a region; areas form a tree.
type Area struct {
	ID       int64
	Name     string // unique among the children of its parent
	ParentID *int64 // nil at the top
}

package broker

import (
	"context"
	"time"
)

// PlacementStore keeps what orders are placed by.
type PlacementStore interface {
	// PlacementFacts reads what placement goes by, of all nodes of clusters that are not disabled, in a number of queries that does not
	// depend on how many there are. Nodes are in the order of their ids.
	PlacementFacts(ctx context.Context, question PlacementQuestion) (*PlacementFacts, error)
	// LockPlaces makes other orders that name one of the places wait until the transaction ends. Sort the names.
	LockPlaces(ctx context.Context, places ...string) error
	// NodePromises sums up what the machines of nodes were promised, those in the recycle bin included; no nodes = all.
	NodePromises(ctx context.Context, question PlacementQuestion, nodes ...int64) ([]Promise, error)
	// SaveNodeLoads writes how nodes are used, in one statement.
	SaveNodeLoads(ctx context.Context, loads []NodeLoad) error
}

// PlacementQuestion is what facts are wanted for.
type PlacementQuestion struct {
	Tenant int64
	Group  string // "" = none
	Bridge string
	// AnyBridge takes a node's only active bridge where it lacks Bridge.
	AnyBridge bool
	Image     int64
	// IPv4 and IPv6 are how many free addresses are wanted, Named those that are wanted by name.
	IPv4, IPv6 int
	Named      []string
}

// PlacementFacts are the nodes.
type PlacementFacts struct{ Nodes []PlacementNode }

// PlacementNode is a node with all that an order needs there.
type PlacementNode struct {
	ID, ClusterID int64
	Kind          string
	Name, Label   string
	AreaID        *int64
	Status        NodeStatus
	CPUs          int
	MemoryBytes   int64
	// DefaultStorage is what "auto" means, "" = the roomiest.
	DefaultStorage string
	HasDaemon      bool
	HasBridge      bool
	// HasIPv4 and HasIPv6 tell that there are enough free addresses, HasNamed that all named ones are free.
	HasIPv4, HasIPv6, HasNamed bool
	Image                      ImageCopyState
	Storages                   []Storage // active ones that take disks
	// Load is nil when the node was never looked at.
	Load *NodeLoad
	// Promises to its machines, one for each storage.
	Promises []Promise
}

// Promise is what machines of one node were promised whose system disk is on one storage. DiskGB counts what is on the storage, of
// whatever machine; the other sums count machines once.
type Promise struct {
	NodeID           int64
	Storage          string
	VMs, OfTenant    int
	OfGroup          int // of the tenant's anti-affinity group
	CPUs             int64
	MemoryMB, DiskGB int64
	CreatingDiskGB   int64 // part of DiskGB that is not written yet
}

// NodeLoad is how a node was used when it was looked at last.
type NodeLoad struct {
	NodeID      int64
	At          time.Time
	CPU         float64 // 0 … 1
	MemoryBytes int64
	// ForeignCPUs and ForeignMemoryBytes are what running guests have that are not Gantry's.
	ForeignCPUs        int
	ForeignMemoryBytes int64
}

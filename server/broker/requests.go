package broker

import (
	"context"
	"net/netip"
	"time"
)

// Actor is who asks: for audit, fair share and idempotency.
type Actor struct {
	Name      string // "admin:root", "api:1690208651216"
	APIKeyID  int64  // 0 for the panel
	RequestID string
}

// AddNodeRequest adds a hypervisor endpoint and its nodes (AMS insertNodeMaster).
type AddNodeRequest struct {
	Kind    string            // driver; "" = "pve"
	Options map[string]string // for the driver, see hypervisor.Kind.Options
	// TLSPin is the SHA-256 of the hypervisor's certificate or SSH host key; "" = the known one, else learnt now.
	TLSPin string
	// NodeName is the node wanted; "" = the one that answers.
	NodeName                 string
	Label                    string
	AreaID                   *int64
	Disabled                 bool
	SSHPort                  int
	SSHUsername, SSHPassword string
	// Daemon: URL and secret of the node's `gantry controlled`; empty = none.
	DaemonURL, DaemonSecret, DaemonTLSPin string
	// DaemonOptional makes a daemon that can't be reached a problem instead of an error: the node is added without it.
	DaemonOptional bool
}

// PoolByMask makes a pool with every usable address of the gateway's subnet (AMS insertIpPoolByMask).
type PoolByMask struct {
	Name       string
	NodeID     int64
	Gateway    string
	Mask       int
	DNS1, DNS2 string
}

// PoolByRange adds a range to a pool, both ends inclusive (AMS insertIpPoolByRange).
type PoolByRange struct {
	PoolID     int64
	StartIP    string
	EndIP      string
	DNS1, DNS2 string // "" = as the pool
}

// PoolChange changes a pool (AMS updateIpPool); nil = as it is.
type PoolChange struct {
	ID            int64
	Name, Gateway *string
	Prefix        *int
	DNS1, DNS2    *string
	NodeID        *int64
}

// AddressChange changes an address (AMS updateIp); nil = as it is.
type AddressChange struct {
	ID int64
	// DNS1 and DNS2 are its own name servers; "" = those of the pool.
	DNS1, DNS2 *string
	// State is AddressFree or AddressReserved. AddressUsed is taken where the address is used anyway.
	State *AddressState
}

// OrderRequest orders a VM (AMS VmParams). Nil means "not sent": the documented default holds.
type OrderRequest struct {
	Kind                          string // {nodeType}
	NodeID                        int64
	Placement                     *Placement `json:",omitempty"` // chooses the node, see PlaceAnywhere; nil = NodeID does
	IdempotencyKey                string     // "" = none
	PlanID                        int64      // 0 = none
	Hostname                      string
	Sockets, Cores, Threads       *int
	CPUPercent                    *int // AMS cpuUnits: limit in percent of the ordered cores; nil or 0 = unlimited
	CPUType                       string
	Nested, Devirtualization, KVM *bool
	Arch                          string
	ACPI                          *bool
	MemoryMB                      *int
	SwapMB                        *int
	Storage                       string
	SystemDiskGB                  *int
	DataDisks                     []DataDisk
	IO                            IOLimits // zero fields = unlimited
	Bridge                        string
	BandwidthMbps                 *int
	TrafficGB                     *int64 // AMS flowLimit; nil or 0 = unlimited
	OnBoot                        *bool
	Image                         string // id, name or file name
	OSFamily                      string
	Username                      string
	Password                      string
	SSHKeys                       []string
	// Addresses asked for by name; an empty entry means "any free one".
	Addresses []string
	// CPUModel and ModelGroup name hardware models; nil and 0 = none. A group goes before a CPU model.
	CPUModel, ModelGroup *int64
	IPv4Count, IPv6Count *int
	Nameserver           string
	ExpiresAt            *time.Time

	// downloadImage lets the order begin with the download of its image.
	downloadImage bool
}

// ReinstallRequest puts a fresh system disk under a VM.
type ReinstallRequest struct {
	VM       int64
	Image    string
	Password string // "" = keep
	// ResetDataDisks makes the data disks empty again.
	ResetDataDisks bool
}

// PowerAction is an AMS power word.
type PowerAction string

const (
	PowerStart    PowerAction = "start"
	PowerStop     PowerAction = "stop"     // asks the guest, then forces (peer study §4.5)
	PowerShutdown PowerAction = "shutdown" // pulls the plug (peer study §4.5: "HardOff")
	PowerReboot   PowerAction = "reboot"
	PowerSuspend  PowerAction = "suspend"
	PowerResume   PowerAction = "resume"
	PowerPause    PowerAction = "pause"   // stops it and forbids the customer to start it
	PowerUnpause  PowerAction = "unpause" // allows and starts it
	// PowerExpire stops like PowerStop what has expired; it is the sweeper's and nobody else's.
	PowerExpire PowerAction = "expire"
	// PowerOverTraffic stops likewise what has used up its traffic.
	PowerOverTraffic PowerAction = "over-traffic"
)

// ClusterReport is what a live check of a cluster found.
type ClusterReport struct {
	Version, TLSPin, ThisNode string
	Problems                  []ClusterProblem
	Nodes                     []ClusterNode
}

// ClusterProblem is something the operator should mend.
type ClusterProblem struct {
	Reason string
	Text   map[Language]string
	Fatal  bool
}

// ClusterNode is a node with its storages and bridges, as discovered.
type ClusterNode struct {
	Node     Node
	Storages []Storage
	Bridges  []Bridge
}

// Capability is something that not every hypervisor can do.
type Capability string

const (
	CapabilitySuspendToDisk Capability = "suspend_to_disk"
	CapabilitySnapshots     Capability = "snapshots"
	CapabilityGuestAgent    Capability = "guest_agent"
	CapabilityHistory       Capability = "history"
	CapabilityImageFetch    Capability = "image_fetch"
	// CapabilityArguments: guests can be given raw QEMU arguments (PVE: with the password of root@pam only).
	CapabilityArguments Capability = "arguments"
	// CapabilityConsole: screens can be reached over the cluster's connection (libvirt: not over TLS).
	CapabilityConsole Capability = "console"
)

// Fleet is what the domain needs from live hypervisors. Every call is bounded (10 s) and returns *Error.
type Fleet interface {
	// Endpoint checks options of a driver and names where they lead, without asking anybody. Invalid names the option.
	Endpoint(kind string, options map[string]string) (string, error)
	// Inspect opens the cluster's driver, probes and discovers. cluster.TLSPin may be empty: the report carries the pin seen.
	Inspect(ctx context.Context, cluster *Cluster) (*ClusterReport, error)
	// Forget drops cached connections of a cluster whose options changed or that was deleted.
	Forget(cluster int64)
	// Live gives the AMS "current" object of a VM; History its samples; GuestConfig its configuration, secrets masked.
	Live(ctx context.Context, vm *VM) (map[string]any, error)
	History(ctx context.Context, vm *VM, timeframe, consolidation string) ([]map[string]float64, error)
	GuestConfig(ctx context.Context, vm *VM) (map[string]any, error)
	NodeLive(ctx context.Context, node *Node) (map[string]any, error)
	NodeHistory(ctx context.Context, node *Node, timeframe, consolidation string) ([]map[string]float64, error)
	// CheckDaemon asks a node's daemon for its status; pin "" = learn it. It returns the pin and the daemon's version.
	CheckDaemon(ctx context.Context, daemon Daemon) (pin, version string, err error)
	// ForeignGuest reads a guest that is not Gantry's yet. Unsupported where the driver takes over none.
	ForeignGuest(ctx context.Context, cluster int64, node string, vmid int) (*ForeignGuest, error)
	// MarkGuest puts a machine's owner mark on its guest; having it is success. UnmarkGuest takes it off; a guest that is gone is success,
	// one without the mark Conflict with ReasonForeignGuest.
	MarkGuest(ctx context.Context, vm *VM) error
	UnmarkGuest(ctx context.Context, vm *VM) error
	// Supports tells whether a cluster's hypervisor has a capability; false when the cluster can't be opened.
	Supports(ctx context.Context, cluster int64, capability Capability) bool
	// Kinds lists driver names.
	Kinds() []string
}

// Queue is what the domain needs from the task engine.
type Queue interface {
	// Wake tells that a task was committed.
	Wake()
	// Arriving tells that an order is being taken, until ended is called. The queue begins little else while many are.
	Arriving() (ended func())
	// Deadline gives how long a task of the kind may take.
	Deadline(kind string) time.Duration
}

// ParseAddress reads an address that a person or a billing system typed; zones and mapped addresses are refused.
func ParseAddress(field, text string) (netip.Addr, error) {
	address, err := netip.ParseAddr(text)
	if err != nil || address.Zone() != "" || address.Is4In6() || !address.IsValid() {
		return netip.Addr{}, InvalidField(field, "%.60q is not an IP address", text)
	}
	return address, nil
}

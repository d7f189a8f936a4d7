// Package hypervisor is the contract between Gantry and whatever runs the guests. Every driver implements Driver and passes
// the hypertest suite; package memory is the reference.
//
// All errors are *broker.Error. Kinds that callers rely on: NotFound, Exists, Invalid, Locked (retry), Busy (retry),
// Unreachable (retry; nothing was changed), UnknownOutcome (a reply was lost: look with FindGuest or FindOperation, never
// repeat blindly), HypervisorAuth, Exhausted, Unsupported, Failed.
package hypervisor

import (
	"context"
	"net"
	"time"

	"gantry/server/broker"
)

// Driver speaks to one cluster. It is safe for concurrent use and keeps no state that a restart would miss.
//
// A call that changes a guest which exists (everything but CreateGuest) first verifies ref.Owner against the owner mark on the
// hypervisor and fails with Conflict and broker.ReasonForeignGuest when they differ: nothing was sent then. A guest that is
// still being created has no mark yet: Locked. Console counts as a change: a screen is shown to its owner only.
//
// Arguments are checked before anything is sent (see CheckSpec): Invalid names the field. A call whose ctx ends is Unreachable
// when it can't have changed anything and UnknownOutcome when it may have.
type Driver interface {
	// Info tells kind and capabilities; no call is made.
	Info() Info

	// Probe checks address, certificate, credential, version and privileges at cluster add. A problem that the operator can
	// mend (missing privilege, old version) is listed in Probe.Problems; the error is for what makes the cluster unusable.
	Probe(ctx context.Context) (Probe, error)
	// Discover lists nodes, storages and bridges with details. Called at cluster add and every few minutes.
	Discover(ctx context.Context) (Discovery, error)
	// Inventory is the cheap call of the poller: nodes' state and all guests in one request a cluster.
	Inventory(ctx context.Context) (Inventory, error)

	// FindImage looks for an image file by name among what the node can import without `controlled`; NotFound when it is not
	// there or not complete, Unsupported when the node can't (older than PVE 8.4, no storage with content "import").
	FindImage(ctx context.Context, node, fileName string) (ImageVolume, error)
	// FetchImage lets the node download the image into an import storage. Unsupported as above. An image that is there already
	// is success, so a fetch whose reply was lost may be repeated. Where FindImage finds the file afterwards, its name may have
	// been fitted to the hypervisor (PVE: "x.img" is kept as "x.qcow2"); FindImage takes the same name as FetchImage.
	FetchImage(ctx context.Context, node string, image ImageFetch) (Operation, error)
	// DeleteImage removes a fetched image; a missing one is no error. Conflict while disks of guests stand on it: nothing was changed.
	DeleteImage(ctx context.Context, node, volume string) error

	// FindGuest reads one guest live. NotFound when the hypervisor has none with ref.ID on any node. Owner is not checked.
	FindGuest(ctx context.Context, ref GuestRef) (Guest, error)
	// CreateGuest makes a guest that is off, with all disks, its NICs, cloud-init data, limits, boot order and owner mark.
	// Exists when the id is taken. The system disk has the image's size afterwards: grow it with ResizeDisk. Disks may be
	// empty or lack SystemDisk: then the guest has no system disk until AttachVolume.
	CreateGuest(ctx context.Context, spec GuestSpec) (Operation, error)
	// DeleteGuest removes guest and volumes. The guest must be off (Conflict). NotFound when it is gone already.
	DeleteGuest(ctx context.Context, ref GuestRef) (Operation, error)
	// Power presses one of the buttons. Already being in the wanted state is success (an empty Operation). A button that makes no
	// sense in the present state (Reboot, Reset, Suspend, Resume of a guest that is off) is Conflict with ReasonVMNotRunning.
	// Stop overrules a Shutdown that still waits. The operation of a Reboot is finished when the guest runs again.
	Power(ctx context.Context, ref GuestRef, action PowerAction, options PowerOptions) (Operation, error)
	// ResizeDisk grows a disk to size bytes. A disk that has that size or more already is left alone (empty Operation); a disk
	// that the guest does not have is NotFound.
	ResizeDisk(ctx context.Context, ref GuestRef, disk string, size int64) (Operation, error)
	// ReplaceDisk makes a new volume from spec the disk; the volume that was there is kept, detached. The guest must be off
	// (Conflict).
	ReplaceDisk(ctx context.Context, ref GuestRef, spec DiskSpec) (Operation, error)
	// AttachVolume makes a detached volume of the guest the disk spec.Key, with spec's limits; the volume that was there is kept,
	// detached. The guest must be off (Conflict). NotFound when the guest has no such volume; empty Operation when it is that disk
	// already, and stays it at the next start: a change of the disk that failed halfway is taken back. Only Key and IO of spec count.
	AttachVolume(ctx context.Context, ref GuestRef, volume string, spec DiskSpec) (Operation, error)
	// DeleteVolume destroys a detached volume of the guest; one that is gone already is no error, one in use is Conflict.
	DeleteVolume(ctx context.Context, ref GuestRef, volume string) error
	// Configure changes options of a guest: cloud-init data (regenerated), limits, hardware, boot order. Nil fields stay; all nil is
	// an empty Operation. What a running guest can't take over is in force after its next start.
	Configure(ctx context.Context, ref GuestRef, change GuestChange) (Operation, error)

	// Status is the live state as the AMS "current" object wants it.
	Status(ctx context.Context, ref GuestRef) (Status, error)
	// Config is the guest's configuration, for display only; secrets are masked.
	Config(ctx context.Context, ref GuestRef) (map[string]any, error)
	// History gives round-robin samples; timeframe hour, day, week, month or year, consolidation AVERAGE or MAX.
	History(ctx context.Context, ref GuestRef, timeframe, consolidation string) ([]Sample, error)
	// NodeHistory is the same for a node, and NodeStatus its live state for display.
	NodeHistory(ctx context.Context, node, timeframe, consolidation string) ([]Sample, error)
	NodeStatus(ctx context.Context, node string) (map[string]any, error)

	// Console opens a way to the guest's screen: single use, must be dialled within seconds. Conflict with ReasonVMNotRunning when
	// the guest is off, Unsupported without Capabilities.Console.
	Console(ctx context.Context, ref GuestRef) (ConsoleTarget, error)

	// OperationState asks how an operation stands. NotFound when the hypervisor no longer knows it.
	OperationState(ctx context.Context, operation Operation) (OperationState, error)
	// FindOperation looks for the newest operation of a kind on a guest that our credential started at or after since, running
	// or ended: it is how a lost reply is adopted. NotFound when there is none. since is by our clock, the hypervisor's may differ:
	// drivers allow for that, so an operation from a second or two before since may be returned. A request whose reply was lost
	// may still be on its way: NotFound is certain only when it is asked some seconds after the loss. For OperationFetch ref.ID is
	// 0 and the newest fetch on ref.Node is meant.
	FindOperation(ctx context.Context, ref GuestRef, kind OperationKind, since time.Time) (Operation, error)

	// ClearStaleCreate removes what a create left behind when it died with its node (PVE: a config with only `lock: create`).
	// proof is the operation that made it; the driver checks that it was this create, has ended, and failed or vanished.
	// Unsupported when the credential may not unlock: then `controlled` on the node has to, and the call is repeated after that. Conflict when the guest is whole or
	// proof does not hold.
	ClearStaleCreate(ctx context.Context, ref GuestRef, proof Operation) (Operation, error)

	// Close frees connections.
	Close() error
}

// Open makes a driver for a cluster. It makes no call.
type Open func(settings Settings) (Driver, error)

// Settings are what a driver is opened with.
type Settings struct {
	Options map[string]string
	// TLSPin is the certificate's SHA-256 in lower-case hex; "" = not pinned yet: only Probe may be called, which reports it.
	TLSPin string
	// Now is the clock; nil = time.Now.
	Now func() time.Time
}

// Kind describes a driver to the panel and the registry.
type Kind struct {
	Name    string // "pve", "libvirt", "memory"
	Title   string // "Proxmox VE"
	Options []Option
	Open    Open
	// Endpoint names where options lead, at most 255 bytes: clusters of a kind with one endpoint are one cluster. It checks the options as
	// Open does and makes no call.
	Endpoint func(options map[string]string) (string, error)
}

// Option is one field of the "add cluster" form.
type Option struct {
	Name     string
	Title    map[broker.Language]string
	Help     map[broker.Language]string
	Type     string // text, number, secret, choice, bool
	Choices  []string
	Default  string
	Required bool
}

// Info is what a driver can do.
type Info struct {
	Kind         string
	Capabilities Capabilities
}

// Capabilities that not every hypervisor has. A false one makes API and panel say "not supported by this hypervisor".
type Capabilities struct {
	SuspendToDisk, Snapshots, Templates, CPULimit, IOLimits, BandwidthLimit, NestedVirtualization, SMBIOS, CPUModels bool
	GuestAgent, History, ImageFetch, Architectures, Arguments, Console                                               bool
}

// Probe is the result of the check at cluster add.
type Probe struct {
	Version string
	TLSPin  string
	// ThisNode is the node that answered.
	ThisNode string
	Nodes    []string
	// Problems tell what is missing, each with what to do about it.
	Problems []Problem
}

// Problem is something the operator should mend. Fatal ones forbid the cluster.
type Problem struct {
	Reason string // stable word, e.g. "missing_privilege"
	Text   map[broker.Language]string
	Fatal  bool
}

// Discovery is all that a cluster consists of.
type Discovery struct {
	Version string
	Nodes   []NodeDetail
}

// NodeDetail is one node with its storages and bridges.
type NodeDetail struct {
	Name        string
	Online      bool
	CPUs        int
	MemoryBytes int64
	Storages    []Storage
	Bridges     []Bridge
}

// Storage is a place for volumes on a node. Bytes.
type Storage struct {
	Name, Type       string
	Content          []string
	Shared           bool
	Enabled, Active  bool
	Total, Available int64
}

// Bridge is a network of a node.
type Bridge struct {
	Name   string
	CIDR   string
	Active bool
}

// Inventory is one poll.
type Inventory struct {
	At     time.Time
	Nodes  []NodeState
	Guests []GuestSummary
}

// NodeState is a node in an inventory.
type NodeState struct {
	Name        string
	Online      bool
	CPU         float64
	CPUs        int
	MemoryUsed  int64
	MemoryTotal int64
	Uptime      int64
}

// GuestSummary is a guest in an inventory. It may lag behind by the hypervisor's own interval (PVE: 10 s).
type GuestSummary struct {
	ID          int
	Node        string
	Name        string // may be empty when the hypervisor has not sampled it yet
	Power       Power
	CPU         float64
	CPUs        int
	MemoryUsed  int64
	MemoryTotal int64
	DiskTotal   int64
	Uptime      int64
	// Bytes since the guest was started: what it received and sent, read and wrote.
	NetIn, NetOut       int64
	DiskRead, DiskWrite int64
	Template            bool
	Lock                string
}

// GuestRef names a guest. Node is where it was last seen; a driver finds a guest that was migrated.
type GuestRef struct {
	ID    int
	Node  string
	Owner string // SMBIOS uuid, lower case
}

// Power is a guest's power state.
type Power string

const (
	PowerRunning   Power = "running"
	PowerStopped   Power = "stopped"
	PowerPaused    Power = "paused"
	PowerSuspended Power = "suspended" // to disk
	PowerUnknown   Power = "unknown"
)

// Guest is a guest read live.
type Guest struct {
	ID    int
	Node  string
	Name  string
	Owner string // "" when it has no mark (yet)
	Power Power
	// Lock is the hypervisor's lock word: "create", "backup", …; "" = none.
	Lock string
	// Incomplete tells that a create is or was at work and did not finish: the owner mark may still be missing.
	Incomplete bool
	Disks      []GuestDisk
	// Detached are volumes that the guest owns but does not use.
	Detached []string
}

// GuestDisk is a disk of a guest.
type GuestDisk struct {
	Key       string // scsi0
	Volume    string
	SizeBytes int64
}

// GuestSpec is all that CreateGuest needs.
type GuestSpec struct {
	Ref     GuestRef
	Name    string
	Sockets int
	Cores   int
	CPUType string // "" = the hypervisor's default
	// HideHypervisor keeps the guest from seeing that it is virtual (PVE: cpu hidden=1).
	HideHypervisor bool
	KVM            bool
	Arch           string
	ACPI           bool
	MemoryMB       int
	OnBoot         bool
	OSFamily       string // linux, windows, solaris, other
	// GuestAgent: the guest runs QEMU's guest agent, which then is asked to shut down in place of the power button.
	GuestAgent bool
	Limits     Limits
	Disks      []DiskSpec // the first is the system disk
	NICs       []NICSpec
	CloudInit  *CloudInit // nil = the image has none
	// Hardware is what the guest is shown instead of the hypervisor's own; Unsupported where it NeedsArguments and Arguments is false.
	Hardware broker.GuestHardware
	// CloudInitStorage holds the cloud-init drive.
	CloudInitStorage string
	Description      string
}

// SystemDisk is the key of the disk that guests boot from.
const SystemDisk = "scsi0"

// DiskSpec is a disk to make. SizeBytes is used when ImportFrom is empty.
type DiskSpec struct {
	Key        string // scsi0
	Storage    string
	SizeBytes  int64
	ImportFrom string // volume of FindImage
	// IO bounds the disk; 0 in a field is refused, see UnlimitedIO.
	IO broker.IOLimits
}

// UnlimitedIO is no limit at all.
func UnlimitedIO() broker.IOLimits {
	none := broker.Unlimited
	return broker.IOLimits{
		ReadMBps: none, ReadMBpsMax: none, WriteMBps: none, WriteMBpsMax: none,
		ReadIOPS: none, ReadIOPSMax: none, WriteIOPS: none, WriteIOPSMax: none,
	}
}

// NICSpec is a network device.
type NICSpec struct {
	MAC    string
	Bridge string
	// RateMbps limits it in both directions as far as the hypervisor can, in 10^6 bits a second; broker.Unlimited = no limit.
	RateMbps int64
}

// Limits of the whole guest.
type Limits struct {
	// CPUPercent of all sockets × cores together: 100 = every core fully; broker.Unlimited = no limit.
	CPUPercent int64
}

// CloudInit is what the guest learns at boot. Password is in the clear and must not be logged.
type CloudInit struct {
	User       string
	Password   string
	SSHKeys    []string
	Addresses  []broker.VMAddress // of the first NIC; the first of each version is configured, with its gateway
	Nameserver string             // space-separated
}

// GuestChange changes a guest; nil fields stay as they are.
type GuestChange struct {
	Name       *string
	Sockets    *int
	Cores      *int
	MemoryMB   *int
	Limits     *Limits
	NIC        *NICSpec // replaces the first NIC, MAC must be the same
	OSFamily   *string
	GuestAgent *bool
	OnBoot     *bool
	CloudInit  *CloudInit
	// SystemDiskIO sets the limits of the system disk.
	SystemDiskIO *broker.IOLimits
	// Processor changes what CPU and tables the guest is shown; Unsupported where the driver can do that at creation only.
	Processor *Processor
}

// Processor is the part of GuestSpec that says what CPU and tables the guest is shown.
type Processor struct {
	CPUType        string
	HideHypervisor bool
	Hardware       broker.GuestHardware
}

// PowerAction is a power button.
type PowerAction string

const (
	Start    PowerAction = "start"
	Stop     PowerAction = "stop"     // at once, like pulling the plug
	Shutdown PowerAction = "shutdown" // asks the guest
	Reboot   PowerAction = "reboot"   // asks the guest
	Reset    PowerAction = "reset"    // at once
	Suspend  PowerAction = "suspend"  // to disk where the hypervisor can, see Capabilities
	Resume   PowerAction = "resume"
)

// PowerOptions refine Shutdown.
type PowerOptions struct {
	// Timeout is how long a Shutdown waits for the guest; 0 = the hypervisor's default.
	Timeout time.Duration
	// Force stops the guest hard when the timeout is over.
	Force bool
}

// Operation is something outside that takes time. The zero value means "done already".
type Operation struct {
	// ID is opaque and stable over restarts (PVE: the UPID).
	ID string
	// Node where it runs, as far as known.
	Node string
}

// Done tells that there is nothing to wait for.
func (o Operation) Done() bool { return o.ID == "" }

// OperationKind is what FindOperation looks for.
type OperationKind string

const (
	OperationCreate   OperationKind = "create"
	OperationDelete   OperationKind = "delete"
	OperationStart    OperationKind = "start"
	OperationStop     OperationKind = "stop"
	OperationShutdown OperationKind = "shutdown"
	OperationReboot   OperationKind = "reboot"
	OperationReset    OperationKind = "reset"
	OperationSuspend  OperationKind = "suspend"
	OperationResume   OperationKind = "resume"
	OperationResize   OperationKind = "resize"
	OperationConfig   OperationKind = "configure"
	OperationFetch    OperationKind = "fetch-image"
)

// OperationState is how an operation stands.
type OperationState struct {
	Finished bool
	// Err is nil when it ended well; a *broker.Error with the hypervisor's words else (Locked for lock timeouts, UnknownOutcome where who
	// carried it out died at it, …).
	Err error
	// Warnings are notes of an operation that ended well (PVE: "WARNINGS: n").
	Warnings []string
	// Progress is 0…1; negative = unknown.
	Progress float64
}

// ConsoleTarget is where and how to reach a screen. It never leaves the server side.
type ConsoleTarget struct {
	// Dial opens the screen through the driver's own connection, for hypervisors whose screens no other program can reach: the server
	// then passes the bytes on to the console proxy. The context bounds the dialling only; closing the driver ends the connection.
	// With Dial, Network and Address are empty.
	Dial func(ctx context.Context) (net.Conn, error)
	// Network is "websocket" (Address is a wss URL), "unix" (a path on the machine of vncproxy) or "tcp".
	Network string
	Address string
	Header  map[string]string
	TLSPin  string
	// Password answers RFB's VNC authentication; only its first 8 bytes count (RFC 6143 §7.2.2).
	Password string
}

// Status is a live state for display. Raw is the hypervisor's own object where it has one (PVE status/current).
type Status struct {
	Power Power
	Raw   map[string]any
}

// Sample is one row of a history; keys as PVE's rrddata has them (time, cpu, mem, maxmem, netin, netout, diskread, diskwrite).
type Sample map[string]float64

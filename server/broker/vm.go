package broker

import (
	"net/netip"
	"time"
)

// VMStatus is the AMS vmhost.status (peer study §5).
type VMStatus int

const (
	VMRunning       VMStatus = 0
	VMStopped       VMStatus = 1
	VMSuspended     VMStatus = 2 // to disk
	VMResuming      VMStatus = 3
	VMPaused        VMStatus = 4 // stopped by the operator or billing; the customer may not start it
	VMExpired       VMStatus = 5
	VMCreating      VMStatus = 6
	VMStarting      VMStatus = 7
	VMStopping      VMStatus = 8
	VMForceStopping VMStatus = 9
	VMSuspending    VMStatus = 10
	VMPausing       VMStatus = 11
	VMRebooting     VMStatus = 12
	VMReinstalling  VMStatus = 13
	VMResetPassword VMStatus = 14
	VMOverTraffic   VMStatus = 15
	// VMDeleting is ours: shown on the wire as force stopping.
	VMDeleting VMStatus = 16
	// VMFailed is ours: an action failed and could not be undone; an operator has to look. Shown as stopped.
	VMFailed VMStatus = 17
)

// Transitional tells that a task is at work on the VM. Every transitional status has a task with a deadline.
func (s VMStatus) Transitional() bool {
	switch s {
	case VMRunning, VMStopped, VMSuspended, VMPaused, VMExpired, VMOverTraffic, VMFailed:
		return false
	}
	return true
}

// StatusGrace is how long an inventory may contradict what a task saw live without being believed.
const StatusGrace = 30 * time.Second

// Unlimited marks a limit that does not exist. It is a value of its own: 0 would mean "nothing at all".
const Unlimited int64 = -1

// VM is one ordered machine. Its ID is the AMS hostid.
type VM struct {
	ID        int64
	ClusterID int64
	NodeID    int64
	Kind      string // driver name
	VMID      int    // guest id on the hypervisor, unique in the cluster
	Name      string // host name; unique among VMs that are not deleted
	// Owner is the SMBIOS uuid that marks the guest as this VM on the hypervisor.
	Owner string
	// Tenant takes turns with other tenants for the task queue: the API key that ordered, or 0 for the panel.
	Tenant int64
	Status VMStatus
	// StatusAt is when Status was last set by a task or an order. The poller does not overrule it for StatusGrace, because an
	// inventory lags behind (PVE: 10 s).
	StatusAt time.Time
	// TaskID is the task that works on the VM now; nil when none does. Set and cleared in the task's own transactions.
	TaskID  *int64
	Spec    VMSpec
	ImageID int64
	// Password is the guest's login password; the store encrypts it.
	Username, Password string
	// PendingPassword is what a reinstall or a password task sets; it becomes Password when the guest has it. Encrypted like Password.
	PendingPassword string
	// ConsolePassword is what the console asks its viewer for; "" = nothing. Encrypted like Password.
	ConsolePassword string
	// SystemVolume is the hypervisor's name of the system disk's volume, once known.
	SystemVolume string
	ExpiresAt    *time.Time
	CreatedAt    time.Time
	// StartedOnce tells that the guest was seen running after its last (re)install.
	StartedOnce bool
	// RecycledAt is when the VM went into the recycle bin; nil = in service. Its guest is off then, and it keeps all that it holds
	// until DestroyAt.
	RecycledAt, DestroyAt *time.Time
	// RecycledStatus is what the VM was when it went into the recycle bin: what a restore makes of it.
	RecycledStatus VMStatus
	// RanUntilExpiry tells that the VM ran when it expired.
	RanUntilExpiry bool
	// LastError is the plain text of the last failed task; empty after the next success.
	LastError string
	Observed  Observed
}

// Observed is what the hypervisor said last.
type Observed struct {
	At     *time.Time
	Power  string // running, stopped, paused, suspended, unknown; "" = never seen
	Node   string
	CPU    float64 // share of its CPUs, 0…1
	Memory int64   // bytes
	Uptime int64   // seconds
	NetIn  int64   // bytes since guest start
	NetOut int64
	// Drift says in plain words how the guest differs from what was ordered; empty = it does not.
	Drift string
}

// VMSpec is what was ordered: the desired state. It is stored as JSON.
type VMSpec struct {
	Sockets int `json:"sockets"`
	Cores   int `json:"cores"`
	Threads int `json:"threads"`
	// CPUPercent limits all CPUs together: 100 = one core's worth per core ordered. Unlimited = no limit.
	CPUPercent       int64      `json:"cpuPercent"`
	CPUType          string     `json:"cpuType"`
	Nested           bool       `json:"nested"`
	Devirtualization bool       `json:"devirtualization"`
	KVM              bool       `json:"kvm"`
	Arch             string     `json:"arch"`
	ACPI             bool       `json:"acpi"`
	MemoryMB         int        `json:"memoryMB"`
	SwapMB           int        `json:"swapMB"`
	Storage          string     `json:"storage"`
	SystemDiskGB     int        `json:"systemDiskGB"`
	DataDisks        []DataDisk `json:"dataDisks"`
	IO               IOLimits   `json:"io"`
	Bridge           string     `json:"bridge"`
	MAC              string     `json:"mac"`
	// BandwidthMbps limits the NIC; Unlimited = no limit.
	BandwidthMbps int64 `json:"bandwidthMbps"`
	// TrafficBytes is the traffic quota a period; Unlimited = none.
	TrafficBytes int64       `json:"trafficBytes"`
	OnBoot       bool        `json:"onBoot"`
	OSFamily     string      `json:"osFamily"` // linux, windows, solaris, other
	Image        string      `json:"image"`    // file name
	ImageName    string      `json:"imageName"`
	CloudInit    bool        `json:"cloudInit"`
	GuestAgent   bool        `json:"guestAgent"`
	Nameserver   string      `json:"nameserver"`
	Addresses    []VMAddress `json:"addresses"`
	SSHKeys      []string    `json:"sshKeys,omitempty"`
	// PlanID, CPUModel and ModelGroup are what was ordered by; nil = none.
	PlanID     *int64 `json:"planId,omitempty"`
	CPUModel   *int64 `json:"cpuModel,omitempty"`
	ModelGroup *int64 `json:"modelGroup,omitempty"`
	// Processor is the digest of CPU and tables that the guest was given last, see ProcessorDigest; "" = before there was one.
	Processor string `json:"processor,omitempty"`
	// AntiAffinity names machines of one tenant that must not share a node; "" = none.
	AntiAffinity string `json:"antiAffinity,omitempty"`
	// Adopted tells that the guest was there before Gantry: its disks are not Gantry's to delete unless the operator says so.
	Adopted bool `json:"adopted,omitempty"`
}

// CPUs are the virtual CPUs of the machine: sockets × cores × threads.
func (s *VMSpec) CPUs() int { return s.Sockets * s.Cores * max(s.Threads, 1) }

// DataDisk is an additional disk. Number 1 is scsi1.
type DataDisk struct {
	Number  int    `json:"number"`
	SizeGB  int    `json:"sizeGB"`
	Storage string `json:"storage"`
}

// IOLimits bound the system disk; each is Unlimited or > 0. Megabytes (2^20… PVE counts MB/s as 10^6·1.048576) as PVE's mbps_rd.
type IOLimits struct {
	ReadMBps, ReadMBpsMax, WriteMBps, WriteMBpsMax int64
	ReadIOPS, ReadIOPSMax, WriteIOPS, WriteIOPSMax int64
}

// VMAddress is an address that the VM holds, with what the guest needs to use it.
type VMAddress struct {
	AddressID int64      `json:"addressId"`
	IP        netip.Addr `json:"ip"`
	Prefix    int        `json:"prefix"`
	Gateway   netip.Addr `json:"gateway"`
}

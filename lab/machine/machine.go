// Package machine is what the lab needs from whatever really holds its guests: volumes, a cloud-init drive, and a process
// with power buttons and a screen. Two backends exist: memory (thousands of guests, instant) and qemu (real QEMU processes).
package machine

import (
	"context"
	"errors"
	"net"
	"time"
)

// ErrNotRunning is returned by Process methods once the guest has ended.
var ErrNotRunning = errors.New("guest is not running")

// ErrHalted is returned by Backend.Attach, once, for a guest that was stopped because its lab stopped all of them.
var ErrHalted = errors.New("guest was stopped together with its lab")

// ErrNoAgent is returned by Process.Agent when nothing in the guest answers; the text is the one PVE answers with.
var ErrNoAgent = errors.New("QEMU guest agent is not running")

// Backend keeps volumes and runs guests. All paths are absolute paths inside the lab's data directory.
// Implementations are safe for concurrent use. Errors carry the text that a real node would print (qemu-img's stderr).
type Backend interface {
	// CreateVolume makes an empty volume of size bytes; format is "raw", "qcow2" or "vmdk". The parent folder exists.
	CreateVolume(ctx context.Context, path, format string, size int64) error
	// ImportVolume copies source (any format qemu-img reads) to a new volume. progress gets 0…1 and may be nil.
	ImportVolume(ctx context.Context, source, target, format string, progress func(float64)) error
	// CloneVolume makes target a copy-on-write child of base when linked, else a full copy.
	CloneVolume(ctx context.Context, base, target, format string, linked bool) error
	// ResizeVolume grows a volume to size bytes; vmRunning tells that a guest has it open (QMP block_resize).
	ResizeVolume(ctx context.Context, path, format string, size int64) error
	// DeleteVolume removes a volume; a missing one is no error.
	DeleteVolume(ctx context.Context, path string) error
	// VolumeInfo reads virtual size and bytes used on disk. os.ErrNotExist when it is missing.
	VolumeInfo(ctx context.Context, path string) (VolumeInfo, error)
	// SnapshotVolume, RollbackVolume and DeleteVolumeSnapshot act on an internal qcow2 snapshot.
	SnapshotVolume(ctx context.Context, path, name string) error
	RollbackVolume(ctx context.Context, path, name string) error
	DeleteVolumeSnapshot(ctx context.Context, path, name string) error
	// WriteCloudInit writes the NoCloud ISO (label "cidata") to path, in a qcow2 volume where the name ends in .qcow2.
	WriteCloudInit(ctx context.Context, path string, data CloudInit) error
	// Start runs a guest and returns when QEMU answered on QMP (or at once in memory).
	Start(ctx context.Context, spec Spec) (Process, error)
	// Attach finds a guest that an earlier lab process started and that still runs; ErrNotRunning when there is none, ErrHalted when
	// the lab stopped it with all others.
	// A lab killed with -9 leaves its QEMU processes running, as a real node's daemons do.
	Attach(ctx context.Context, spec Spec) (Process, error)
	// AgentExec and friends are reached through Process.
}

// VolumeInfo is what qemu-img info says.
type VolumeInfo struct {
	Format      string
	VirtualSize int64 // bytes
	UsedSize    int64 // bytes on disk
	Backing     string
}

// CloudInit holds the four NoCloud files as text; empty ones are left out.
type CloudInit struct {
	MetaData, UserData, NetworkConfig, VendorData string
}

// Spec describes one guest as PVE's config does.
type Spec struct {
	Node     string
	VMID     int
	Name     string
	RunDir   string // sockets, pid file and logs of this guest; exists
	KVM      bool   // wanted; the backend falls back to TCG where /dev/kvm is of no use
	Sockets  int
	Cores    int
	MemoryMB int
	CPU      string   // QEMU cpu model, "" = backend default
	UUID     string   // SMBIOS system uuid
	SMBIOS   []string // raw values for further -smbios options (type=…,…), already escaped
	Args     []string // extra QEMU arguments (PVE option args), already split
	Disks    []Disk
	NICs     []NIC
	Serial   bool     // a serial port whose output goes to RunDir/serial.log
	Agent    bool     // virtio-serial channel org.qemu.guest_agent.0
	Boot     []string // disk and net keys in order, e.g. scsi0, ide2, net0
}

// Disk is one drive of a guest.
type Disk struct {
	Key      string // scsi0, ide2, virtio1 …
	Path     string
	Format   string
	CDROM    bool
	ReadOnly bool
	// Limits as PVE has them; 0 = no limit. Bytes per second and operations per second.
	ReadBytesPerSecond, ReadBytesPerSecondMax, WriteBytesPerSecond, WriteBytesPerSecondMax int64
	ReadOpsPerSecond, ReadOpsPerSecondMax, WriteOpsPerSecond, WriteOpsPerSecondMax         int64
}

// NIC is one network device.
type NIC struct {
	Key    string // net0
	Model  string // virtio, e1000 …
	MAC    string
	Bridge string  // existing bridge when the lab runs as root, else user-mode network
	Rate   float64 // MB/s as in PVE's rate=; 0 = no limit
	Tap    string  // interface name on the node, tap110i0
}

// Process is a running guest. Methods return ErrNotRunning after its end.
type Process interface {
	// PID of QEMU (in memory: an invented number).
	PID() int
	// Done is closed when the guest has ended, however it ended.
	Done() <-chan struct{}
	// Powerdown presses the ACPI power button; the guest may ignore it.
	Powerdown(ctx context.Context) error
	// Reset presses reset.
	Reset(ctx context.Context) error
	// Pause and Resume stop and continue the CPUs.
	Pause(ctx context.Context) error
	Resume(ctx context.Context) error
	// Kill ends the guest at once (SIGTERM, then SIGKILL) and returns when it is gone.
	Kill(ctx context.Context) error
	// SendKeys presses keys together, named as QEMU's monitor does: ctrl-alt-delete. Unknown names are an error in QEMU's words.
	SendKeys(ctx context.Context, keys string) error
	// ResizeDisk tells the running guest about a larger disk, in bytes.
	ResizeDisk(ctx context.Context, key string, size int64) error
	// VNC opens a connection to the guest's RFB server (no authentication: the caller speaks for the password).
	VNC(ctx context.Context) (net.Conn, error)
	// Stats is a sample of counters.
	Stats(ctx context.Context) (Stats, error)
	// Agent runs one guest-agent command (QGA JSON) and returns its "return" member; it errors when no agent answers.
	Agent(ctx context.Context, command string, arguments any) ([]byte, error)
}

// Stats are cumulative since start, except CPU.
type Stats struct {
	Started                         time.Time
	CPU                             float64 // share of all CPUs since the last sample, 0…1
	MemoryBytes                     int64
	DiskReadBytes, DiskWrittenBytes int64
	NICs                            map[string]NICStats // by tap name
}

// NICStats are seen from the guest: In is what it received. Bytes.
type NICStats struct{ In, Out int64 }

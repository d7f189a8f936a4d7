// Package qemu runs the lab's guests as real QEMU processes and keeps their volumes with qemu-img.
//
// A guest outlives the lab: QEMU detaches itself at start, so that a lab killed with -9 finds its guests again with Attach,
// as a real node's daemons do. All that is known of a running guest lies in its run directory: qemu.pid, the sockets
// qmp.sock, vnc.sock, serial.sock and agent.sock, and serial.log.
package qemu

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync"

	"gantry/lab/machine"
)

// Options configure a Backend. The zero value is usable.
type Options struct {
	// Root is the folder inside which backing files of volumes may lie. An imported image that refers to any other file
	// is refused: it would read the node's own files into a guest. Empty: no backing files at all in imports.
	Root string
	// HostBridge is the bridge of this machine that guests are plugged into, whatever bridge of their node they name.
	// Empty: the bridge of the same name.
	HostBridge string
	// Logger gets what is worth knowing and no error, such as a rate limit that this kernel cannot hold. Nil: discarded.
	Logger *slog.Logger
}

// Backend implements machine.Backend. It is safe for concurrent use.
type Backend struct {
	imageTool  string // path of qemu-img
	emulator   string // path of qemu-system-x86_64
	root       string
	hostBridge string
	logger     *slog.Logger
	kvm        kvmProbe

	mu      sync.Mutex
	closed  bool
	guests  map[string]*Process // by run directory
	opening map[string]struct{} // run directories in which Start or Attach is at work
}

var _ machine.Backend = (*Backend)(nil)

// New finds QEMU's programs in PATH and fails when they are not installed.
func New(options Options) (*Backend, error) {
	imageTool, err := exec.LookPath("qemu-img")
	if err != nil {
		return nil, fmt.Errorf("QEMU is not installed (Debian package qemu-utils): %w", err)
	}
	emulator, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		return nil, fmt.Errorf("QEMU is not installed (Debian package qemu-system-x86): %w", err)
	}
	logger := options.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Backend{
		imageTool:  imageTool,
		emulator:   emulator,
		root:       options.Root,
		hostBridge: options.HostBridge,
		logger:     logger,
		guests:     map[string]*Process{},
		opening:    map[string]struct{}{},
	}, nil
}

// Close stops watching the guests and leaves them running; a later Backend finds them with Attach. Their Done channels
// stay open.
func (b *Backend) Close() error {
	b.mu.Lock()
	b.closed = true
	guests := make([]*Process, 0, len(b.guests))
	for _, guest := range b.guests {
		guests = append(guests, guest)
	}
	b.mu.Unlock()
	for _, guest := range guests {
		guest.stopWatching()
	}
	return nil
}

// claim reserves a run directory for one Start or Attach; release ends that.
func (b *Backend) claim(runDir string) (release func(), err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, errors.New("backend is closed")
	}
	if _, busy := b.opening[runDir]; busy {
		return nil, fmt.Errorf("another start is at work in %s", runDir)
	}
	b.opening[runDir] = struct{}{}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.opening, runDir)
	}, nil
}

// adopt enters a guest that runs and begins to watch it.
func (b *Backend) adopt(guest *Process) {
	b.mu.Lock()
	b.guests[guest.runDir] = guest
	b.mu.Unlock()
	go guest.watch(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.guests[guest.runDir] == guest {
			delete(b.guests, guest.runDir)
		}
	})
}

// guest returns the running guest of a run directory, or nil.
func (b *Backend) guest(runDir string) *Process {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.guests[runDir]
}

// userOf finds the running guest that has a volume open, and the drive's key there.
func (b *Backend) userOf(path string) (guest *Process, key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, guest := range b.guests {
		for _, disk := range guest.spec.Disks {
			if disk.Path == path {
				return guest, disk.Key
			}
		}
	}
	return nil, ""
}

// isRoot tells whether this process may make network devices.
func isRoot() bool { return os.Geteuid() == 0 }

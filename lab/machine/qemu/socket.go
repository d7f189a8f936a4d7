package qemu

import (
	"context"
	"fmt"
	"net"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Files of a run directory.
const (
	pidFile      = "qemu.pid"
	qmpSocket    = "qmp.sock"
	vncSocket    = "vnc.sock"
	serialSocket = "serial.sock"
	serialLog    = "serial.log"
	agentSocket  = "agent.sock"
	haltedFile   = "halted" // is there when StopGuests stopped the guest
)

// maxSocketPath is the longest path that fits into sockaddr_un with its terminator (unix(7)).
const maxSocketPath = 107

// dialSocket connects to a socket in a run directory. A path too long for sockaddr_un is reached through the directory's
// file descriptor; QEMU itself binds by relative names.
func dialSocket(ctx context.Context, runDir, name string) (net.Conn, error) {
	path := filepath.Join(runDir, name)
	if len(path) > maxSocketPath {
		directory, err := unix.Open(runDir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("open run directory %s: %w", runDir, err)
		}
		defer func() { _ = unix.Close(directory) }()
		path = fmt.Sprintf("/proc/self/fd/%d/%s", directory, name)
	}
	var dialer net.Dialer
	return dialer.DialContext(ctx, "unix", path)
}

package libvirttest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"gantry/internal/libvirthost"
)

const (
	stageVariable = "GANTRY_LIBVIRTTEST_FOLDER"
	// tlsConfiguration is the part of libvirtd.conf that makeTLS writes.
	tlsConfiguration = "libvirtd.conf"
)

// inside is process 1 of the namespaces: it prepares the folders, starts libvirtd and obeys the test process.
func inside() int {
	folder := os.Getenv(stageVariable)
	err := prepare(folder)
	if err == nil {
		err = libvirthost.Serve(os.Stdin, os.Stdout, answers, "--listen")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_ = os.RemoveAll(folder) // the test process does it, too, unless it was killed
	return 0
}

// answers tells whether libvirtd listens everywhere; the unix socket comes before it has read its certificates.
func answers() bool {
	connection, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", tlsPort))
	if err != nil {
		return false
	}
	_ = connection.Close()
	return libvirthost.Answers(libvirthost.Socket)
}

func prepare(folder string) error {
	if err := libvirthost.PrivateMounts(); err != nil {
		return err
	}
	// /sys shows the network of whom mounted it: libvirt looks for bridges there.
	if err := syscall.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return fmt.Errorf("mount /sys: %w", err)
	}
	// A container's KVM may be there and not work, and what is tested does not depend on it.
	if err := libvirthost.HideKVM(folder); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	tls, err := os.ReadFile(filepath.Join(folder, "tls", tlsConfiguration))
	if err != nil {
		return err
	}
	if err := libvirthost.BindFolders(folder, string(tls)); err != nil {
		return err
	}
	if err := os.Mkdir("/run/sshd", 0o755); err != nil {
		return err
	}
	return network()
}

func network() error {
	for _, arguments := range [][]string{
		{"link", "set", "lo", "up"},
		{"link", "add", Bridge, "type", "bridge"},
		{"address", "add", "192.0.2.254/24", "dev", Bridge},
		{"link", "set", Bridge, "up"},
		// A bridge is only up with a port that is.
		{"link", "add", Bridge + "p", "type", "veth", "peer", "name", Bridge + "q"},
		{"link", "set", Bridge + "p", "master", Bridge},
		{"link", "set", Bridge + "p", "up"},
		{"link", "set", Bridge + "q", "up"},
	} {
		if output, err := exec.Command("ip", arguments...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %v: %w: %s", arguments, err, output)
		}
	}
	return libvirthost.Await("bridge "+Bridge, func() bool {
		state, err := os.ReadFile("/sys/class/net/" + Bridge + "/operstate")
		return err == nil && string(state) == "up\n"
	})
}

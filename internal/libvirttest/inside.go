package libvirttest

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	stageVariable = "GANTRY_LIBVIRTTEST_FOLDER"
	readyLine     = "ready\n"
	// tlsConfiguration is the part of libvirtd.conf that makeTLS writes.
	tlsConfiguration = "libvirtd.conf"
)

// privateFolders of libvirt get empty folders of the test mounted over them.
var privateFolders = []string{"/etc/libvirt", "/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt"}

// configuration files of the host. QEMU runs as root without confinement: namespaces, control groups and security drivers need
// what a container does not have.
var configuration = map[string]string{
	"/etc/libvirt/libvirtd.conf": "listen_tcp = 0\nauth_unix_ro = \"none\"\nauth_unix_rw = \"none\"\n" +
		"host_uuid_source = \"machine-id\"\nmax_client_requests = 8\n",
	"/etc/libvirt/qemu.conf": "user = \"root\"\ngroup = \"root\"\nsecurity_driver = \"none\"\ncgroup_controllers = []\nnamespaces = []\n" +
		"stdio_handler = \"file\"\nremember_owner = 0\n",
}

// inside is process 1 of the namespaces: it prepares the folders, starts libvirtd and obeys the test process.
func inside() int {
	folder := os.Getenv(stageVariable)
	if err := serve(folder); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_ = os.RemoveAll(folder) // the test process does it, too, unless it was killed
	return 0
}

func serve(folder string) error {
	if err := prepare(folder); err != nil {
		return err
	}
	daemon := exec.Command("/usr/sbin/libvirtd", "--listen")
	daemon.Stdout, daemon.Stderr = os.Stderr, os.Stderr
	daemon.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	if err := daemon.Start(); err != nil {
		return err
	}
	defer func() { _ = daemon.Process.Kill() }()
	go reap()
	if err := await("libvirtd", answers); err != nil {
		return err
	}
	if _, err := os.Stdout.WriteString(readyLine); err != nil {
		return err
	}
	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		switch orders.Text() {
		case "pause":
			_ = daemon.Process.Signal(syscall.SIGSTOP)
		case "resume":
			_ = daemon.Process.Signal(syscall.SIGCONT)
		}
	}
	return nil // the test process closed our input: with process 1 everything ends
}

// answers tells whether libvirtd listens everywhere; the unix socket comes before it has read its certificates.
func answers() bool {
	for network, address := range map[string]string{"unix": "/run/libvirt/libvirt-sock", "tcp": net.JoinHostPort("127.0.0.1", tlsPort)} {
		connection, err := net.Dial(network, address)
		if err != nil {
			return false
		}
		_ = connection.Close()
	}
	return true
}

// reap collects orphans, as process 1 has to: a QEMU that stays a zombie looks alive to libvirtd.
func reap() {
	for {
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(-1, &status, 0, nil); errors.Is(err, syscall.ECHILD) {
			return
		}
	}
}

func prepare(folder string) error {
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	// /sys shows the network of whom mounted it: libvirt looks for bridges there.
	if err := syscall.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return fmt.Errorf("mount /sys: %w", err)
	}
	// libvirt closes every possible file descriptor before it runs a program, which takes seconds where a million are allowed.
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 2048, Max: 2048}); err != nil {
		return fmt.Errorf("limit open files: %w", err)
	}
	if err := hideKVM(folder); err != nil {
		return err
	}
	filters, err := os.ReadDir("/etc/libvirt/nwfilter")
	if err != nil {
		return err
	}
	texts := map[string]string{}
	for _, entry := range filters {
		text, err := os.ReadFile(filepath.Join("/etc/libvirt/nwfilter", entry.Name()))
		if err != nil {
			return err
		}
		texts[filepath.Join("/etc/libvirt/nwfilter", entry.Name())] = string(text)
	}
	for _, private := range privateFolders {
		source := filepath.Join(folder, private)
		if err := os.MkdirAll(source, 0o755); err != nil {
			return err
		}
		if err := syscall.Mount(source, private, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount over %s: %w", private, err)
		}
	}
	if err := syscall.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	for path, text := range configuration {
		texts[path] = text
	}
	tls, err := os.ReadFile(filepath.Join(folder, "tls", tlsConfiguration))
	if err != nil {
		return err
	}
	texts["/etc/libvirt/libvirtd.conf"] += string(tls)
	texts["/etc/libvirt/storage/"+Pool+".xml"] = "<pool type='dir'><name>" + Pool + "</name><target><path>" + PoolFolder + "</path></target></pool>\n"
	for path, text := range texts {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	for _, each := range []string{"/run/libvirt", "/run/sshd", "/etc/libvirt/storage/autostart", "/var/log/libvirt/qemu", PoolFolder} {
		if err := os.MkdirAll(each, 0o755); err != nil {
			return err
		}
	}
	if err := os.Symlink("/etc/libvirt/storage/"+Pool+".xml", "/etc/libvirt/storage/autostart/"+Pool+".xml"); err != nil {
		return err
	}
	return network()
}

// hideKVM makes guests emulated: a container's /dev/kvm may be there and not work, and what is tested does not depend on it. libvirt
// asks QEMU anew for all it can do before every guest while access(2) says that /dev/kvm could be written to, so what is mounted over it
// is a file that not even root can write to.
func hideKVM(folder string) error {
	if _, err := os.Stat("/dev/kvm"); err != nil {
		return nil
	}
	empty := filepath.Join(folder, "kvm")
	if err := os.WriteFile(empty, nil, 0o400); err != nil {
		return err
	}
	if err := syscall.Mount(empty, "/dev/kvm", "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("hide /dev/kvm: %w", err)
	}
	if err := syscall.Mount("", "/dev/kvm", "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("hide /dev/kvm: %w", err)
	}
	return nil
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
	return await("bridge "+Bridge, func() bool {
		state, err := os.ReadFile("/sys/class/net/" + Bridge + "/operstate")
		return err == nil && string(state) == "up\n"
	})
}

// await polls: there is nobody to be told by.
func await(what string, holds func() bool) error {
	deadline := time.Now().Add(patience / 2)
	for !holds() {
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not come up", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

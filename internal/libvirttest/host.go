// Package libvirttest gives tests a real libvirtd with real QEMU: in mount, network and process namespaces of its own, with private
// folders over libvirt's own, so that nothing of the machine is read or changed and nothing is left when the test process ends.
// It needs root. A machine without libvirt fails the tests.
package libvirttest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gantry/internal/libvirthost"
)

const patience = time.Minute

// Bridge is a host bridge that every host has, and Pool a storage pool of type dir at PoolFolder.
const (
	Bridge     = "gantrybr0"
	Pool       = libvirthost.Pool
	PoolFolder = libvirthost.PoolFolder
)

// Host is a machine with a running libvirtd.
type Host struct {
	// Socket is where libvirtd listens, as the test process reaches it.
	Socket string

	process *exec.Cmd
	control io.WriteCloser
	said    *bufio.Reader
	ended   chan struct{}
	folder  string
	tls     TLS
}

// Main is for TestMain: it starts a host, lets the tests use it, and stops it. The test's own binary is what runs inside the
// namespaces, so TestMain has to call Main before anything else.
//
//	func TestMain(m *testing.M) { os.Exit(libvirttest.Main(m, &host)) }
func Main(m *testing.M, host **Host) int {
	if code, inside := Inside(); inside {
		return code
	}
	started, err := Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	*host = started
	code := m.Run()
	if err := started.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// Inside is for a TestMain that does not call Main: it comes first there and tells whether this process is what runs inside the
// namespaces; it has ended then, with that code.
func Inside() (code int, is bool) {
	if os.Getenv(stageVariable) == "" {
		return 0, false
	}
	return inside(), true
}

// Start makes a host without guests. The caller stops it, and has called Main or Inside in TestMain.
func Start() (*Host, error) {
	for _, program := range []string{"/usr/sbin/libvirtd", "qemu-system-x86_64", "ip", "nsenter"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("%s is missing: run scripts/install-packages.sh libvirt", program)
		}
	}
	folder, err := os.MkdirTemp("", "gantry-libvirt-")
	if err != nil {
		return nil, err
	}
	h := &Host{folder: folder, ended: make(chan struct{})}
	if err := errors.Join(h.makeTLS(), h.start()); err != nil {
		return nil, errors.Join(err, h.Stop())
	}
	return h, nil
}

func (h *Host) start() error {
	log, err := os.Create(filepath.Join(h.folder, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	h.process = exec.Command("/proc/self/exe")
	h.process.Env = append(os.Environ(), stageVariable+"="+h.folder)
	h.process.Stderr = log
	h.process.SysProcAttr = &syscall.SysProcAttr{
		// As process 1 of its own process namespace it takes QEMU and libvirtd with it, however it ends.
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID,
	}
	if h.control, err = h.process.StdinPipe(); err != nil {
		return err
	}
	output, err := h.process.StdoutPipe()
	if err != nil {
		return err
	}
	if err := h.process.Start(); err != nil {
		h.process = nil
		return fmt.Errorf("make namespaces for libvirtd (root is needed): %w", err)
	}
	go func() {
		_ = h.process.Wait()
		close(h.ended)
	}()
	h.Socket = h.Path(libvirthost.Socket)
	h.said = bufio.NewReader(output)
	return h.await()
}

// await returns when the inside has said that libvirtd takes connections.
func (h *Host) await() error {
	said := make(chan string, 1)
	go func() {
		line, _ := h.said.ReadString('\n')
		said <- line
	}()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case line := <-said:
		if line == libvirthost.ReadyLine {
			return nil
		}
	case <-ctx.Done():
	}
	return fmt.Errorf("libvirtd did not start: %s", h.log())
}

func (h *Host) log() string {
	text, err := os.ReadFile(filepath.Join(h.folder, "log"))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text))
}

// Path is where the test process reaches a file of the host.
func (h *Host) Path(file string) string {
	return fmt.Sprintf("/proc/%d/root%s", h.process.Process.Pid, file)
}

// Run runs a program on the host and returns what it printed.
func (h *Host) Run(t testing.TB, name string, arguments ...string) string {
	t.Helper()
	output, err := h.command(name, arguments...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, arguments, err, output)
	}
	return string(output)
}

func (h *Host) command(name string, arguments ...string) *exec.Cmd {
	pid := fmt.Sprint(h.process.Process.Pid)
	return exec.Command("nsenter", append([]string{"--target", pid, "--mount", "--net", "--pid", "--", name}, arguments...)...)
}

// Pause stops libvirtd from answering until the returned function is called; guests go on.
func (h *Host) Pause(t testing.TB) (resume func()) {
	t.Helper()
	h.tell(t, libvirthost.Pause)
	return func() { h.tell(t, libvirthost.Resume) }
}

// Restart kills libvirtd and returns when a new one answers; guests go on.
func (h *Host) Restart(t testing.TB) {
	t.Helper()
	h.tell(t, libvirthost.Restart)
	if err := h.await(); err != nil {
		t.Fatal(err)
	}
}

func (h *Host) tell(t testing.TB, word string) {
	t.Helper()
	if _, err := io.WriteString(h.control, word+"\n"); err != nil {
		t.Fatal(err)
	}
}

// Stop ends libvirtd and all guests, and removes their files.
func (h *Host) Stop() error {
	if h.process != nil {
		_ = h.control.Close() // the inside ends with it, as it does when the test process is killed
		select {
		case <-h.ended:
		case <-time.After(patience):
			_ = h.process.Process.Kill()
			<-h.ended
		}
	}
	return os.RemoveAll(h.folder)
}

package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"gantry/internal/qemutest"
	"gantry/lab/machine"
)

// starterVariable makes this test binary start the guest in its value (a machine.Spec as JSON) and wait to be killed.
const starterVariable = "GANTRY_TEST_START_GUEST"

func TestMain(m *testing.M) {
	if text := os.Getenv(starterVariable); text != "" {
		if err := startAndWait(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func startAndWait(text string) error {
	var spec machine.Spec
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		return err
	}
	backend, err := New(Options{})
	if err != nil {
		return err
	}
	guest, err := backend.Start(context.Background(), spec)
	if err != nil {
		return err
	}
	fmt.Println(guest.PID())
	select {}
}

func newBackend(t *testing.T, root string) *Backend {
	t.Helper()
	qemutest.Require(t)
	backend, err := New(Options{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = backend.Close() })
	return backend
}

// bareSpec is a guest without drives: it runs its BIOS and finds nothing to boot.
func bareSpec(t *testing.T, vmid int) machine.Spec {
	t.Helper()
	return machine.Spec{
		Node: "pve1", VMID: vmid, Name: fmt.Sprintf("vm%d", vmid), RunDir: t.TempDir(),
		Sockets: 1, Cores: 1, MemoryMB: 32,
	}
}

// start runs a guest and makes sure that it has ended when the test has.
func start(t *testing.T, backend *Backend, spec machine.Spec) *Process {
	t.Helper()
	guest, err := backend.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { endGuest(t, spec) })
	return guest.(*Process)
}

// endGuest ends whatever still runs for a spec, whoever started it.
func endGuest(t *testing.T, spec machine.Spec) {
	backend, err := New(Options{})
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = backend.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	guest, err := backend.Attach(ctx, spec)
	if errors.Is(err, machine.ErrNotRunning) || errors.Is(err, machine.ErrHalted) {
		return
	}
	if err == nil {
		err = guest.Kill(ctx)
	}
	if err != nil {
		t.Errorf("end guest %d: %v", spec.VMID, err)
	}
}

func waitDone(t *testing.T, guest machine.Process) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	select {
	case <-guest.Done():
	case <-ctx.Done():
		t.Fatal("guest did not end within a minute")
	}
}

// testNetwork makes a bridge for this test where it may, and returns the bridge's name ("" without root), the bridge's
// address and one for a guest.
func testNetwork(t *testing.T) (bridge string, gateway, guest netip.Addr) {
	t.Helper()
	// One of 256 networks of TEST-NET-2's neighbourhood by process id, so that two runs on one machine do not collide.
	third := byte(os.Getpid())
	gateway, guest = netip.AddrFrom4([4]byte{10, 213, third, 1}), netip.AddrFrom4([4]byte{10, 213, third, 5})
	if !isRoot() {
		return "", gateway, guest
	}
	bridge = fmt.Sprintf("gt%dbr", os.Getpid()%100000)
	if err := EnsureBridge(t.Context(), bridge, netip.PrefixFrom(gateway, 24).String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := RemoveBridge(ctx, bridge); err != nil {
			t.Error(err)
		}
		if bridgeExists(bridge) {
			t.Errorf("bridge %s is still there", bridge)
		}
	})
	return bridge, gateway, guest
}

func pings(t *testing.T, address netip.Addr) bool {
	t.Helper()
	return exec.CommandContext(t.Context(), "ping", "-n", "-c", "1", "-W", "1", address.String()).Run() == nil
}

// interfaceExists tells whether the node has a network interface of that name.
func interfaceExists(name string) bool {
	_, err := os.Stat(filepath.Join("/sys/class/net", name))
	return err == nil
}

package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gantry/internal/qemutest"
	"gantry/lab/machine"
)

// TestGuestSurvivesItsLab kills the process that started a guest with -9 and finds the guest again.
func TestGuestSurvivesItsLab(t *testing.T) {
	backend := newBackend(t, "")
	spec := bareSpec(t, 111)
	bridge, _, _ := testNetwork(t)
	spec.NICs = []machine.NIC{{Key: "net0", Bridge: bridge, Tap: "gt111i0"}}
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	lab := exec.CommandContext(ctx, os.Args[0])
	lab.Env = append(os.Environ(), starterVariable+"="+string(text))
	lab.Stderr = os.Stderr
	output, err := lab.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	killErr := lab.Process.Kill()
	_ = lab.Wait()
	t.Cleanup(func() { endGuest(t, spec) })
	if err != nil || killErr != nil {
		t.Fatal(err, killErr)
	}

	guest, err := backend.Attach(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if strconv.Itoa(guest.PID()) != strings.TrimSpace(line) {
		t.Errorf("attached to %d, the lab had started %s", guest.PID(), line)
	}
	if _, err := guest.Stats(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := backend.Start(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "already running") {
		t.Errorf("a second start: %v", err)
	}
	if err := guest.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-guest.Done():
	default:
		t.Error("Kill returned before the guest was gone")
	}
	if processRuns(guest.PID(), spec.RunDir) {
		t.Error("QEMU still runs")
	}
	if interfaceExists("gt111i0") {
		t.Error("the tap outlived its guest")
	}
}

// TestSendKeys presses keys that QEMU knows, and one that it does not.
func TestSendKeys(t *testing.T) {
	guest := start(t, newBackend(t, ""), bareSpec(t, 115))
	for _, fact := range []struct{ keys, problem string }{
		{"ctrl-alt-delete", ""},
		{"a", ""},
		{"nosuchkey", "invalid parameter: nosuchkey"},
	} {
		problem := ""
		if err := guest.SendKeys(t.Context(), fact.keys); err != nil {
			problem = err.Error()
		}
		if problem != fact.problem {
			t.Errorf("%s: %q, want %q", fact.keys, problem, fact.problem)
		}
	}
}

// TestHaltedGuest stops a guest together with its lab: the next lab learns of it once, and only of that.
func TestHaltedGuest(t *testing.T) {
	qemutest.Require(t)
	first := newBackend(t, "")
	halted, stopped := bareSpec(t, 113), bareSpec(t, 114)
	start(t, first, halted)
	if err := start(t, first, stopped).Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := first.StopGuests(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := newBackend(t, "")
	for _, fact := range []struct {
		what string
		spec machine.Spec
		want error
	}{
		{"stopped by itself", stopped, machine.ErrNotRunning},
		{"stopped with its lab", halted, machine.ErrHalted},
		{"stopped with its lab, again", halted, machine.ErrNotRunning},
	} {
		if _, err := second.Attach(t.Context(), fact.spec); !errors.Is(err, fact.want) {
			t.Errorf("%s: %v, want %v", fact.what, err, fact.want)
		}
	}
}

// TestAttachFinishesAnInterruptedStart finds a guest whose lab died before it let the CPUs run.
func TestAttachFinishesAnInterruptedStart(t *testing.T) {
	backend := newBackend(t, "")
	spec := bareSpec(t, 112)
	bridge, _, _ := testNetwork(t)
	spec.NICs = []machine.NIC{{Key: "net0", Bridge: bridge, Tap: "gt112i0", Rate: 1.5}}
	links, err := planLinks(spec)
	if err != nil {
		t.Fatal(err)
	}
	argv, err := arguments(spec, false, links)
	if err != nil {
		t.Fatal(err)
	}
	if err := backend.launch(t.Context(), spec.RunDir, argv); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { endGuest(t, spec) })
	guest, err := backend.Attach(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := guest.(*Process).execute(t.Context(), "query-status", nil)
	if err != nil || !strings.Contains(string(answer), `"running": true`) {
		t.Errorf("status %s, %v", answer, err)
	}
	if bridge == "" {
		return
	}
	if master, err := os.Readlink("/sys/class/net/gt112i0/master"); err != nil || filepath.Base(master) != bridge {
		t.Errorf("tap's bridge is %q, %v", master, err)
	}
	limits, err := run(t.Context(), commandTimeout, "tc", "qdisc", "show", "dev", "gt112i0")
	if err != nil || !strings.Contains(string(limits), "tbf") || !strings.Contains(string(limits), "rate 12582Kbit") {
		t.Errorf("tap's limits: %s, %v", limits, err)
	}
	if err := RemoveBridge(t.Context(), bridge); err == nil {
		t.Error("removed a bridge with a guest plugged in")
	}
	// The next test in this process makes the bridge anew.
	if err := guest.Kill(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAttachTakesNoForeignProcess(t *testing.T) {
	backend := newBackend(t, "")
	spec := bareSpec(t, 113)
	for name, content := range map[string]string{
		"another process": strconv.Itoa(os.Getpid()), "no process": "4194304", "init": "1", "nonsense": "x", "empty": "",
	} {
		if err := os.WriteFile(filepath.Join(spec.RunDir, pidFile), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := backend.Attach(t.Context(), spec); !errors.Is(err, machine.ErrNotRunning) {
			t.Errorf("%s: %v, want ErrNotRunning", name, err)
		}
		if backend.guest(spec.RunDir) != nil {
			t.Fatalf("%s: taken for a guest", name)
		}
	}
}

// TestKillOfAGuestThatIgnoresSIGTERM stops QEMU itself, so that only SIGKILL ends it.
func TestKillOfAGuestThatIgnoresSIGTERM(t *testing.T) {
	t.Parallel()
	backend := newBackend(t, "")
	spec := bareSpec(t, 114)
	guest := start(t, backend, spec)
	if err := guest.signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := guest.Stats(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("QMP of a stopped QEMU: %v", err)
	}
	if err := guest.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitDone(t, guest)
	// A killed QEMU leaves its files; the next start is not in their way.
	again := start(t, backend, spec)
	if again.PID() == guest.PID() {
		t.Error("no new process")
	}
}

func TestAgentThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	backend := newBackend(t, "")
	spec := bareSpec(t, 115)
	spec.Agent = true
	guest := start(t, backend, spec)
	if _, err := guest.Agent(t.Context(), "guest-ping", nil); !errors.Is(err, machine.ErrNoAgent) {
		t.Errorf("agent without a guest system: %v", err)
	}
}

// TestLongRunDirectory starts a guest whose sockets' paths do not fit into sockaddr_un.
func TestLongRunDirectory(t *testing.T) {
	backend := newBackend(t, "")
	spec := bareSpec(t, 116)
	spec.RunDir = filepath.Join(spec.RunDir, strings.Repeat("long-", 25))
	if err := os.Mkdir(spec.RunDir, 0o700); err != nil {
		t.Fatal(err)
	}
	checkVNC(t, start(t, backend, spec))
}

func TestStartRefuses(t *testing.T) {
	backend := newBackend(t, "")
	missing := filepath.Join(t.TempDir(), "missing.qcow2")
	for _, c := range []struct {
		name, want string
		change     func(*machine.Spec)
	}{
		{"no memory", "memory", func(s *machine.Spec) { s.MemoryMB = 0 }},
		{"relative run directory", "run directory", func(s *machine.Spec) { s.RunDir = "run" }},
		{"too many CPUs", "CPUs", func(s *machine.Spec) { s.Sockets, s.Cores = 99, 99 }},
		{"unknown bus", `"floppy0"`, func(s *machine.Spec) { s.Disks = []machine.Disk{{Key: "floppy0", Path: missing, Format: "qcow2"}} }},
		{"slot out of range", `"ide4"`, func(s *machine.Spec) { s.Disks = []machine.Disk{{Key: "ide4", Path: missing, Format: "qcow2"}} }},
		{"network path", "absolute", func(s *machine.Spec) { s.Disks = []machine.Disk{{Key: "scsi0", Path: "nbd:host:10809", Format: "raw"}} }},
		{"missing volume", "No such file or directory", func(s *machine.Spec) { s.Disks = []machine.Disk{{Key: "scsi0", Path: missing, Format: "qcow2"}} }},
		{"negative limit", "bps-read", func(s *machine.Spec) {
			s.Disks = []machine.Disk{{Key: "scsi0", Path: missing, Format: "qcow2", ReadBytesPerSecond: -1}}
		}},
		{"unknown NIC model", `"token-ring"`, func(s *machine.Spec) { s.NICs = []machine.NIC{{Key: "net0", Model: "token-ring"}} }},
		{"options in a MAC", "net0", func(s *machine.Spec) {
			s.NICs = []machine.NIC{{Key: "net0", MAC: "02:00:00:00:00:01,romfile=/etc/passwd"}}
		}},
		{"bad uuid", "UUID", func(s *machine.Spec) { s.UUID = "x" }},
		{"bad args", "no-such-option", func(s *machine.Spec) { s.Args = []string{"-no-such-option"} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec := bareSpec(t, 117)
			c.change(&spec)
			guest, err := backend.Start(t.Context(), spec)
			if err == nil {
				_ = guest.Kill(t.Context())
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q does not say %q", err, c.want)
			}
			if runningPID(spec.RunDir) != 0 {
				t.Error("something runs")
			}
		})
	}
}

// TestLimitsReachQEMU reads the limits back from QEMU.
func TestLimitsReachQEMU(t *testing.T) {
	backend := newBackend(t, "")
	path := filepath.Join(t.TempDir(), "vm-118,disk-0.raw")
	if err := backend.CreateVolume(t.Context(), path, "raw", 64<<20); err != nil {
		t.Fatal(err)
	}
	spec := bareSpec(t, 118)
	spec.Disks = []machine.Disk{{
		Key: "virtio1", Path: path, Format: "raw",
		ReadBytesPerSecond: 10 << 20, ReadBytesPerSecondMax: 20 << 20, WriteBytesPerSecond: 5 << 20, WriteBytesPerSecondMax: 6 << 20,
		ReadOpsPerSecond: 100, ReadOpsPerSecondMax: 200, WriteOpsPerSecond: 50, WriteOpsPerSecondMax: 60,
	}}
	guest := start(t, backend, spec)
	answer, err := guest.execute(t.Context(), "query-block", nil)
	if err != nil {
		t.Fatal(err)
	}
	var drives []struct {
		Device   string
		Inserted map[string]any
	}
	if err := json.Unmarshal(answer, &drives); err != nil {
		t.Fatal(err)
	}
	if len(drives) != 1 || drives[0].Device != "drive-virtio1" {
		t.Fatalf("drives %v", drives)
	}
	for name, want := range map[string]float64{
		"bps_rd": 10 << 20, "bps_rd_max": 20 << 20, "bps_wr": 5 << 20, "bps_wr_max": 6 << 20,
		"iops_rd": 100, "iops_rd_max": 200, "iops_wr": 50, "iops_wr_max": 60,
	} {
		if got := drives[0].Inserted[name]; got != want {
			t.Errorf("%s = %v, want %v", name, got, want)
		}
	}
	if err := backend.ResizeVolume(t.Context(), path, "raw", 128<<20); err != nil {
		t.Error(err)
	}
	if info, err := backend.VolumeInfo(t.Context(), path); err != nil || info.VirtualSize != 128<<20 || info.Format != "raw" {
		t.Errorf("info %+v, %v", info, err)
	}
}

// TestCloseLeavesGuestsRunning also shows that Close waits for the watchers.
func TestCloseLeavesGuestsRunning(t *testing.T) {
	backend := newBackend(t, "")
	spec := bareSpec(t, 119)
	guest := start(t, backend, spec)
	if err := backend.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-guest.unwatched:
	default:
		t.Error("the watcher still runs")
	}
	if !guest.running() || runningPID(spec.RunDir) != guest.PID() {
		t.Error("the guest ended")
	}
	if _, err := backend.Start(t.Context(), bareSpec(t, 120)); err == nil {
		t.Error("a closed backend started a guest")
	}
}

func TestBridge(t *testing.T) {
	qemutest.Require(t)
	for _, c := range []struct{ name, cidr string }{
		{"", "10.0.0.1/24"}, {"name-is-far-too-long", "10.0.0.1/24"}, {"../x", "10.0.0.1/24"}, {"gtbad", "10.0.0.1"}, {"gtbad", "10.0.0.1/24 dev lo"},
	} {
		if err := EnsureBridge(t.Context(), c.name, c.cidr); err == nil {
			t.Errorf("EnsureBridge(%q, %q) did it", c.name, c.cidr)
		}
	}
	if bridgeExists("gtbad") {
		t.Error("a bridge was made in spite of its address")
	}
	bridge, gateway, _ := testNetwork(t)
	if bridge == "" {
		return
	}
	if err := EnsureBridge(t.Context(), bridge, gateway.String()+"/24"); err != nil {
		t.Errorf("a second time: %v", err)
	}
	if !pings(t, gateway) {
		t.Error("the bridge's address does not answer")
	}
}

// TestHostBridge plugs a guest into the lab's one bridge of this machine, under a name that two labs do not share.
func TestHostBridge(t *testing.T) {
	qemutest.Require(t)
	bridge, _, _ := testNetwork(t)
	if bridge == "" {
		return
	}
	var taps []string
	for _, root := range []string{t.TempDir(), t.TempDir()} {
		backend, err := New(Options{Root: root, HostBridge: bridge})
		if err != nil {
			t.Fatal(err)
		}
		spec := bareSpec(t, 122)
		spec.NICs = []machine.NIC{{Key: "net0", Bridge: "vmbr0", Tap: "tap122i0"}}
		guest := start(t, backend, spec)
		tap := guest.spec.NICs[0].Tap
		if master, err := os.Readlink("/sys/class/net/" + tap + "/master"); err != nil || filepath.Base(master) != bridge {
			t.Errorf("bridge of %s is %q, %v", tap, master, err)
		}
		if stats, err := guest.Stats(t.Context()); err != nil || len(stats.NICs) != 1 {
			t.Errorf("stats %+v, %v", stats, err)
		} else if _, found := stats.NICs["tap122i0"]; !found {
			t.Errorf("counters are not under the node's name: %v", stats.NICs)
		}
		taps = append(taps, tap)
		t.Cleanup(func() {
			if err := backend.StopGuests(context.Background()); err != nil {
				t.Error(err)
			}
			_ = backend.Close()
		})
	}
	if taps[0] == taps[1] {
		t.Errorf("two labs share the name %s", taps[0])
	}
}

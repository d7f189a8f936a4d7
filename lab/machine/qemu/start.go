package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"gantry/lab/machine"
)

const (
	// startTimeout bounds the time until QEMU has opened everything and detached itself.
	startTimeout = 30 * time.Second
	// cleanupTimeout bounds the end of a QEMU whose start failed.
	cleanupTimeout = 15 * time.Second
)

// Start runs a guest. QEMU starts with its CPUs stopped; they run when its taps are plugged in. An error leaves nothing
// running.
func (b *Backend) Start(ctx context.Context, spec machine.Spec) (machine.Process, error) {
	guest, err := b.start(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("start VM %d: %w", spec.VMID, err)
	}
	return guest, nil
}

func (b *Backend) start(ctx context.Context, spec machine.Spec) (*Process, error) {
	spec, tapNames := b.onHost(spec)
	if err := checkSpec(spec); err != nil {
		return nil, err
	}
	links, err := planLinks(spec)
	if err != nil {
		return nil, err
	}
	release, err := b.claim(spec.RunDir)
	if err != nil {
		return nil, err
	}
	defer release()
	if pid := runningPID(spec.RunDir); pid != 0 {
		return nil, fmt.Errorf("already running with pid %d", pid)
	}
	if _, err := wasHalted(spec.RunDir); err != nil {
		return nil, err
	}
	argv, err := arguments(spec, spec.KVM && b.KVMUsable(), links)
	if err != nil {
		return nil, err
	}
	if err := b.launch(ctx, spec.RunDir, argv); err != nil {
		endLeftover(ctx, spec)
		return nil, err
	}
	guest, err := openGuest(spec)
	if err != nil {
		return nil, err
	}
	guest.tapNames = tapNames
	b.adopt(guest)
	if err := b.begin(ctx, guest, links); err != nil {
		kill(ctx, guest)
		return nil, err
	}
	return guest, nil
}

// launch returns when QEMU has initialised and detached itself into a session of its own, so that it outlives this
// process. A QEMU that fails prints why and leaves no pid file.
func (b *Backend) launch(ctx context.Context, runDir string, argv []string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, b.emulator, argv...)
	command.Dir = runDir
	command.Env = []string{"LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	command.WaitDelay = time.Second
	var stderr limitedBuffer
	command.Stderr = &stderr
	err := command.Run()
	text := strings.TrimSpace(stderr.String())
	if err == nil {
		if text != "" {
			b.logger.Debug("QEMU warned", "text", text)
		}
		return nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return &CommandError{Program: "QEMU", Output: text, Err: err}
}

// begin plugs the taps in and lets the CPUs run.
func (b *Backend) begin(ctx context.Context, guest *Process, links []link) error {
	if err := b.plug(ctx, links); err != nil {
		return err
	}
	return guest.Resume(ctx)
}

// Attach takes hold of a guest that an earlier backend started. A guest whose lab was killed between QEMU's start and
// the plugging of its taps is started to the end.
func (b *Backend) Attach(ctx context.Context, spec machine.Spec) (machine.Process, error) {
	guest, err := b.attach(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("attach to VM %d: %w", spec.VMID, err)
	}
	return guest, nil
}

func (b *Backend) attach(ctx context.Context, spec machine.Spec) (*Process, error) {
	spec, tapNames := b.onHost(spec)
	if err := checkSpec(spec); err != nil {
		return nil, err
	}
	release, err := b.claim(spec.RunDir)
	if err != nil {
		return nil, err
	}
	defer release()
	if guest := b.guest(spec.RunDir); guest != nil {
		return guest, nil
	}
	halted, err := wasHalted(spec.RunDir)
	if err != nil {
		return nil, err
	}
	guest, err := openGuest(spec)
	if halted && errors.Is(err, machine.ErrNotRunning) {
		return nil, machine.ErrHalted
	}
	if err != nil {
		return nil, err
	}
	guest.tapNames = tapNames
	b.adopt(guest)
	answer, err := guest.execute(ctx, "query-status", nil)
	if err != nil {
		return nil, err
	}
	var status struct {
		Status string `json:"status"`
	}
	if err := json.Unmarshal(answer, &status); err != nil {
		return nil, fmt.Errorf("QMP query-status: %w", err)
	}
	if status.Status != "prelaunch" {
		return guest, nil
	}
	links, err := planLinks(spec)
	if err != nil {
		return nil, err
	}
	return guest, b.begin(ctx, guest, links)
}

// openGuest opens the QEMU that runs in a run directory, or returns ErrNotRunning. The process is opened before it is
// looked at: what was checked is then what is held.
func openGuest(spec machine.Spec) (*Process, error) {
	pid, err := readPID(spec.RunDir)
	if err != nil {
		return nil, err
	}
	guest, err := openProcess(spec, pid)
	if err != nil {
		return nil, err
	}
	if !processRuns(pid, spec.RunDir) {
		_ = guest.handle.Close()
		return nil, machine.ErrNotRunning
	}
	return guest, nil
}

// readPID reads a run directory's pid file; ErrNotRunning when there is none.
func readPID(runDir string) (int, error) {
	content, err := os.ReadFile(filepath.Join(runDir, pidFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, machine.ErrNotRunning
	}
	if err != nil {
		return 0, fmt.Errorf("read pid file: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil || pid <= 1 {
		return 0, machine.ErrNotRunning
	}
	return pid, nil
}

// processRuns tells whether a process is the QEMU of this run directory, by the pid file on its command line. Numbers are
// used again: without this check a lab could end somebody else's process.
func processRuns(pid int, runDir string) bool {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return false
	}
	path := filepath.Join(runDir, pidFile)
	words := strings.Split(string(content), "\x00")
	for i, word := range words {
		if word == "-pidfile" && i+1 < len(words) && words[i+1] == path {
			return true
		}
	}
	return false
}

// runningPID is the process id of the QEMU that runs in a run directory, 0 when none does.
func runningPID(runDir string) int {
	pid, err := readPID(runDir)
	if err != nil || !processRuns(pid, runDir) {
		return 0
	}
	return pid
}

// endLeftover ends a QEMU that detached itself although its start failed, such as one whose start took too long.
func endLeftover(ctx context.Context, spec machine.Spec) {
	guest, err := openGuest(spec)
	if err != nil {
		return
	}
	go guest.watch(func() {})
	kill(ctx, guest)
}

// kill ends a guest whose start failed, also when the caller's context has ended.
func kill(ctx context.Context, guest *Process) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	if guest.Kill(ctx) != nil {
		_ = guest.signal(unix.SIGKILL)
	}
}

package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"gantry/lab/machine"
)

// terminateGrace is how long QEMU may take to flush its disks after SIGTERM before it gets SIGKILL.
const terminateGrace = 5 * time.Second

// Process is a guest's QEMU. It implements machine.Process.
type Process struct {
	runDir string
	spec   machine.Spec
	pid    int
	// tapNames maps taps of this machine to their names on the node, see Backend.onHost.
	tapNames map[string]string
	// handle is the pidfd: signals through it never reach another process that got the same number, and it becomes
	// readable when QEMU ends, whoever its parent is.
	handle *os.File
	done   chan struct{}
	// unwatched is closed when the watcher has returned, either because the guest ended or the backend was closed.
	unwatched chan struct{}

	// qmp lets one command at a time through, so that a waiting one is cancelled by its context.
	qmp chan struct{}

	statsMu    sync.Mutex
	lastSample cpuSample
}

var _ machine.Process = (*Process)(nil)

// openProcess takes hold of a running QEMU by its pidfd.
func openProcess(spec machine.Spec, pid int) (*Process, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		if errors.Is(err, unix.ESRCH) {
			return nil, machine.ErrNotRunning
		}
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	return &Process{
		runDir:    spec.RunDir,
		spec:      spec,
		pid:       pid,
		handle:    os.NewFile(uintptr(fd), "pidfd"),
		done:      make(chan struct{}),
		unwatched: make(chan struct{}),
		qmp:       make(chan struct{}, 1),
	}, nil
}

// watch waits for the guest's end, calls forget and closes Done. The pidfd lies in the runtime's poller: no thread waits.
func (p *Process) watch(forget func()) {
	defer close(p.unwatched)
	raw, err := p.handle.SyscallConn()
	if err != nil {
		return
	}
	ended := false
	// Read returns early, with ended false, when stopWatching closes the handle.
	_ = raw.Read(func(fd uintptr) bool {
		ended = readable(int(fd))
		return ended
	})
	if !ended {
		return
	}
	forget()
	close(p.done)
	_ = p.handle.Close()
}

// readable tells whether a pidfd's process has ended.
func readable(fd int) bool {
	set := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(set, 0)
	return err == nil && n == 1
}

// stopWatching ends the watcher and leaves the guest running.
func (p *Process) stopWatching() {
	_ = p.handle.Close()
	<-p.unwatched
}

// PID is QEMU's process id.
func (p *Process) PID() int { return p.pid }

// Done is closed when QEMU has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

func (p *Process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// execute runs one QMP command.
func (p *Process) execute(ctx context.Context, name string, arguments any) ([]byte, error) {
	select {
	case p.qmp <- struct{}{}:
		defer func() { <-p.qmp }()
	case <-p.done:
		return nil, machine.ErrNotRunning
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	answer, err := qmpCall(ctx, p.runDir, name, arguments)
	if err != nil {
		return nil, p.explain("QMP "+name, err)
	}
	return answer, nil
}

// explain turns the error of a connection that broke because the guest ended into ErrNotRunning.
func (p *Process) explain(what string, err error) error {
	var refused *QMPError
	if !errors.As(err, &refused) && (!p.running() || !processRuns(p.pid, p.runDir)) {
		return machine.ErrNotRunning
	}
	return fmt.Errorf("%s: %w", what, err)
}

// Powerdown presses the ACPI power button.
func (p *Process) Powerdown(ctx context.Context) error {
	_, err := p.execute(ctx, "system_powerdown", nil)
	return err
}

// Reset presses reset.
func (p *Process) Reset(ctx context.Context) error {
	_, err := p.execute(ctx, "system_reset", nil)
	return err
}

// Pause stops the CPUs.
func (p *Process) Pause(ctx context.Context) error {
	_, err := p.execute(ctx, "stop", nil)
	return err
}

// Resume continues the CPUs.
func (p *Process) Resume(ctx context.Context) error {
	_, err := p.execute(ctx, "cont", nil)
	return err
}

// SendKeys presses keys. Only the monitor for people knows their names; what it prints is an error.
func (p *Process) SendKeys(ctx context.Context, keys string) error {
	answer, err := p.execute(ctx, "human-monitor-command", map[string]string{"command-line": "sendkey " + keys})
	if err != nil {
		return err
	}
	var text string
	if err := json.Unmarshal(answer, &text); err != nil {
		return fmt.Errorf("QMP human-monitor-command: %w", err)
	}
	if text = strings.TrimSpace(text); text != "" {
		return errors.New(text)
	}
	return nil
}

// VNC connects to the guest's RFB server.
func (p *Process) VNC(ctx context.Context) (net.Conn, error) { return p.dial(ctx, vncSocket) }

// Serial connects to the guest's serial port (Spec.Serial); one client at a time, and serial.log gets all of it as well.
func (p *Process) Serial(ctx context.Context) (net.Conn, error) { return p.dial(ctx, serialSocket) }

func (p *Process) dial(ctx context.Context, name string) (net.Conn, error) {
	if !p.running() {
		return nil, machine.ErrNotRunning
	}
	ctx, cancel := context.WithTimeout(ctx, qmpTimeout)
	defer cancel()
	connection, err := dialSocket(ctx, p.runDir, name)
	if err != nil {
		return nil, p.explain("connect to "+name, err)
	}
	return connection, nil
}

// Agent runs one command of the guest agent.
func (p *Process) Agent(ctx context.Context, command string, arguments any) ([]byte, error) {
	if !p.running() {
		return nil, machine.ErrNotRunning
	}
	answer, err := agentCall(ctx, p.runDir, command, arguments)
	if err != nil {
		return nil, p.explain("guest agent", err)
	}
	return answer, nil
}

// Kill ends the guest with SIGTERM, on which QEMU flushes its disks, and with SIGKILL when that does not help.
func (p *Process) Kill(ctx context.Context) error {
	if err := p.signal(unix.SIGTERM); err != nil {
		return err
	}
	grace := time.NewTimer(terminateGrace)
	defer grace.Stop()
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-grace.C:
	}
	if err := p.signal(unix.SIGKILL); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// signal sends a signal through the pidfd; a guest that has ended needs none.
func (p *Process) signal(number unix.Signal) error {
	raw, err := p.handle.SyscallConn()
	if err != nil {
		return p.signalFailed(err)
	}
	var sendErr error
	if err := raw.Control(func(fd uintptr) { sendErr = unix.PidfdSendSignal(int(fd), number, nil, 0) }); err != nil {
		return p.signalFailed(err)
	}
	if sendErr != nil && !errors.Is(sendErr, unix.ESRCH) {
		return p.signalFailed(sendErr)
	}
	return nil
}

func (p *Process) signalFailed(err error) error {
	if !p.running() {
		return nil
	}
	return fmt.Errorf("end guest %d: %w", p.spec.VMID, err)
}

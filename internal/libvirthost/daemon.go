package libvirthost

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"
)

const patience = 30 * time.Second

// ReadyLine is what Serve says when libvirtd takes connections.
const ReadyLine = "ready\n"

// Orders that Serve takes, a line each. With the end of its input libvirtd and all guests end.
const (
	Pause   = "pause"   // libvirtd answers nothing; guests go on
	Resume  = "resume"  // after a Pause
	Restart = "restart" // libvirtd is killed and started anew, then Serve says ReadyLine again; guests go on
)

// Serve runs libvirtd as process 1 of a process namespace: the namespace takes QEMU and libvirtd with it, however it ends. It returns
// when orders end. answers tells whether libvirtd takes connections everywhere; nil = on its socket.
func Serve(orders io.Reader, said io.Writer, answers func() bool, arguments ...string) error {
	// /proc shows the processes of whom mounted it.
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	// libvirt closes every possible file descriptor before it runs a program, which takes seconds where a million are allowed.
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 2048, Max: 2048}); err != nil {
		return fmt.Errorf("limit open files: %w", err)
	}
	if answers == nil {
		answers = func() bool { return Answers(Socket) }
	}
	host := &host{arguments: append([]string{"--pid-file", runFolder + "/libvirtd.pid"}, arguments...), answers: answers, said: said}
	go reap()
	if err := host.start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(orders)
	for lines.Scan() {
		switch lines.Text() {
		case Pause:
			_ = host.daemon.Signal(syscall.SIGSTOP)
		case Resume:
			_ = host.daemon.Signal(syscall.SIGCONT)
		case Restart:
			_ = host.daemon.Kill()
			pid := host.daemon.Pid
			gone := func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }
			if err := errors.Join(Await("the end of libvirtd", gone), host.start()); err != nil {
				return err
			}
		}
	}
	_ = host.daemon.Kill()
	return nil // with process 1 everything ends
}

// host is process 1.
type host struct {
	arguments []string
	answers   func() bool
	said      io.Writer
	daemon    *os.Process
}

func (h *host) start() error {
	command := exec.Command(daemon, h.arguments...)
	command.Stdout, command.Stderr = os.Stderr, os.Stderr
	command.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	if err := command.Start(); err != nil {
		return err
	}
	h.daemon = command.Process
	if err := Await("libvirtd", h.answers); err != nil {
		return err
	}
	_, err := io.WriteString(h.said, ReadyLine)
	return err
}

// reap collects orphans, as process 1 has to: a QEMU that stays a zombie looks alive to libvirtd.
func reap() {
	for {
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(-1, &status, 0, nil); errors.Is(err, syscall.ECHILD) {
			time.Sleep(10 * time.Millisecond) // libvirtd is not started yet, or was killed to be started anew
		}
	}
}

// Answers tells whether something listens on a unix socket.
func Answers(socket string) bool {
	connection, err := net.Dial("unix", socket)
	if err != nil {
		return false
	}
	_ = connection.Close()
	return true
}

// Await polls: there is nobody to be told by.
func Await(what string, holds func() bool) error {
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not come up", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

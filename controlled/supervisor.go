package controlled

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// An operation's folder. Its files tell its whole story, in this order:
const (
	orderFile  = "order.json"  // what is to run; written by the daemon before anything else
	outputFile = "output"      // standard output and error of the command; locked while anybody has it open for writing
	claimFile  = "claimed"     // created exclusively by the one supervisor that may run the command
	resultFile = "result.json" // how the command ended
)

// operationOrder is order.json.
type operationOrder struct {
	Kind    string        `json:"kind"`
	VMID    int64         `json:"vmid"`
	Request []string      `json:"request"` // what the idempotency key stands for
	Command []string      `json:"command"` // argv
	Limit   time.Duration `json:"limit"`   // the command is ended after so long
	Created time.Time     `json:"created"`
}

// operationResult is result.json.
type operationResult struct {
	ExitCode int       `json:"exit_code"` // -1 when a signal ended it or it did not start
	Error    string    `json:"error,omitempty"`
	Ended    time.Time `json:"ended"`
}

// terminationGrace is how long an overdue command may take to end after SIGTERM.
const terminationGrace = 10 * time.Second

// RunOperation runs the command of the operation in dir and records its output and end there. It is the body of the
// hidden subcommand "controlled run-operation DIR": a process of its own session, so that neither the daemon's death
// nor its restart touches the command. (Under systemd the unit needs KillMode=process for that.)
//
// The command runs at most once, however often this is called for the same dir. The returned value is the exit status
// of the supervisor: 0 when the folder tells how the operation stands.
func RunOperation(dir string) int {
	if err := runOperation(dir); err != nil {
		fmt.Fprintln(os.Stderr, "gantry controlled run-operation:", err)
		return 1
	}
	return 0
}

func runOperation(dir string) error {
	var order operationOrder
	if err := readJSON(filepath.Join(dir, orderFile), &order); err != nil {
		return fmt.Errorf("read order: %w", err)
	}
	if len(order.Command) == 0 {
		return errors.New("read order: it has no command")
	}
	return once(dir, func(output *os.File) operationResult { return runCommand(order, output) })
}

// once calls work and records its result, if nobody ever did so for this operation.
func once(dir string, work func(output *os.File) operationResult) error {
	output, err := os.OpenFile(filepath.Join(dir, outputFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open output: %w", err)
	}
	defer output.Close() // lets the lock go, after the result was written
	if free, err := lockOutput(output); err != nil || !free {
		return err // not free: another supervisor is at work
	}
	if mine, err := claimOperation(dir); err != nil || !mine {
		return err // not mine: the command ran or runs already
	}
	if err := writeJSONAtomically(filepath.Join(dir, resultFile), work(output)); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// lockOutput marks the operation as alive. An open file description lock belongs to the open file, which the command
// inherits as its output: it lasts until the last of supervisor, command and the command's children is gone, needs no process ids (which are
// reused), and can be tested without being taken (see outputHeld).
func lockOutput(output *os.File) (bool, error) {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	err := unix.FcntlFlock(output.Fd(), unix.F_OFD_SETLK, &lock)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock output: %w", err)
	}
	return true, nil
}

// outputHeld tells whether supervisor or command still has the output open.
func outputHeld(dir string) (bool, error) {
	output, err := os.OpenFile(filepath.Join(dir, outputFile), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer output.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(output.Fd(), unix.F_OFD_GETLK, &lock); err != nil {
		return false, fmt.Errorf("test lock of output: %w", err)
	}
	return lock.Type != unix.F_UNLCK, nil
}

// claimOperation is true for exactly one caller ever.
func claimOperation(dir string) (bool, error) {
	claim, err := os.OpenFile(filepath.Join(dir, claimFile), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("claim operation: %w", err)
	}
	if err := errors.Join(claim.Close(), syncDir(dir)); err != nil {
		return false, fmt.Errorf("claim operation: %w", err)
	}
	return true, nil
}

func runCommand(order operationOrder, output *os.File) operationResult {
	command := exec.Command(order.Command[0], order.Command[1:]...)
	command.Stdout, command.Stderr = output, output
	command.Env = commandEnvironment()
	command.Dir = "/"
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := command.Start(); err != nil {
		return operationResult{ExitCode: -1, Error: err.Error(), Ended: time.Now()}
	}
	group := -command.Process.Pid
	overdue := make(chan struct{})
	timer := time.AfterFunc(order.Limit, func() {
		close(overdue)
		_ = syscall.Kill(group, syscall.SIGTERM)
		time.AfterFunc(terminationGrace, func() { _ = syscall.Kill(group, syscall.SIGKILL) })
	})
	err := command.Wait()
	result := operationResult{ExitCode: command.ProcessState.ExitCode(), Ended: time.Now()}
	if err != nil {
		result.Error = err.Error()
	}
	if !timer.Stop() {
		<-overdue
		result.Error = fmt.Sprintf("ended after %s: %s", order.Limit, result.Error)
	}
	return result
}

// commandEnvironment is all that qm and the programs it calls need; nothing of the daemon's own environment leaks.
func commandEnvironment() []string {
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root",
		"LC_ALL=C", // qm's messages are parsed
	}
}

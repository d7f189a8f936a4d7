package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopPatience is how long a program gets to end by itself before it is killed.
const stopPatience = 15 * time.Second

// children are the programs of the demo, each a process of its own as in a real installation.
type children struct {
	executable string
	logDir     string
	mutex      sync.Mutex
	running    []*child
	// failed receives the first program that ended by itself.
	failed chan error
}

type child struct {
	name    string
	command *exec.Cmd
	ended   chan struct{}
	stopped bool
}

func newChildren(executable, logDir string) *children {
	return &children{executable: executable, logDir: logDir, failed: make(chan error, 1)}
}

// start runs one program; its output goes to NAME.log in the log folder. The kernel ends it when the demo itself is killed.
func (c *children) start(name string, arguments ...string) error {
	output, err := os.OpenFile(filepath.Join(c.logDir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open log of %s: %w", name, err)
	}
	defer output.Close()
	command := exec.Command(c.executable, arguments...)
	command.Stdout, command.Stderr = output, output
	// Settings of an installed Gantry must not reach the demo's programs.
	command.Env = slices.DeleteFunc(os.Environ(), func(variable string) bool { return strings.HasPrefix(variable, "GANTRY_") })
	// Own group: Ctrl-C in a terminal reaches the demo only, which stops its programs in order.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := &child{name: name, command: command, ended: make(chan struct{})}
	begun := make(chan error, 1)
	go c.watch(started, begun)
	if err := <-begun; err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	c.mutex.Lock()
	c.running = append(c.running, started)
	c.mutex.Unlock()
	return nil
}

// watch starts a program and waits for its end. It keeps the thread that started it: the kernel sends the death signal when that
// thread ends, not when the process does (prctl(2), PR_SET_PDEATHSIG).
func (c *children) watch(watched *child, begun chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := watched.command.Start()
	begun <- err
	if err != nil {
		return
	}
	err = watched.command.Wait()
	close(watched.ended)
	c.mutex.Lock()
	stopped := watched.stopped
	c.mutex.Unlock()
	if stopped {
		return
	}
	if err == nil {
		err = errors.New("it ended by itself")
	}
	select {
	case c.failed <- fmt.Errorf("%s: %w; its log is %s", watched.name, err, filepath.Join(c.logDir, watched.name+".log")):
	default:
	}
}

// stop ends all programs, the last started first, and returns when they are gone.
func (c *children) stop() {
	c.mutex.Lock()
	running := c.running
	for _, each := range running {
		each.stopped = true
	}
	c.mutex.Unlock()
	for i := len(running) - 1; i >= 0; i-- {
		endProcess(running[i])
	}
}

func endProcess(ending *child) {
	select {
	case <-ending.ended:
		return
	default:
	}
	// An error means that it is gone already: ended tells.
	_ = ending.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-ending.ended:
	case <-time.After(stopPatience):
		_ = ending.command.Process.Kill()
		<-ending.ended
	}
}

// until asks ready again and again until it has no error, a program fails, or the time is over.
func (c *children) until(ctx context.Context, what string, limit time.Duration, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	pause := time.NewTicker(50 * time.Millisecond)
	defer pause.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready after %s: %w", what, limit, err)
		case failed := <-c.failed:
			return failed
		case <-pause.C:
		}
	}
}

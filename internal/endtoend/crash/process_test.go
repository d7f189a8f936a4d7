package crash

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait of these tests. It is only used up by a broken promise.
const patience = 2 * time.Minute

// process is one program that can be killed and started again with the same settings.
type process struct {
	name, role, folder string
	command            *exec.Cmd
	ended              chan struct{}
	hello              chan string // the first line that it prints
	deaths             int
}

// newProcess writes the program's settings into its folder.
func newProcess(t testing.TB, role, folder string, settings any) *process {
	t.Helper()
	text, err := json.Marshal(settings)
	check(t, err)
	p := &process{name: role, role: role, folder: folder}
	check(t, os.WriteFile(p.file(".json"), text, 0o600))
	t.Cleanup(func() { p.kill(t) })
	return p
}

func (p *process) file(suffix string) string { return filepath.Join(p.folder, p.name+suffix) }

// start begins the program; its log is kept in its folder over all lives.
func (p *process) start(t testing.TB) {
	t.Helper()
	log, err := os.OpenFile(p.file(".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	check(t, err)
	defer log.Close()
	executable, err := os.Executable()
	check(t, err)
	p.command = exec.Command(executable, p.role, p.file(".json"))
	p.command.Stderr = log
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	output, err := p.command.StdoutPipe()
	check(t, err)
	check(t, p.command.Start())
	ended, hello := make(chan struct{}), make(chan string, 1)
	p.ended, p.hello = ended, hello
	command := p.command
	go func() {
		defer close(ended)
		if line, err := bufio.NewReader(output).ReadString('\n'); err == nil {
			hello <- line
		}
		_ = command.Wait() // how it ended is in its log
	}()
}

// greeted waits for the line that tells that the program answers, and decodes it.
func (p *process) greeted(t testing.TB, hello any) {
	t.Helper()
	select {
	case line := <-p.hello:
		check(t, json.Unmarshal([]byte(line), hello))
	case <-p.ended:
		t.Fatalf("%s ended by itself: %s", p.name, tail(p.file(".log")))
	case <-time.After(patience):
		t.Fatalf("%s does not start: %s", p.name, tail(p.file(".log")))
	}
}

// kill ends the program as kill -9 does and returns when it is gone. A program that does not run is left alone.
func (p *process) kill(t testing.TB) {
	t.Helper()
	if p.command == nil {
		return
	}
	_ = p.command.Process.Kill() // an error means that it is gone
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatalf("%s can't be killed", p.name)
	}
	p.command = nil
	p.deaths++
}

func tail(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-6000):])
}

// ports are below the kernel's range for outgoing connections, so that nobody takes one while its program is dead.
var ports atomic.Int32

func freePort(t testing.TB) int {
	t.Helper()
	for range 5000 {
		port := 20000 + (os.Getpid()*37+int(ports.Add(1)))%12000
		listener, err := net.Listen("tcp", loopback(port))
		if err == nil {
			check(t, listener.Close())
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// eventually asks again and again until there is no error.
func eventually(t testing.TB, what string, ask func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		<-time.After(pause)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

package controlled

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	wire "gantry/internal/controlledclient"
	"gantry/internal/tlspin"
)

// node is a daemon with its folders.
type node struct {
	t      *testing.T
	config Config
	images string
	qmDir  string
	server *Server
	client *wire.Client
	stop   context.CancelFunc
}

// newNode prepares folders and configuration; start or spawn brings the daemon up.
func newNode(t *testing.T) *node {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	base := t.TempDir()
	n := &node{t: t, config: configOf(base, self)}
	n.images, n.qmDir = n.config.ImageDirs[0], n.config.QMCommand[2]
	if err := errors.Join(os.Mkdir(n.images, 0o755), os.Mkdir(n.qmDir, 0o755)); err != nil {
		t.Fatal(err)
	}
	return n
}

// configOf is a configuration with all folders below base and the test binary in qm's place.
func configOf(base, self string) Config {
	config := DefaultConfig()
	config.Listen = "127.0.0.1:0"
	config.DataDir = filepath.Join(base, "data")
	config.ImageDirs = []string{filepath.Join(base, "images")}
	config.ReadDirs = nil
	config.QMCommand = []string{self, "fake-qm", filepath.Join(base, "qm")}
	config.SupervisorCommand = []string{self, "run-operation"}
	config.AllowPrivateDownloads = true
	config.DownloadRetryDelay = time.Millisecond
	config.Version = "1.2.3"
	config.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	return config
}

// start runs the daemon in this process until the test ends or halt.
func (n *node) start() *node {
	n.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	server, err := Start(ctx, n.config)
	if err != nil {
		cancel()
		n.t.Fatal(err)
	}
	n.server, n.stop = server, cancel
	n.t.Cleanup(n.halt)
	n.connect(server.URL(), server.Secret(), server.Pin())
	return n
}

func (n *node) halt() {
	n.stop()
	if err := n.server.Wait(); err != nil {
		n.t.Errorf("daemon: %v", err)
	}
}

func (n *node) connect(url, secret string, pin tlspin.Pin) {
	n.t.Helper()
	client, err := wire.New(url, secret, pin)
	if err != nil {
		n.t.Fatal(err)
	}
	n.client = client
	n.t.Cleanup(client.Close)
}

// spawn runs the daemon as a process of its own and returns it, so that it can be killed.
func (n *node) spawn() *os.Process {
	n.t.Helper()
	self, err := os.Executable()
	if err != nil {
		n.t.Fatal(err)
	}
	return n.spawnProgram(self)
}

// spawnProgram is spawn of a copy of the test binary.
func (n *node) spawnProgram(program string) *os.Process {
	n.t.Helper()
	n.config.Logger = nil
	content, err := json.Marshal(n.config)
	if err != nil {
		n.t.Fatal(err)
	}
	file := filepath.Join(n.t.TempDir(), "config.json")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		n.t.Fatal(err)
	}
	command := exec.Command(program, "daemon", file)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that kill can end the whole group, as a terminal or a supervisor does
	var log bytes.Buffer
	command.Stderr = &log
	output, err := command.StdoutPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		if n.t.Failed() {
			n.t.Logf("daemon's log:\n%s", log.String())
		}
	})
	line := make([]byte, 1024)
	count, err := output.Read(line)
	words := strings.Fields(string(line[:count]))
	if err != nil || len(words) != 3 {
		n.t.Fatalf("daemon said %q, %v", line[:count], err)
	}
	pin, err := tlspin.Parse(words[1])
	if err != nil {
		n.t.Fatal(err)
	}
	n.connect(words[0], words[2], pin)
	return command.Process
}

// kill ends a spawned daemon with its process group as kill -9 does and waits until it is gone (its lock is free).
func (n *node) kill(process *os.Process) {
	n.t.Helper()
	if err := syscall.Kill(-process.Pid, syscall.SIGKILL); err != nil {
		n.t.Fatal(err)
	}
	eventually(n.t, "the killed daemon is gone", func() bool {
		lock, err := lockDataDir(n.config.DataDir)
		if err != nil {
			return false
		}
		return lock.Close() == nil
	})
}

func (n *node) write(name, content string) {
	n.t.Helper()
	if err := os.WriteFile(filepath.Join(n.images, name), []byte(content), 0o644); err != nil {
		n.t.Fatal(err)
	}
}

// calls are the lines that the fake qm noted.
func (n *node) calls() []string {
	content, err := os.ReadFile(filepath.Join(n.qmDir, "calls"))
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSpace(string(content)), "\n")
}

// letGo makes the import into vmidWaits go on.
func (n *node) letGo() {
	n.t.Helper()
	if err := os.WriteFile(filepath.Join(n.qmDir, "go"), nil, 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// raw sends a request without the typed client.
func (n *node) raw(method, path, body, authorization string) (int, string) {
	n.t.Helper()
	request, err := http.NewRequest(method, n.server.URL()+path, strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: tlspin.Pinned(n.server.Pin()), DisableKeepAlives: true}}
	reply, err := client.Do(request)
	if err != nil {
		n.t.Fatal(err)
	}
	defer reply.Body.Close()
	content, err := io.ReadAll(reply.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return reply.StatusCode, string(content)
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Fatalf("never came true: %s", what)
}

// kindOf is the kind, reason and field of a client's error.
func kindOf(err error) string {
	var failure *wire.Error
	if !errors.As(err, &failure) {
		return ""
	}
	return strings.TrimRight(string(failure.Kind)+" "+string(failure.Reason)+" "+failure.Field, " ")
}

// Package firstlight proves the product's main job on real parts: `gantry demo` with its five processes, a QEMU guest and a
// browser. It is what a new user does first.
package firstlight

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gantry/internal/qemutest"
)

// report is what `gantry demo --json` prints when everything answers.
type report struct {
	Hypervisor                                 string
	Panel, AdminPath, AdminUser, AdminPassword string
	API, AppID, AppKey                         string
	Lab, LabToken, VNCProxy, Controlled        string
	LabControl, LabControlToken                string
	NodeID, OSID, IPPoolID                     int64
	DemoVM                                     struct {
		HostID  int64
		VMID    int
		IP      string
		Console string
	}
}

// demo is a running `gantry demo`.
type demo struct {
	t       *testing.T
	dataDir string
	command *exec.Cmd
	ended   chan error
	report  report
	host    host
}

// buildGantry makes the binary that users get.
func buildGantry(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "gantry")
	command := exec.Command("go", "build", "-o", binary, "gantry")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, output)
	}
	return binary
}

// startDemo runs the demo and waits for its one line.
func startDemo(t *testing.T, binary, dataDir string, flags ...string) *demo {
	t.Helper()
	arguments := append([]string{"demo", "--data-dir", dataDir, "--listen", "127.0.0.1:0", "--json"}, flags...)
	command := exec.Command(binary, arguments...)
	var trouble bytes.Buffer
	command.Stderr = &trouble
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	started := &demo{t: t, dataDir: dataDir, command: command, ended: make(chan error, 1)}
	line := make(chan []byte, 1)
	go func() {
		scanner := bufio.NewScanner(output)
		scanner.Buffer(nil, 1<<20)
		scanner.Scan()
		line <- bytes.Clone(scanner.Bytes())
		_, _ = io.Copy(io.Discard, output)
		started.ended <- command.Wait()
	}()
	t.Cleanup(func() {
		started.stop()
		if t.Failed() {
			started.showLogs()
		}
	})
	select {
	case text := <-line:
		if err := json.Unmarshal(text, &started.report); err != nil {
			t.Fatalf("first line of the demo: %v\n%s\n%s", err, text, trouble.String())
		}
		started.host = hosts[started.report.Hypervisor](dataDir)
	case <-time.After(5 * time.Minute):
		t.Fatalf("the demo printed nothing\n%s", trouble.String())
	}
	return started
}

// stop ends the demo as Ctrl-C does; it must end by itself, without error.
func (d *demo) stop() {
	if d.command.ProcessState != nil {
		return
	}
	_ = d.command.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-d.ended:
		if err != nil {
			d.t.Errorf("the demo ended with %v", err)
		}
	case <-time.After(time.Minute):
		_ = d.command.Process.Kill()
		d.t.Error("the demo does not end")
	}
}

func (d *demo) showLogs() {
	logs, _ := filepath.Glob(filepath.Join(d.dataDir, "logs", "*.log"))
	for _, log := range logs {
		text, err := os.ReadFile(log)
		if err == nil {
			d.t.Logf("%s:\n%s", log, text[max(0, len(text)-6000):])
		}
	}
}

// envelope is every reply of the API.
type envelope struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data"`
}

func (d *demo) send(method, path, authorization string, body any) envelope {
	d.t.Helper()
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			d.t.Fatal(err)
		}
		content = bytes.NewReader(text)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, d.report.API+path, content)
	if err != nil {
		d.t.Fatal(err)
	}
	request.Header.Set("Authorization", authorization)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		d.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer response.Body.Close()
	var reply envelope
	if err := json.NewDecoder(response.Body).Decode(&reply); err != nil {
		d.t.Fatalf("%s %s: %v", method, path, err)
	}
	return reply
}

// billing calls /api/v1 of the demo's hypervisor with the demo's key and wants success.
func (d *demo) billing(method, call string, body any) json.RawMessage {
	d.t.Helper()
	path := d.billingPath(call)
	return d.wanted(method, path, d.send(method, path, basic(d), body))
}

func (d *demo) billingPath(call string) string {
	return "/api/v1/" + d.report.Hypervisor + "/" + call
}

// panel calls the admin API with a fresh login and wants success.
func (d *demo) panel(method, path string, body any) json.RawMessage {
	d.t.Helper()
	login := map[string]string{"username": d.report.AdminUser, "password": d.report.AdminPassword}
	var token string
	read(d.t, d.wanted("POST", "loginDo", d.send("POST", "/"+d.report.AdminPath+"/loginDo", "", login)), &token)
	return d.wanted(method, path, d.send(method, "/"+d.report.AdminPath+path, token, body))
}

func (d *demo) wanted(method, path string, reply envelope) json.RawMessage {
	d.t.Helper()
	if reply.Code != 20000 {
		d.t.Fatalf("%s %s: %d %s", method, path, reply.Code, reply.Message)
	}
	return reply.Data
}

func read(t *testing.T, text json.RawMessage, into any) {
	t.Helper()
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}

// machine is the part of getVmInfo that the test looks at.
type machine struct {
	VMHost struct {
		Status   int
		Hostname string
		OS       string
		Password string
		IPList   []string
	}
}

func (d *demo) machine() machine {
	d.t.Helper()
	var info machine
	read(d.t, d.billing("GET", fmt.Sprintf("getVmInfo?hostId=%d", d.report.DemoVM.HostID), nil), &info)
	return info
}

// finished waits until no task of the VM is under way, then wants the last one done.
func (d *demo) finished(kind string) {
	d.t.Helper()
	var page struct {
		Records []struct{ Kind, State, Error string }
	}
	qemutest.Eventually(d.t, 3*time.Minute, kind+" to end", func() bool {
		read(d.t, d.panel("GET", "/getTaskByPage?page=1&size=1", nil), &page)
		switch page.Records[0].State {
		case "done", "undone", "stuck":
			return page.Records[0].Kind == kind
		}
		return false
	})
	if page.Records[0].State != "done" {
		d.t.Fatalf("%s is %s: %s", kind, page.Records[0].State, page.Records[0].Error)
	}
}

// leftovers lists processes and network interfaces that a demo on this data directory should have taken with it.
func leftovers(dataDir, bridge string) []string {
	var found []string
	processes, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, process := range processes {
		text, err := os.ReadFile(process)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if strings.Contains(string(text), dataDir) {
			found = append(found, strings.ReplaceAll(string(text), "\x00", " "))
		}
	}
	if _, err := os.Stat("/sys/class/net/" + bridge); bridge != "" && err == nil {
		found = append(found, "bridge "+bridge)
	}
	return found
}

func basic(d *demo) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(d.report.AppID+":"+d.report.AppKey))
}

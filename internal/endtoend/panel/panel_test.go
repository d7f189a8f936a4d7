// Package panel drives the operator's panel in a real browser against `gantry demo` with guests in memory.
package panel

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
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

	"gantry/internal/browsertest"
)

// demo is a running `gantry demo`.
type demo struct {
	t    *testing.T
	said struct {
		Panel, AdminPath, AdminUser, AdminPassword string
		LabControl, LabControlToken                string
		NodeID, OSID, IPPoolID                     int64
		DemoVM                                     struct {
			HostID int64
			VMID   int
			IP     string
		}
	}
}

func start(t *testing.T) *demo {
	t.Helper()
	folder := t.TempDir()
	binary := filepath.Join(folder, "gantry")
	build := exec.Command("go", "build", "-o", binary, "gantry")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, output)
	}
	command := exec.Command(binary, "demo", "--data-dir", filepath.Join(folder, "demo"), "--listen", "127.0.0.1:0", "--qemu=off", "--no-order", "--json")
	var trouble bytes.Buffer
	command.Stderr = &trouble
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	line, ended := make(chan []byte, 1), make(chan error, 1)
	go func() {
		scanner := bufio.NewScanner(output)
		scanner.Buffer(nil, 1<<20)
		scanner.Scan()
		line <- bytes.Clone(scanner.Bytes())
		_, _ = io.Copy(io.Discard, output)
		ended <- command.Wait()
	}()
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(time.Minute):
			_ = command.Process.Kill()
			t.Error("the demo does not end")
		}
	})
	started := &demo{t: t}
	select {
	case text := <-line:
		if err := json.Unmarshal(text, &started.said); err != nil {
			t.Fatalf("first line of the demo: %v\n%s\n%s", err, text, trouble.String())
		}
	case <-time.After(3 * time.Minute):
		t.Fatalf("the demo printed nothing\n%s", trouble.String())
	}
	started.order()
	return started
}

// order makes one machine that every page has something to show of.
func (d *demo) order() {
	d.t.Helper()
	var token string
	d.call("/loginDo", "", map[string]any{"username": d.said.AdminUser, "password": d.said.AdminPassword}, &token)
	var machine struct{ HostID int64 }
	d.call("/createVm", token, map[string]any{"nodeid": d.said.NodeID, "os": d.said.OSID, "hostname": "shown-vm"}, &machine)
	d.said.DemoVM.HostID = machine.HostID
}

// call posts to the admin API and wants success.
func (d *demo) call(path, token string, body map[string]any, into any) {
	d.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		d.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(d.said.Panel, "/")+path, bytes.NewReader(text))
	if err != nil {
		d.t.Fatal(err)
	}
	request.Header.Set("Authorization", token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		d.t.Fatal(err)
	}
	defer response.Body.Close()
	var reply struct {
		Code    int
		Message string
		Data    json.RawMessage
	}
	if err := json.NewDecoder(response.Body).Decode(&reply); err != nil || reply.Code != 20000 {
		d.t.Fatalf("%s: %d %s %v", path, reply.Code, reply.Message, err)
	}
	if err := json.Unmarshal(reply.Data, into); err != nil {
		d.t.Fatalf("%s: %v", path, err)
	}
}

// address is a page of the panel.
func (d *demo) address(page string) string {
	return strings.TrimSuffix(d.said.Panel, "/") + "/" + page
}

// signIn opens the panel and logs in as a person would.
func (d *demo) signIn(browser *browsertest.Browser, look browsertest.Look) *browsertest.Page {
	d.t.Helper()
	page := browser.Open(d.address(""), look)
	page.Wait(`!!document.querySelector('#password')`)
	page.Fill("#username", d.said.AdminUser)
	page.Fill("#password", d.said.AdminPassword+"\r")
	page.Wait(`document.querySelectorAll('.figure strong').length === 4 && document.querySelector('.figure strong').textContent !== '–'`)
	return page
}

// visit goes to a page by the panel's own router: the address changes and nothing is loaded anew.
func visit(page *browsertest.Page, d *demo, name, ready string) {
	var done bool
	page.Evaluate(fmt.Sprintf(`history.pushState({}, '', %q); dispatchEvent(new PopStateEvent('popstate', { state: {} })); true`, d.address(name)), &done)
	page.Wait(ready)
}

func noProblems(t *testing.T, page *browsertest.Page) {
	t.Helper()
	if problems := page.Problems(); len(problems) > 0 {
		t.Errorf("the browser complains: %s", strings.Join(problems, "; "))
	}
}

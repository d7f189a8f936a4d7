package lab_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"gantry/lab"
	"gantry/lab/conformance"
	"gantry/lab/fault"
)

func TestFaults(t *testing.T) {
	running := startLab(t, lab.Config{Nodes: []string{"pve1", "pve2"}})
	c, faults := newClient(t, running), running.Faults()
	create := func(vmid string) (reply, error) {
		return c.try("POST", "/api2/json/nodes/pve1/qemu?vmid="+vmid, "", nil)
	}

	t.Run("reply lost before the effect", func(t *testing.T) {
		faults.Add(fault.Rule{Method: "POST", Path: "/nodes/*/qemu", Times: 1, LoseBefore: true})
		if _, err := create("200"); err == nil {
			t.Error("the reply arrived")
		}
		if answer := c.call("GET", "/nodes/pve1/qemu/200/config"); answer.Status != 500 {
			t.Errorf("the guest was made: %v", answer)
		}
	})
	t.Run("reply lost after the effect", func(t *testing.T) {
		faults.Add(fault.Rule{Method: "POST", Path: "/nodes/*/qemu", Times: 1, LoseAfter: true})
		if _, err := create("201"); err == nil {
			t.Error("the reply arrived")
		}
		if answer := c.call("GET", "/nodes/pve1/qemu/201/config"); answer.Status != 200 {
			t.Errorf("the guest was not made: %v", answer)
		}
		if sent := faults.Count("POST", "/nodes/*/qemu"); sent != 2 {
			t.Errorf("%d creations in the journal, want 2", sent)
		}
	})
	t.Run("status after skipped requests", func(t *testing.T) {
		faults.Add(fault.Rule{Path: "/version", Skip: 1, Times: 1, Status: 596, Reason: "Broken pipe"})
		for i, want := range []int{200, 596, 200} {
			if answer := c.call("GET", "/version"); answer.Status != want || (want == 596 && (answer.Reason != "Broken pipe" || answer.Body != "")) {
				t.Errorf("request %d: %d %s %q, want %d", i, answer.Status, answer.Reason, answer.Body, want)
			}
		}
	})
	t.Run("hang until the client gives up", func(t *testing.T) {
		rule := faults.Add(fault.Rule{Path: "/version", Hang: true})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, "GET", c.base+"/api2/json/version", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.web.Do(request); err == nil {
			t.Error("an answer came")
		}
		faults.Remove(rule)
	})
	t.Run("lock timeout", func(t *testing.T) {
		faults.Add(fault.Rule{Method: "PUT", Path: "/nodes/*/qemu/*/config", Times: 1, LockTimeout: true})
		if answer := c.call("PUT", "/nodes/pve1/qemu/201/config", "name", "x"); answer.Reason != "can't lock file '/var/lock/qemu-server/lock-201.conf' - got timeout" {
			t.Errorf("%d %s", answer.Status, answer.Reason)
		}
	})
	t.Run("tasks that fail or warn", func(t *testing.T) {
		faults.AddTask(fault.TaskRule{Type: "qmstart", Times: 1, Step: "boot", Error: "start failed: QEMU exited with code 1"})
		c.must(c.task("POST", "/nodes/pve1/qemu/201/status/start"), "start failed: QEMU exited with code 1")
		faults.AddTask(fault.TaskRule{Type: "qmstart", Times: 1, Warnings: []string{"one", "two"}})
		c.must(c.task("POST", "/nodes/pve1/qemu/201/status/start"), "WARNINGS: 2")
		faults.AddTask(fault.TaskRule{Type: "qmstop", Times: 1, LockTimeout: true, Step: "lock"})
		c.must(c.task("POST", "/nodes/pve1/qemu/201/status/stop"), "can't lock file '/var/lock/qemu-server/lock-201.conf' - got timeout")
		faults.AddTask(fault.TaskRule{Type: "qmcreate", ID: "202", Step: "disk", Error: "no space left"})
		c.must(c.task("POST", "/nodes/pve1/qemu", "vmid", "202", "scsi0", "local:1"), "unable to create VM 202 - no space left")
		if rows, _ := c.ok("GET", "/nodes/pve1/storage/local/content", "vmid", "202").([]any); len(rows) > 0 {
			t.Errorf("left behind: %v", rows)
		}
	})
	t.Run("node down", func(t *testing.T) {
		faults.NodeDown("pve2", "")
		if answer := c.call("GET", "/nodes/pve2/status"); answer.Status != 595 || answer.Reason != "No route to host" || answer.Body != "" {
			t.Errorf("%d %s %q", answer.Status, answer.Reason, answer.Body)
		}
		for _, row := range c.ok("GET", "/nodes").([]any) {
			node := row.(map[string]any)
			if want := map[any]string{"pve1": "online", "pve2": "offline"}[node["node"]]; node["status"] != want {
				t.Errorf("%v is %v", node["node"], node["status"])
			}
		}
		faults.NodeUp("pve2")
		c.ok("GET", "/nodes/pve2/status")
	})
	t.Run("expired tickets", func(t *testing.T) {
		login, _ := c.ok("POST", "/access/ticket", "username", "root@pam", "password", running.RootPassword()).(map[string]any)
		ticket, _ := login["ticket"].(string)
		other := c.as("")
		header := http.Header{"Cookie": {"PVEAuthCookie=" + ticket}}
		if answer := other.raw("GET", "/api2/json/version", "", header.Clone()); answer.Status != 200 {
			t.Errorf("%d %s", answer.Status, answer.Reason)
		}
		faults.ExpireTickets()
		if answer := other.raw("GET", "/api2/json/version", "", header.Clone()); answer.Status != 401 || answer.Reason != "Authentication failed!" {
			t.Errorf("%d %s", answer.Status, answer.Reason)
		}
	})
	conformance.Verify(t, faults, "9", nil)
}

// Wherever a task that makes a guest fails, the worker takes the configuration and the volumes back, as qemu-server's does.
func TestFailedCreatesLeaveNothing(t *testing.T) {
	running := startLab(t, lab.Config{})
	c, faults := newClient(t, running), running.Faults()
	c.must(c.task("POST", "/nodes/pve1/qemu", "vmid", "100", "scsi0", "local:1"), "OK")
	for _, step := range []string{"begin", "lock", "disk", "config"} {
		for kind, prefix := range map[string]string{"qmcreate": "unable to create VM 200 - ", "qmclone": "clone failed: "} {
			rule := faults.AddTask(fault.TaskRule{Type: kind, Step: step, Error: "no luck"})
			if kind == "qmcreate" {
				c.must(c.task("POST", "/nodes/pve1/qemu", "vmid", "200", "scsi0", "local:1"), prefix+"no luck")
			} else {
				c.must(c.task("POST", "/nodes/pve1/qemu/100/clone", "newid", "200"), prefix+"no luck")
			}
			faults.Remove(rule)
			if answer := c.call("GET", "/nodes/pve1/qemu/200/config"); answer.Reason != "Configuration file 'nodes/pve1/qemu-server/200.conf' does not exist" {
				t.Errorf("%s that fails at %q left %d %s", kind, step, answer.Status, answer.Body)
			}
			if rows, _ := c.ok("GET", "/nodes/pve1/storage/local/content", "vmid", "200").([]any); len(rows) > 0 {
				t.Errorf("%s that fails at %q left %v", kind, step, rows)
			}
		}
	}
	c.must(c.task("POST", "/nodes/pve1/qemu", "vmid", "200", "scsi0", "local:1"), "OK")
}

func TestFaultControl(t *testing.T) {
	running := startLab(t, lab.Config{ControlListen: "127.0.0.1:0"})
	url, token := running.Control()
	send := func(method, path, body, token string) int {
		t.Helper()
		request, err := http.NewRequest(method, url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		return response.StatusCode
	}
	for _, fact := range []struct {
		method, path, body, token string
		status                    int
	}{
		{"GET", "/rules/", "", "wrong", 401},
		{"POST", "/rules/request", `{"path":"/version","status":500,"reason":"no"}`, token, 200},
		{"POST", "/rules/request", `{"pfad":"/version"}`, token, 400},
		{"POST", "/rules/task", `{"type":"qmstart","error":"x"}`, token, 200},
		{"GET", "/requests?path=/version", "", token, 200},
	} {
		if got := send(fact.method, fact.path, fact.body, fact.token); got != fact.status {
			t.Errorf("%s %s %s: %d, want %d", fact.method, fact.path, fact.body, got, fact.status)
		}
	}
	c := newClient(t, running)
	if answer := c.call("GET", "/version"); answer.Reason != "no" {
		t.Errorf("the rule does not act: %d %s", answer.Status, answer.Reason)
	}
	send("DELETE", "/rules/", "", token)
	c.ok("GET", "/version")
}

// A driver's wrong request must be noticed: the check itself is checked here.
func TestConformanceFindsBadRequests(t *testing.T) {
	api, err := conformance.LoadDump("9")
	if err != nil {
		t.Skipf("requests not checked against a real node's schema: %v", err)
	}
	for _, fact := range []struct {
		request fault.Request
		problem string
	}{
		{fault.Request{Method: "GET", Path: "/version"}, ""},
		{fault.Request{Method: "GET", Path: "/nope"}, "GET /nope: no such method"},
		{fault.Request{Method: "PUT", Path: "/nodes/a/qemu/100/config", Params: map[string]any{"cores": "x"}},
			"PUT /nodes/a/qemu/100/config: cores: type check ('integer') failed - got 'x'"},
		{fault.Request{Method: "POST", Path: "/nodes/a/qemu"}, "POST /nodes/a/qemu: vmid: property is missing and it is not optional"},
	} {
		got := strings.Join(conformance.Check([]fault.Request{fact.request}, api), "\n")
		if got != fact.problem {
			t.Errorf("%v: got %q, want %q", fact.request, got, fact.problem)
		}
	}
}

package lab_test

import (
	"testing"

	"gantry/lab"
)

// A locked guest takes no change and no button; root@pam with a ticket gets by with skiplock, wherever qemu-server passes it on.
func TestSkiplock(t *testing.T) {
	running := startLab(t, lab.Config{NoCleanupLock: true})
	c := newClient(t, running)
	root := c.login("root@pam", running.RootPassword())
	const path = "/nodes/pve1/qemu/100"
	c.must(c.task("POST", "/nodes/pve1/qemu", "vmid", "100", "scsi0", "local:1"), "OK")
	lock := func() { root.ok("PUT", path+"/config", "lock", "backup", "skiplock", "1") }
	lock()
	for _, fact := range []struct {
		method, path string
		params       []string
	}{
		{"POST", "/status/start", nil},
		{"POST", "/status/suspend", nil},
		{"POST", "/status/resume", nil},
		{"POST", "/status/reset", nil},
		{"POST", "/status/shutdown", nil},
		{"POST", "/status/start", nil},
		{"POST", "/status/stop", nil},
		{"POST", "/config", []string{"name", "x"}},
		{"PUT", "/resize", []string{"disk", "scsi0", "size", "+1G"}},
	} {
		answer := root.call(fact.method, path+fact.path, fact.params...)
		exit := answer.Reason // of what is refused before there is a task
		if answer.Status == 200 {
			exit = c.wait(answer.Data.(string))
		}
		if exit != "VM is locked (backup)" {
			t.Errorf("%s %s without skiplock: %q", fact.method, fact.path, exit)
		}
		if answer := c.call(fact.method, path+fact.path, append(fact.params, "skiplock", "1")...); answer.Errors["skiplock"] != "Only root may use this option." {
			t.Errorf("%s %s with skiplock and a token: %d %s", fact.method, fact.path, answer.Status, answer.Reason)
		}
		if exit := root.task(fact.method, path+fact.path, append(fact.params, "skiplock", "1")...); exit != "OK" {
			t.Errorf("%s %s with skiplock: %q", fact.method, fact.path, exit)
		}
	}
	// What is stopped already is stopped, locked or not.
	c.must(c.task("POST", path+"/status/stop"), "OK")
	c.must(c.task("POST", path+"/status/shutdown"), "OK")
	c.must(c.task("DELETE", path), "VM is locked (backup)")
	if answer := c.call("DELETE", path, "skiplock", "1"); answer.Errors["skiplock"] != "Only root may use this option." {
		t.Errorf("DELETE with skiplock and a token: %d %s", answer.Status, answer.Reason)
	}
	c.must(root.task("DELETE", path, "skiplock", "1"), "OK")
	if rows, _ := c.ok("GET", "/nodes/pve1/storage/local/content", "vmid", "100").([]any); len(rows) > 0 {
		t.Errorf("left behind: %v", rows)
	}
}

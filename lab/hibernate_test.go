package lab_test

import (
	"strings"
	"testing"

	"gantry/lab"
)

// Deleting "vmstate" is how PVE's panel gives hibernation up: the lock "suspended" does not count then and goes with it.
func TestHibernationIsGivenUp(t *testing.T) {
	running := startLab(t, lab.Config{NoCleanupLock: true})
	c := newClient(t, running)
	const path = "/nodes/pve1/qemu/100"
	token := func(name, privileges string) *client {
		c.ok("POST", "/access/roles", "roleid", name, "privs", privileges)
		c.ok("POST", "/access/users", "userid", name+"@pve")
		c.ok("PUT", "/access/acl", "path", "/", "roles", name, "users", name+"@pve")
		made, _ := c.ok("POST", "/access/users/"+name+"@pve/token/test", "privsep", "0").(map[string]any)
		return c.as(name + "@pve!test=" + made["value"].(string))
	}
	enough := token("enough", "VM.Config.Disk VM.PowerMgmt Datastore.AllocateSpace")
	noPower := token("nopower", "VM.Config.Disk Datastore.AllocateSpace")
	noStorage := token("nostorage", "VM.Config.Disk VM.PowerMgmt")

	hibernated := func() map[string]any {
		conf, _ := c.ok("GET", path+"/config").(map[string]any)
		return conf
	}
	volumes := func() int {
		rows, _ := c.ok("GET", "/nodes/pve1/storage/data/content", "vmid", "100").([]any)
		return len(rows)
	}
	c.must(c.task("POST", "/nodes/pve1/qemu", "vmid", "100", "scsi0", "data:1"), "OK")
	hibernate := func() {
		c.must(c.task("POST", path+"/status/start"), "OK")
		c.must(c.task("POST", path+"/status/suspend", "todisk", "1"), "OK")
		if conf := hibernated(); conf["lock"] != "suspended" || conf["vmstate"] == nil || conf["runningmachine"] != "pc-i440fx-10.1+pve0" || volumes() != 2 {
			t.Fatalf("hibernated with %d volumes: %v", volumes(), conf)
		}
	}
	hibernate()
	for _, fact := range []struct {
		who    *client
		params []string
		exit   string
	}{
		{c, []string{"name", "x"}, "VM is locked (suspended)"},
		{c, []string{"delete", "meta"}, "only root can set 'meta' config"},
		{c, []string{"vmstate", "data:100/x.raw"}, "Parameter verification failed."},
		{c, []string{"delete", "vmstate", "digest", strings.Repeat("0", 40)}, "checksum mismatch (file change by other user?)"},
		{noPower, []string{"delete", "vmstate"}, "Permission check failed (/vms/100, VM.PowerMgmt)"},
		{noStorage, []string{"delete", "vmstate"}, "Permission check failed (/storage/data, Datastore.AllocateSpace)"},
	} {
		answer := fact.who.call("POST", path+"/config", fact.params...)
		exit := answer.Reason
		if answer.Status == 200 {
			exit = c.wait(answer.Data.(string))
		}
		if conf := hibernated(); exit != fact.exit || conf["lock"] != "suspended" || conf["vmstate"] == nil || volumes() != 2 {
			t.Errorf("%v: %q, want %q; %v", fact.params, exit, fact.exit, conf)
		}
	}
	digest, _ := hibernated()["digest"].(string)
	upid, _ := enough.ok("POST", path+"/config", "delete", "vmstate", "digest", digest).(string)
	c.must(c.wait(upid), "OK")
	if log := c.log(upid); log[0] != "update VM 100: -delete vmstate" {
		t.Errorf("log: %q", log)
	}
	given := func() {
		t.Helper()
		conf := hibernated()
		for _, key := range []string{"lock", "vmstate", "runningmachine"} {
			if conf[key] != nil {
				t.Errorf("%s is still there: %v", key, conf[key])
			}
		}
		if volumes() != 1 {
			t.Errorf("%d volumes", volumes())
		}
	}
	given()

	hibernate()
	c.ok("PUT", path+"/config", "delete", "vmstate")
	given()
	// Nothing is saved any more: a start boots, and another delete changes nothing.
	c.ok("PUT", path+"/config", "delete", "vmstate")
	c.must(c.task("POST", path+"/status/start"), "OK")
}

package pve

import (
	"fmt"
	"strings"
	"testing"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// What an interrupted create left is deleted only with the proof that it is that, and while its lock is there only by root@pam with a
// password.
func TestStaleCreates(t *testing.T) {
	const remains, task = `{"lock":"create","digest":"d"}`, "UPID:pve1:00000103:000450DE:6B01F6C6:qmcreate:100:root@pam:"
	byToken := strings.Replace(task, "root@pam", testToken, 1)
	state := func(exit string) string { return data(fmt.Sprintf(`{"status":"stopped","exitstatus":%q}`, exit)) }
	vanished := reply("400 Parameter verification failed.", `{"errors":{"upid":"no such task"}}`)
	for name, fact := range map[string]struct {
		config, proof, state string
		token                bool
		err                  broker.Kind
	}{
		"failed":              {remains, task, state("unexpected status"), false, ""},
		"vanished":            {remains, task, vanished, false, ""},
		"still runs":          {remains, task, data(`{"status":"running"}`), false, broker.Conflict},
		"ended well":          {remains, task, state("OK"), false, broker.Conflict},
		"can't be asked":      {remains, task, reply("595 No route to host", ""), false, broker.Unreachable},
		"another guest's":     {remains, strings.Replace(task, ":100:", ":101:", 1), vanished, false, broker.Conflict},
		"another kind":        {remains, strings.Replace(task, "qmcreate", "qmstart", 1), vanished, false, broker.Conflict},
		"somebody else's":     {remains, strings.Replace(task, "root@pam", "joe@pve", 1), vanished, false, broker.Conflict},
		"no proof":            {remains, "", vanished, false, broker.Conflict},
		"a whole guest":       {testConfig, task, vanished, false, broker.Conflict},
		"another lock":        {`{"lock":"backup"}`, task, vanished, false, broker.Conflict},
		"made by a token":     {remains, task, vanished, true, broker.Unsupported},
		"unlocked":            {`{"digest":"d"}`, byToken, vanished, true, ""},
		"unlocked, no proof":  {`{"digest":"d"}`, task, vanished, true, broker.Conflict},
		"unlocked and whole":  {`{"digest":"d","name":"x"}`, byToken, vanished, true, broker.Conflict},
		"of a foreign create": {`{"lock":"create","smbios1":"uuid=11111111-0000-4000-8000-00000000abcd"}`, task, vanished, false, broker.Conflict},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, guestPages(map[string]string{
				"GET /nodes/pve1/qemu/100/config": data(fact.config), taskPath + fact.proof + "/status": fact.state,
				"POST /access/ticket":         data(`{"ticket":"PVE:root@pam:1::x","CSRFPreventionToken":"c","username":"root@pam"}`),
				"DELETE /nodes/pve1/qemu/100": data(quoted("qmdestroy")),
			}))
			d := s.byToken(t)
			if !fact.token {
				d = openRaw(t, s.settings(map[string]string{"username": "root", "realm": "pam", "password": "secret"}))
			}
			operation, err := d.ClearStaleCreate(t.Context(), testRef, hypervisor.Operation{ID: fact.proof, Node: "pve1"})
			if broker.KindOf(err) != fact.err || operation.Done() != (fact.err != "") {
				t.Errorf("got %+v, %v, want %q", operation, err, fact.err)
			}
			deletes := 0
			for _, request := range s.seen() {
				if strings.HasPrefix(request, "DELETE ") {
					deletes++
					want := "DELETE /nodes/pve1/qemu/100?destroy-unreferenced-disks=1&purge=1&skiplock=1 "
					if !strings.Contains(fact.config, "lock") {
						want = strings.Replace(want, "&skiplock=1", "", 1)
					}
					if request != want {
						t.Errorf("sent %q", request)
					}
				}
			}
			if deletes == 1 != (fact.err == "") {
				t.Errorf("%d deletes", deletes)
			}
		})
	}
}

package pve

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

func TestButtonsByState(t *testing.T) {
	const stopped, running, paused, suspended = `{"status":"stopped"}`, `{"status":"running","qmpstatus":"running"}`, `{"status":"running","qmpstatus":"paused"}`, `{"status":"stopped","lock":"suspended"}`
	for _, fact := range []struct {
		action  hypervisor.PowerAction
		state   string
		options hypervisor.PowerOptions
		sends   string // "" = nothing
		err     broker.Kind
	}{
		{hypervisor.Start, stopped, hypervisor.PowerOptions{}, "POST /status/start", ""},
		{hypervisor.Start, suspended, hypervisor.PowerOptions{}, "POST /status/start", ""},
		{hypervisor.Start, paused, hypervisor.PowerOptions{}, "POST /status/resume", ""},
		{hypervisor.Start, running, hypervisor.PowerOptions{}, "", ""},
		{hypervisor.Stop, running, hypervisor.PowerOptions{}, `POST /status/stop {"overrule-shutdown":1}`, ""},
		{hypervisor.Stop, suspended, hypervisor.PowerOptions{}, `POST /config {"delete":"vmstate","digest":"d1"}`, ""},
		{hypervisor.Stop, stopped, hypervisor.PowerOptions{}, "", ""},
		{hypervisor.Shutdown, running, hypervisor.PowerOptions{}, "POST /status/shutdown", ""},
		{hypervisor.Shutdown, running, hypervisor.PowerOptions{Timeout: 1500 * time.Millisecond, Force: true}, `POST /status/shutdown {"forceStop":1,"timeout":2}`, ""},
		{hypervisor.Shutdown, stopped, hypervisor.PowerOptions{}, "", ""},
		{hypervisor.Shutdown, suspended, hypervisor.PowerOptions{}, "", broker.Conflict},
		{hypervisor.Reboot, running, hypervisor.PowerOptions{}, "POST /status/reboot", ""},
		{hypervisor.Reboot, stopped, hypervisor.PowerOptions{}, "", broker.Conflict},
		{hypervisor.Reset, running, hypervisor.PowerOptions{}, "POST /status/reset", ""},
		{hypervisor.Reset, suspended, hypervisor.PowerOptions{}, "", broker.Conflict},
		{hypervisor.Suspend, running, hypervisor.PowerOptions{}, `POST /status/suspend {"todisk":1}`, ""},
		{hypervisor.Suspend, suspended, hypervisor.PowerOptions{}, "", ""},
		{hypervisor.Suspend, stopped, hypervisor.PowerOptions{}, "", broker.Conflict},
		{hypervisor.Resume, suspended, hypervisor.PowerOptions{}, "POST /status/start", ""},
		{hypervisor.Resume, paused, hypervisor.PowerOptions{}, "POST /status/resume", ""},
		{hypervisor.Resume, running, hypervisor.PowerOptions{}, "", ""},
		{hypervisor.Resume, stopped, hypervisor.PowerOptions{}, "", broker.Conflict},
	} {
		t.Run(string(fact.action)+" "+fact.state, func(t *testing.T) {
			s := serve(t, func(request *http.Request) string {
				if request.Method == "GET" {
					return guestPages(map[string]string{"GET /nodes/pve1/qemu/100/status/current": data(fact.state)})(request)
				}
				return data(quoted("qmx"))
			})
			operation, err := s.byToken(t).Power(t.Context(), testRef, fact.action, fact.options)
			if broker.KindOf(err) != fact.err || operation.Done() != (fact.sends == "") {
				t.Errorf("got %+v, %v", operation, err)
			}
			sent := ""
			if seen := s.seen(); len(seen) > 2 {
				sent = strings.TrimSpace(strings.Replace(seen[2], "/nodes/pve1/qemu/100", "", 1))
			}
			if sent != fact.sends {
				t.Errorf("sent %q, want %q", sent, fact.sends)
			}
		})
	}
}

func TestStopWorksBeforeOverruleShutdownExisted(t *testing.T) {
	s := serve(t, func(request *http.Request) string {
		if request.Method == "GET" {
			return guestPages(map[string]string{"GET /nodes/pve1/qemu/100/status/current": data(`{"status":"running"}`)})(request)
		}
		if request.ContentLength > 2 {
			return reply("400 Parameter verification failed.", `{"errors":{"overrule-shutdown":"property is not defined in schema and the schema does not allow additional properties"}}`)
		}
		return data(quoted("qmstop"))
	})
	operation, err := s.byToken(t).Power(t.Context(), testRef, hypervisor.Stop, hypervisor.PowerOptions{})
	if err != nil || operation != taskOf("qmstop") {
		t.Errorf("got %+v, %v", operation, err)
	}
}

// A guest that moved, or whose node is down, is looked up in /cluster/resources; node names in refs are hints.
func TestGuestsAreFoundWhereTheyAre(t *testing.T) {
	missing := reply("500 Configuration file 'nodes/pve1/qemu-server/100.conf' does not exist", "")
	for name, fact := range map[string]struct {
		node, there string // what pve1 answers
		resources   string
		want        string // node
		err         broker.Kind
	}{
		"moved":                  {"pve1", missing, `[{"type":"qemu","vmid":100,"node":"pve2"}]`, "pve2", ""},
		"node down, guest moved": {"pve1", reply("595 No route to host", ""), `[{"type":"qemu","vmid":100,"node":"pve2"}]`, "pve2", ""},
		"node down with guest":   {"pve1", reply("595 No route to host", ""), `[{"type":"qemu","vmid":100,"node":"pve1"}]`, "", broker.Unreachable},
		"no node known":          {"", "", `[{"type":"qemu","vmid":100,"node":"pve2"}]`, "pve2", ""},
		"a path for a node":      {"../access", "", `[{"type":"qemu","vmid":100,"node":"pve2"}]`, "pve2", ""},
		"unknown node":           {"pve1", reply("500 hostname lookup 'pve1' failed - failed to get address info", ""), `[{"type":"qemu","vmid":100,"node":"pve2"}]`, "pve2", ""},
		"gone":                   {"pve1", missing, `[{"type":"qemu","vmid":101,"node":"pve2"}]`, "", broker.NotFound},
		"a container's id":       {"pve1", missing, `[{"type":"lxc","vmid":100,"node":"pve2"}]`, "", broker.NotFound},
		"denied":                 {"pve1", reply("403 Permission check failed (/vms/100, VM.Audit)", ""), `[]`, "", broker.HypervisorAuth},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, pages(map[string]string{
				"GET /nodes/pve1/qemu/100/config": fact.there, "GET /nodes/pve2/qemu/100/config": data(testConfig),
				"GET /nodes/pve2/qemu/100/status/current": data(`{"status":"running"}`), "GET /cluster/resources": data(fact.resources),
			}))
			guest, err := s.byToken(t).FindGuest(t.Context(), hypervisor.GuestRef{ID: 100, Node: fact.node})
			if broker.KindOf(err) != fact.err || guest.Node != fact.want {
				t.Errorf("found %+v, %v", guest, err)
			}
		})
	}
}

// What a create looks like from outside while it works, as observed: first a configuration with nothing but the lock.
func TestUnfinishedCreates(t *testing.T) {
	for name, fact := range map[string]struct {
		config     string
		incomplete bool
		change     broker.Kind
	}{
		"at work":      {`{"lock":"create","digest":"d"}`, true, broker.Locked},
		"no mark":      {`{"name":"foreign","digest":"d"}`, false, broker.Conflict},
		"mark in caps": {strings.Replace(testConfig, testOwner, strings.ToUpper(testOwner), 1), false, ""},
		"other mark":   {`{"smbios1":"uuid=11111111-0000-4000-8000-00000000abcd,base64=1"}`, false, broker.Conflict},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, guestPages(map[string]string{
				"GET /nodes/pve1/qemu/100/config": data(fact.config), "DELETE /nodes/pve1/qemu/100": data(quoted("qmdestroy")),
			}))
			d := s.byToken(t)
			guest, err := d.FindGuest(t.Context(), testRef)
			if err != nil || guest.Incomplete != fact.incomplete {
				t.Errorf("guest is %+v, %v", guest, err)
			}
			if _, err := d.DeleteGuest(t.Context(), testRef); broker.KindOf(err) != fact.change {
				t.Errorf("delete: %v, want %q", err, fact.change)
			}
		})
	}
}

func TestChangesKeepWhatIsNotOurs(t *testing.T) {
	s := serve(t, guestPages(map[string]string{"POST /nodes/pve1/qemu/100/config": data(quoted("qmconfig"))}))
	none := hypervisor.UnlimitedIO()
	none.ReadMBps = 7
	operation, err := s.byToken(t).Configure(t.Context(), testRef, hypervisor.GuestChange{
		Cores: new(4), NIC: &hypervisor.NICSpec{MAC: "02:00:00:00:00:01", Bridge: "vmbr1", RateMbps: 100}, SystemDiskIO: &none,
		CloudInit: &hypervisor.CloudInit{User: "joe", Addresses: []broker.VMAddress{{IP: netip.MustParseAddr("10.0.0.2"), Prefix: 24}}},
	})
	if err != nil || operation != taskOf("qmconfig") {
		t.Fatal(operation, err)
	}
	want := `POST /nodes/pve1/qemu/100/config {"citype":"nocloud","ciuser":"joe","cores":"4","cpulimit":"3",` +
		`"delete":"cipassword,nameserver,sshkeys","digest":"d1","ipconfig0":"ip=10.0.0.2/24",` +
		`"net0":"virtio=02:00:00:00:00:01,bridge=vmbr1,tag=7,mtu=1400,rate=12.5","scsi0":"data:100/vm-100-disk-0.qcow2,discard=on,size=2G,mbps_rd=7"}`
	if got := s.seen()[1]; got != want {
		t.Errorf("sent\n%s, want\n%s", got, want)
	}
}

func TestBigIdsStayIntegers(t *testing.T) {
	const id = 123456789
	s := serve(t, func(request *http.Request) string {
		if request.Method == "GET" {
			return data(testConfig)
		}
		return data(quoted("qmdestroy"))
	})
	if _, err := s.byToken(t).DeleteGuest(t.Context(), hypervisor.GuestRef{ID: id, Node: "pve1", Owner: testOwner}); err != nil {
		t.Fatal(err)
	}
	if got := s.seen()[1]; got != "DELETE /nodes/pve1/qemu/123456789?destroy-unreferenced-disks=1&purge=1 " {
		t.Errorf("sent %q", got)
	}
}

func TestImportsNeedVersionAndStorage(t *testing.T) {
	const local, esxi, off = `{"storage":"local","type":"dir","active":1,"enabled":1,"content":"import"}`, `{"storage":"vm","type":"esxi","active":1}`, `{"storage":"nas","type":"nfs","active":0}`
	for name, fact := range map[string]struct {
		version, storages string
		err               broker.Kind
	}{
		"8.4":         {"8.4.1", local, broker.NotFound},
		"9.2":         {"9.2.11", local, broker.NotFound},
		"10.0":        {"10.0.1", local, broker.NotFound},
		"8.3":         {"8.3.5", local, broker.Unsupported},
		"no storage":  {"9.2.11", "", broker.Unsupported},
		"only esxi":   {"9.2.11", esxi, broker.Unsupported},
		"is inactive": {"9.2.11", off, broker.Unsupported},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, pages(map[string]string{
				"GET /version": data(`{"version":"` + fact.version + `"}`), "GET /nodes/pve1/storage": data("[" + fact.storages + "]"),
				"GET /nodes/pve1/storage/local/content": data(`[{"volid":"local:import/other.qcow2","size":1}]`),
				"GET /nodes/pve1/storage/vm/content":    data("[]"), "GET /nodes/pve1/storage/nas/content": data("[]"),
			}))
			_, err := s.byToken(t).FindImage(t.Context(), "pve1", "x.img")
			if !broker.Is(err, fact.err) {
				t.Errorf("got %v, want %s", err, fact.err)
			}
		})
	}
}

func TestImportNames(t *testing.T) {
	for name, want := range map[string]string{
		"debian-12.qcow2": "debian-12.qcow2", "noble.img": "noble.qcow2", "a.RAW": "a.raw", "x.vmdk": "x.vmdk", "a.b.IMG": "a.b.qcow2",
		"x.iso": "", "x": "", "x.qcow2.xz": "", "": "",
	} {
		if got, err := importName(name); got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v; want %q", name, got, err, want)
		}
	}
}

func TestGivenUpCallsSayWhetherTheyMayHaveArrived(t *testing.T) {
	arrived := make(chan struct{}, 10)
	hold := make(chan struct{})
	s := serve(t, func(*http.Request) string {
		arrived <- struct{}{}
		<-hold
		return cut
	})
	defer close(hold)
	d := s.byToken(t)
	for method, kind := range map[string]broker.Kind{"GET": broker.Unreachable, "POST": broker.UnknownOutcome} {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-arrived
			cancel()
		}()
		var err error
		if method == "GET" {
			_, err = d.Inventory(ctx)
		} else {
			_, err = d.client.begin(ctx, method, "/nodes/pve1/qemu", nil)
		}
		check(t, err, kind, "given up")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := d.client.begin(ctx, "POST", "/nodes/pve1/qemu", nil)
	check(t, err, broker.Unreachable, "")
}

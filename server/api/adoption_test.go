package api_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"gantry/server/api/ams"
	"gantry/server/broker"
)

// foreignGuests are guests of the simulated hypervisor that others made, by VMID, and who owns which.
type foreignGuests struct {
	sync.Mutex
	guests map[int]broker.ForeignGuest
	marks  map[int]string
}

func (f *fakeFleet) ForeignGuest(_ context.Context, _ int64, _ string, vmid int) (*broker.ForeignGuest, error) {
	f.foreign.Lock()
	defer f.foreign.Unlock()
	if f.down.Load() {
		return nil, broker.Because(broker.Unreachable, broker.ReasonHypervisorUnreachable, "connection refused")
	}
	guest, there := f.foreign.guests[vmid]
	if !there {
		return nil, broker.Because(broker.NotFound, broker.ReasonVMNotFound, vmid)
	}
	return &guest, nil
}

func (f *fakeFleet) MarkGuest(_ context.Context, vm *broker.VM) error {
	f.foreign.Lock()
	defer f.foreign.Unlock()
	if f.foreign.marks == nil {
		f.foreign.marks = map[int]string{}
	}
	f.foreign.marks[vm.VMID] = vm.Owner
	return nil
}

func (f *fakeFleet) UnmarkGuest(_ context.Context, vm *broker.VM) error {
	f.foreign.Lock()
	defer f.foreign.Unlock()
	if f.down.Load() {
		return broker.Because(broker.Unreachable, broker.ReasonHypervisorUnreachable, "connection refused")
	}
	delete(f.foreign.marks, vm.VMID)
	return nil
}

// inhabited is a fixture with guests that others made: 700 runs, 701 is a template, 702 is locked.
func inhabited(t *testing.T) *fixture {
	t.Helper()
	f := stocked(t)
	running := broker.ForeignGuest{
		Node: "pve", Name: "shop", Power: "running", Status: broker.VMRunning, Sockets: 1, Cores: 2, MemoryMB: 2048, OSFamily: "linux",
		Disks: []broker.ForeignDisk{{Number: 0, Volume: "local-lvm:vm-700-disk-0", Storage: "local-lvm", SizeGB: 32}}, MAC: "BC:24:11:00:00:01",
		Bridge: "vmbr0", Addresses: []netip.Prefix{netip.MustParsePrefix("23.94.247.40/28"), netip.MustParsePrefix("2001:db8::7/64")},
	}
	template, locked := running, running
	template.Template, locked.Lock = true, "backup"
	f.fleet.foreign.guests = map[int]broker.ForeignGuest{700: running, 701: template, 702: locked}
	var seen []broker.UnmanagedGuest
	for vmid := 700; vmid < 703; vmid++ {
		seen = append(seen, broker.UnmanagedGuest{ClusterID: 1, VMID: vmid, Node: "pve", Name: fmt.Sprintf("shop-%d", vmid), Power: "running", CPUs: 2, MemoryBytes: 2 << 30, SeenAt: time.Now()})
	}
	seen[1].Template, seen[2].Node = true, "gone"
	check(t, f.store.ReplaceUnmanaged(t.Context(), 1, seen))
	return f
}

func TestAdoptionThroughTheAPI(t *testing.T) {
	f := inhabited(t)
	list := into[ams.List[struct {
		NodeID   *int64 `json:"nodeid"`
		NodeType string `json:"nodeType"`
		VMID     int    `json:"vmid"`
		Name     string `json:"name"`
		Template bool   `json:"template"`
	}]](t, f.admin(t, "GET", "getUnmanagedVmByPage", "").Data)
	if len(list.Records) != 3 || list.Records[0].VMID != 700 || list.Records[0].NodeType != "pve" || *list.Records[0].NodeID != 1 || !list.Records[1].Template || list.Records[2].NodeID != nil {
		t.Errorf("unmanaged %+v", list.Records)
	}
	for call, want := range map[string]int{"?nodeid=1": 2, "?nodeid=2": 0, "?search=shop-702": 1, "?limit=2&page=2": 1} {
		if got := into[ams.List[any]](t, f.admin(t, "GET", "getUnmanagedVmByPage"+call, "").Data); len(got.Records) != want {
			t.Errorf("%s lists %d guests, want %d", call, len(got.Records), want)
		}
	}
	before := f.reserved(t)
	body := fmt.Sprintf(`{"nodeid":1,"vmid":700,"apiId":%d,"expirationTime":4102444800,"username":"root","password":"hunter22"}`, f.keyID)
	first := into[ams.VM](t, f.admin(t, "POST", "adoptVm", body).Data)
	again := into[ams.VM](t, f.admin(t, "POST", "adoptVm", body).Data)
	host := first.VMHost
	if host.ID == 0 || again.VMHost.ID != host.ID || host.VMID != 700 || host.Name != "shop" || host.Memory != 2048 || host.SystemDiskSize != 32 ||
		len(host.IPData) != 2 || host.IPData[0].Gateway == nil || *host.IPData[0].Gateway != "23.94.247.33" || host.IPData[1].SubnetMask != 64 {
		t.Errorf("first %+v\nagain %+v", host, again.VMHost)
	}
	if now := f.reserved(t); now.vms != before.vms+1 || now.addresses != before.addresses+1 || now.tasks != before.tasks {
		t.Errorf("reserved %+v, before %+v", now, before)
	}
	f.fleet.foreign.Lock()
	if mark := f.fleet.foreign.marks[700]; len(mark) != 36 {
		t.Errorf("owner mark %q", mark)
	}
	f.fleet.foreign.Unlock()
	// It belongs to the key now, and is like any other machine but for its system.
	info := into[ams.VM](t, f.billing(t, "GET", fmt.Sprintf("pve/getVmInfo?hostId=%d", host.ID), "").Data)
	if info.VMHost.ExpirationTime == nil || *info.VMHost.ExpirationTime != 4102444800000 {
		t.Errorf("to its owner: %+v", info.VMHost)
	}
	f.billing(t, "PUT", fmt.Sprintf("auto/power/%d/stop", host.ID), "")
	url := fmt.Sprintf("/%s/releaseVm/%d", adminPath, host.ID)
	run(t, f, []scenario{
		{name: "busy", method: "PUT", url: url, as: "admin", code: 1042},
		{name: "another's guest", method: "POST", url: "/" + adminPath + "/adoptVm", as: "admin", body: `{"nodeid":1,"vmid":703}`, code: 1016},
		{name: "a leased address", method: "POST", url: "/" + adminPath + "/adoptVm", as: "admin", body: `{"nodeid":1,"vmid":701,"ipConfig":{"1":"ip=23.94.247.40/28"}}`, code: 20400, has: []string{"template"}},
	})
	f.setStatus(t, host.ID, broker.VMStopped)
	run(t, f, []scenario{{name: "its system is not ours", method: "PUT", url: "{admin}/reinstall", as: "admin", body: fmt.Sprintf(`{"hostId":%d,"os":1}`, host.ID), code: 20400, has: []string{"taken over"}}})
	f.fleet.down.Store(true)
	run(t, f, []scenario{{name: "the hypervisor is down", method: "PUT", url: url, as: "admin", code: 1003}})
	f.fleet.down.Store(false)
	for range 2 {
		f.admin(t, "PUT", fmt.Sprintf("releaseVm/%d", host.ID), "")
	}
	if now := f.reserved(t); now.vms != before.vms || now.addresses != before.addresses {
		t.Errorf("after the release %+v, before %+v", now, before)
	}
}

func TestAdoptionInput(t *testing.T) {
	f := inhabited(t)
	leased := f.order(t, `{"nodeid":1,"os":1,"ipConfig":{"1":"ip=23.94.247.41/28"}}`)
	run(t, f, []scenario{
		bad("no vmid", "POST", "adoptVm", `{"nodeid":1}`, 4000002, "vmid: is required"),
		bad("no node", "POST", "adoptVm", `{"vmid":700}`, 4000002, "nodeid: is required"),
		bad("unknown node", "POST", "adoptVm", `{"nodeid":99,"vmid":700}`, 1002, "nodeid: "),
		bad("unknown guest", "POST", "adoptVm", `{"nodeid":1,"vmid":799}`, 1016, "vmid: "),
		bad("a template", "POST", "adoptVm", `{"nodeid":1,"vmid":701}`, 20400, "is a template"),
		bad("a leased address", "POST", "adoptVm", `{"nodeid":1,"vmid":700,"ipConfig":{"1":"ip=23.94.247.41/28"}}`, 20400, "ipConfig: ", "is taken"),
		bad("any address", "POST", "adoptVm", `{"nodeid":1,"vmid":700,"ipConfig":{"1":""}}`, 4000002, "ipConfig: "),
		bad("a machine's guest", "POST", "adoptVm", fmt.Sprintf(`{"nodeid":1,"vmid":%d}`, leased.VMID), 20400, "already"),
		bad("unknown key", "POST", "adoptVm", `{"nodeid":1,"vmid":700,"apiId":99}`, 20400, "apiId: "),
		bad("unknown plan", "POST", "adoptVm", `{"nodeid":1,"vmid":700,"configureTemplateId":99}`, 1020),
		bad("bad name", "POST", "adoptVm", `{"nodeid":1,"vmid":700,"hostname":"a b"}`, 1031, "hostname: "),
		bad("short password", "POST", "adoptVm", `{"nodeid":1,"vmid":700,"password":"x"}`, 4000002, "password: "),
		bad("long ago", "POST", "adoptVm", `{"nodeid":1,"vmid":700,"expirationTime":1000000000}`, 4000002, "expirationTime: "),
		bad("release of nothing", "PUT", "releaseVm/99", "", 1016, "hostId: "),
		bad("release of a word", "PUT", "releaseVm/x", "", 4000001, "hostId: "),
		bad("list of an unknown node", "GET", "getUnmanagedVmByPage?nodeid=99", "", 1002, "nodeid: "),
		bad("disks of a word", "DELETE", fmt.Sprintf("forceDelete/%d", leased.HostID), `{"destroyDisks":"all"}`, 4000001, "destroyDisks: "),
	})
	locked := f.send(t, "POST", "/"+adminPath+"/adoptVm", map[string]string{"Authorization": f.token}, `{"nodeid":1,"vmid":702}`)
	if locked.Code == 20000 {
		t.Errorf("a locked guest: %s", locked.text)
	}
	refusals(t, f, "POST adoptVm", "PUT releaseVm/1", "GET getUnmanagedVmByPage")
}

func TestAnAdoptedMachinesDisksAreDestroyedOnTheOperatorsWordOnly(t *testing.T) {
	for body, want := range map[string]bool{"": false, `{"destroyDisks":false}`: false, `{"destroyDisks":true}`: true} {
		f := inhabited(t)
		host := into[ams.VM](t, f.admin(t, "POST", "adoptVm", `{"nodeid":1,"vmid":700}`).Data).VMHost.ID
		f.admin(t, "DELETE", fmt.Sprintf("forceDelete/%d", host), body)
		tasks, _, err := f.store.ListTasks(t.Context(), broker.TaskFilter{VM: host}, broker.Page{Number: 1, Size: 1})
		check(t, err)
		if got := into[broker.DeleteData](t, tasks[0].Data).DestroyDisks; got != want {
			t.Errorf("%s: the task destroys disks: %v", body, got)
		}
	}
}

package api_test

import (
	"fmt"
	"strings"
	"testing"

	"gantry/server/api/ams"
	"gantry/server/broker"
)

// hosts are the ids of a list's records.
func hosts(t *testing.T, got reply) []int64 {
	t.Helper()
	var ids []int64
	for _, record := range into[ams.ShortList[ams.VM]](t, got.Data).Records {
		ids = append(ids, record.VMHost.ID)
	}
	return ids
}

func TestMachinesAreListedAndCounted(t *testing.T) {
	f := stocked(t)
	first := f.order(t, `{"nodeid":1,"os":1,"hostname":"web-1"}`)
	second := f.order(t, `{"nodeid":1,"os":1,"hostname":"web-2"}`)
	panels := into[ams.OrderReply](t, f.admin(t, "POST", "createVm", `{"nodeid":1,"os":1,"hostname":"db-1"}`).Data)
	f.setStatus(t, first.HostID, broker.VMRunning)
	f.setStatus(t, second.HostID, broker.VMFailed) // shown as stopped
	f.fleet.panics.Store(true)                     // none of these may ask a hypervisor
	for _, fact := range []struct {
		call    string
		admin   []int64
		billing []int64
	}{
		{"getVmByPageOrderByCreateTime", []int64{panels.HostID, second.HostID, first.HostID}, []int64{second.HostID, first.HostID}},
		{"getVmByPageOrderByCreateTime?page=2&size=1", []int64{second.HostID}, []int64{first.HostID}},
		{"getVmByStatus?status=0", []int64{first.HostID}, []int64{first.HostID}},
		{"getVmByStatus?status=1", []int64{second.HostID}, []int64{second.HostID}},
		{"getVmByStatus?status=6", []int64{panels.HostID}, nil},
		{"getVmByParam?param=hostname&value=WEB", []int64{second.HostID, first.HostID}, []int64{second.HostID, first.HostID}},
		{"getVmByParam?param=hostname&value=db-1", []int64{panels.HostID}, nil},
		{"getVmByParam?param=ip&value=" + second.IPData[0].IP, []int64{second.HostID}, []int64{second.HostID}},
		{"getVmByParam?param=ip&value=web", nil, nil},
		{fmt.Sprintf("getVmByParam?param=vmid&value=%d", first.VMID), []int64{first.HostID}, []int64{first.HostID}},
		{"getVmByParam?param=vmid&value=10", nil, nil}, // no prefix: an id is one machine's
		{"getVmByParam?param=nodeid&value=1&size=1", []int64{panels.HostID}, []int64{second.HostID}},
		{"getVmByParam?param=nodeid&value=2", nil, nil},
		{"getVmByParam?param=status&value=6", []int64{panels.HostID}, nil},
	} {
		if got := hosts(t, f.admin(t, "GET", fact.call, "")); fmt.Sprint(got) != fmt.Sprint(fact.admin) {
			t.Errorf("admin, %s: %v, want %v", fact.call, got, fact.admin)
		}
		if got := hosts(t, f.billing(t, "GET", "pve/"+fact.call, "")); fmt.Sprint(got) != fmt.Sprint(fact.billing) {
			t.Errorf("billing, %s: %v, want %v", fact.call, got, fact.billing)
		}
	}
	for call, want := range map[string][2]string{
		"getVmCount": {"3", "2"}, "getVmCountByStatus?status=1": {"1", "1"}, "getVmCountByStatus?status=6": {"1", "0"},
	} {
		admin, billing := f.admin(t, "GET", call, "").Data, f.billing(t, "GET", "pve/"+call, "").Data
		if string(admin) != want[0] || string(billing) != want[1] {
			t.Errorf("%s: %s and %s, want %v", call, admin, billing, want)
		}
	}
}

func TestMachineListsRefuseBadInput(t *testing.T) {
	f := stocked(t)
	vm := f.order(t, `{"nodeid":1,"os":1}`)
	f.setStatus(t, vm.HostID, broker.VMRunning)
	var all []scenario
	for _, fact := range []struct {
		call, field string
		code        int
	}{
		{"getVmByParam?value=1", "param: ", 4000002}, {"getVmByParam?param=vmid", "value: ", 4000002},
		{"getVmByParam?param=colour&value=1", "param: ", 4000002}, {"getVmByParam?param=vmid&value=x", "value: ", 4000002},
		{"getVmByParam?param=nodeid&value=0", "value: ", 4000002}, {"getVmByParam?param=status&value=16", "value: ", 4000002},
		{"getVmByParam?param=hostname&value=" + strings.Repeat("x", 256), "value: ", 4000002},
		{"getVmByStatus", "status: ", 4000002}, {"getVmByStatus?status=x", "status: ", 4000001}, {"getVmByStatus?status=99", "status: ", 4000002},
		{"getVmCountByStatus", "status: ", 4000002}, {"getVmCountByStatus?status=-1", "status: ", 4000002},
		{"getVmByPageOrderByCreateTime?size=1001", "size: ", 4000002}, {"getVmByPageOrderByCreateTime?page=0", "page: ", 4000002},
		{"getVmHostRrdData", "hostId: ", 4000002}, {"getVmHostRrdData?hostId=99", "hostId: ", 1016},
		{fmt.Sprintf("getVmHostRrdData?hostId=%d&timeframe=century", vm.HostID), "timeframe: ", 4000002},
		{fmt.Sprintf("getVmHostRrdData?hostId=%d&cf=SUM", vm.HostID), "cf: ", 4000002},
	} {
		all = append(all,
			scenario{name: "admin " + fact.call, method: "GET", url: "{admin}/" + fact.call, as: "admin", code: fact.code, has: []string{fact.field}},
			scenario{name: "billing " + fact.call, method: "GET", url: "/api/v1/pve/" + fact.call, as: "key", code: fact.code, has: []string{fact.field}})
	}
	for _, call := range []string{"getVmByParam", "getVmByPageOrderByCreateTime", "getVmByStatus", "getVmCount", "getVmCountByStatus", "getVmHostRrdData"} {
		all = append(all,
			scenario{name: "no token " + call, method: "GET", url: "{admin}/" + call, code: 501002},
			scenario{name: "a key for an admin's call " + call, method: "GET", url: "{admin}/" + call, as: "key", code: 501002},
			scenario{name: "no key " + call, method: "GET", url: "/api/v1/pve/" + call, http: 401, code: 501002},
			scenario{name: "unknown driver " + call, method: "GET", url: "/api/v1/vmware/" + call, as: "key", code: 501001})
	}
	run(t, f, all)
}

func TestHistoryIsTheHypervisors(t *testing.T) {
	f := stocked(t)
	vm := f.order(t, `{"nodeid":1,"os":1}`)
	call := fmt.Sprintf("getVmHostRrdData?hostId=%d&timeframe=week&cf=MAX", vm.HostID)
	if got := f.admin(t, "GET", call, ""); string(got.Data) != "[]" {
		t.Errorf("while it is being created: %s", got.text)
	}
	f.setStatus(t, vm.HostID, broker.VMRunning)
	if got := f.billing(t, "GET", "pve/"+call, ""); string(got.Data) != `[{"cpu":0.1,"time":1700890500}]` {
		t.Errorf("running: %s", got.text)
	}
	f.fleet.down.Store(true)
	run(t, f, []scenario{{name: "hypervisor down", method: "GET", url: "{admin}/" + call, as: "admin", code: 20400, has: []string{"connection refused"}}})
}

package api_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"gantry/server/broker"
)

// ordered is a machine of the billing system's key, changed as a test needs it.
func (f *fixture) ordered(t *testing.T, change func(vm *broker.VM)) *broker.VM {
	t.Helper()
	f.setStatus(t, f.order(t, `{"nodeid":1,"os":1}`).HostID, broker.VMRunning)
	vms, _, err := f.store.ListVMs(t.Context(), broker.VMFilter{}, broker.Page{Number: 1, Size: 1})
	check(t, err)
	if change != nil {
		change(&vms[0])
		check(t, f.store.UpdateVM(t.Context(), &vms[0]))
	}
	return f.vm(t, vms[0].ID)
}

func (f *fixture) vm(t *testing.T, id int64) *broker.VM {
	t.Helper()
	vm, err := f.store.FindVM(t.Context(), id)
	check(t, err)
	return vm
}

// queued gives the action of the power task at work on a VM, or the kind of another one; "" for none.
func (f *fixture) queued(t *testing.T, vm *broker.VM) string {
	t.Helper()
	if vm.TaskID == nil {
		return ""
	}
	task, err := f.store.FindTask(t.Context(), *vm.TaskID)
	check(t, err)
	if task.Kind != broker.PowerKind {
		return task.Kind
	}
	var data broker.PowerData
	check(t, json.Unmarshal(task.Data, &data))
	return string(data.Action)
}

func TestRenewalLiftsAnExpiry(t *testing.T) {
	past := time.Now().Add(-time.Hour)
	for name, fact := range map[string]struct {
		before func(vm *broker.VM)
		status broker.VMStatus
		task   string
	}{
		"running":              {func(vm *broker.VM) {}, broker.VMRunning, ""},
		"expired, ran before":  {func(vm *broker.VM) { vm.Status, vm.RanUntilExpiry, vm.ExpiresAt = broker.VMExpired, true, &past }, broker.VMStarting, "start"},
		"expired, was off":     {func(vm *broker.VM) { vm.Status, vm.ExpiresAt = broker.VMExpired, &past }, broker.VMStopped, ""},
		"paused by billing":    {func(vm *broker.VM) { vm.Status = broker.VMPaused }, broker.VMPaused, ""},
		"a task works on it":   {func(vm *broker.VM) { vm.Status, vm.TaskID = broker.VMStopping, new(int64(1)) }, broker.VMStopping, "create"},
		"expired, not noticed": {func(vm *broker.VM) { vm.ExpiresAt = &past }, broker.VMRunning, ""},
	} {
		for _, digits := range []int64{1000, 1} { // seconds, milliseconds
			t.Run(fmt.Sprintf("%s, divided by %d", name, digits), func(t *testing.T) {
				f := stocked(t)
				vm := f.ordered(t, fact.before)
				until := time.Now().Add(30 * 24 * time.Hour).Truncate(time.Second).UTC()
				got := f.billing(t, "PUT", "pve/updateVmConfig/renewal", fmt.Sprintf(`{"hostId":%d,"expirationTime":%d}`, vm.ID, until.UnixMilli()/digits))
				vm = f.vm(t, vm.ID)
				if vm.ExpiresAt == nil || !vm.ExpiresAt.Equal(until) || vm.Status != fact.status || f.queued(t, vm) != fact.task || string(got.Data) != "null" {
					t.Errorf("expires %v, status %d, task %q: %s", vm.ExpiresAt, vm.Status, f.queued(t, vm), got.text)
				}
				if started := got.header.Get("X-Task-Id") != ""; started != (fact.task == "start") {
					t.Errorf("X-Task-Id %q", got.header.Get("X-Task-Id"))
				}
			})
		}
	}
}

func TestSweepStopsWhatExpiredAndStartsNothing(t *testing.T) {
	f := stocked(t)
	past, future := time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	facts := []struct {
		name   string
		change func(vm *broker.VM)
		task   string
	}{
		{"expired while running", func(vm *broker.VM) { vm.ExpiresAt = &past }, "expire"},
		{"expired while off", func(vm *broker.VM) { vm.Status, vm.ExpiresAt = broker.VMStopped, &past }, "expire"},
		{"not expired", func(vm *broker.VM) { vm.ExpiresAt = &future }, ""},
		{"never expires", func(vm *broker.VM) { vm.ExpiresAt = nil }, ""},
		{"expired before", func(vm *broker.VM) { vm.Status, vm.RanUntilExpiry, vm.ExpiresAt = broker.VMExpired, true, &past }, ""},
		{"paused", func(vm *broker.VM) { vm.Status, vm.ExpiresAt = broker.VMPaused, &past }, ""},
		{"failed just now", func(vm *broker.VM) {
			vm.LastError, vm.StatusAt, vm.ExpiresAt = "the hypervisor can't be reached", time.Now(), &past
		}, ""},
		{"failed a while ago", func(vm *broker.VM) {
			vm.LastError, vm.StatusAt, vm.ExpiresAt = "the hypervisor can't be reached", time.Now().Add(-time.Hour), &past
		}, "expire"},
		{"renewed while it was stopped", func(vm *broker.VM) { vm.Status, vm.RanUntilExpiry, vm.ExpiresAt = broker.VMExpired, true, &future }, "start"},
		{"in the bin", func(vm *broker.VM) { vm.RecycledAt, vm.DestroyAt, vm.ExpiresAt = &past, &future, &past }, ""},
		{"its time in the bin is over", func(vm *broker.VM) { vm.RecycledAt, vm.DestroyAt = &past, &past }, "delete"},
	}
	var ids []int64
	for _, fact := range facts {
		ids = append(ids, f.ordered(t, fact.change).ID)
	}
	for range 2 { // a second look finds nothing to do
		check(t, f.broker.Sweep(t.Context()))
		for i, fact := range facts {
			if got := f.queued(t, f.vm(t, ids[i])); got != fact.task {
				t.Errorf("%s: task %q, want %q", fact.name, got, fact.task)
			}
		}
	}
	if vm := f.vm(t, ids[0]); !vm.RanUntilExpiry || vm.Status != broker.VMStopping {
		t.Errorf("expired while running: %+v", vm)
	}
	if vm := f.vm(t, ids[1]); vm.RanUntilExpiry {
		t.Error("a machine that was off counts as one that ran")
	}
}

func TestWhatExpiredIsNotStarted(t *testing.T) {
	f := stocked(t)
	past := time.Now().Add(-time.Minute)
	vm := f.ordered(t, func(vm *broker.VM) { vm.Status, vm.ExpiresAt = broker.VMStopped, &past }) // the sweeper has not come yet
	var all []scenario
	for _, action := range []string{"start", "reboot", "resume"} {
		all = append(all, scenario{name: action, method: "PUT", url: fmt.Sprintf("/api/v1/pve/power/%d/%s", vm.ID, action), as: "key", code: 1021, has: []string{"expired"}})
	}
	all = append(all,
		scenario{name: "reinstall", method: "PUT", url: "/api/v1/pve/reinstall", as: "key", body: fmt.Sprintf(`{"hostId":%d,"os":1}`, vm.ID), code: 1021},
		scenario{name: "expire is no button", method: "PUT", url: fmt.Sprintf("/api/v1/pve/power/%d/expire", vm.ID), as: "key", code: 4000002})
	run(t, f, all)
}

func TestTheRecycleBin(t *testing.T) {
	f := stocked(t)
	expires := time.Now().Add(time.Hour).Truncate(time.Second).UTC()
	vm := f.ordered(t, func(vm *broker.VM) { vm.ExpiresAt = &expires })
	task := f.billing(t, "DELETE", fmt.Sprintf("pve/delete/%d", vm.ID), "").header.Get("X-Task-Id")
	if again := f.billing(t, "POST", fmt.Sprintf("pve/delete/%d", vm.ID), "").header.Get("X-Task-Id"); again != task || task == "" {
		t.Errorf("deleting twice: tasks %q and %q", task, again)
	}
	if got := f.queued(t, f.vm(t, vm.ID)); got != broker.RecycleKind {
		t.Errorf("delete queues %q", got)
	}
	now := time.Now().UTC()
	end := now.AddDate(0, 0, 3)
	f.change(t, vm.ID, func(vm *broker.VM) { // as the workflow ends
		vm.TaskID, vm.Status, vm.RecycledAt, vm.DestroyAt, vm.RecycledStatus = nil, broker.VMStopped, &now, &end, broker.VMRunning
	})
	for call, want := range map[string]string{"getVmByPage": "[]", "getVmByStatus?status=1": "[]", "getVmByParam?param=ip&value=23": "[]", "getDeleteVmByPage": fmt.Sprint([]int64{vm.ID})} {
		if got := fmt.Sprint(hosts(t, f.admin(t, "GET", call, ""))); got != want {
			t.Errorf("%s: %s, want %s", call, got, want)
		}
	}
	if got := f.admin(t, "GET", "getDeleteVmByPage", "").text; !strings.Contains(got, fmt.Sprintf(`"expirationTime":%d`, expires.UnixMilli())) ||
		!strings.Contains(got, fmt.Sprintf(`"destroyTime":%d`, end.UnixMilli())) || !strings.Contains(got, `"deleteState":1`) {
		t.Errorf("in the bin: %s", got)
	}
	run(t, f, []scenario{
		{name: "no power", method: "PUT", url: fmt.Sprintf("{admin}/power/%d/start", vm.ID), as: "admin", code: 20400, has: []string{"recycle bin"}},
		{name: "no renewal", method: "PUT", url: "{admin}/updateVmConfig/renewal", as: "admin", body: fmt.Sprintf(`{"hostId":%d,"expirationTime":4102444800}`, vm.ID), code: 20400, has: []string{"recycle bin"}},
		{name: "its node stays", method: "GET", url: "{admin}/getVmHostInfo?hostId=" + fmt.Sprint(vm.ID), as: "admin", code: 20000, has: []string{`"deleteState":1`}},
	})
	if got := f.billing(t, "DELETE", fmt.Sprintf("pve/delete/%d", vm.ID), "").header.Get("X-Task-Id"); got != task {
		t.Errorf("deleting what is in the bin: task %q, want %q", got, task)
	}
	started := f.admin(t, "PUT", fmt.Sprintf("unDelete/%d", vm.ID), "")
	restored := f.vm(t, vm.ID)
	if restored.RecycledAt != nil || restored.DestroyAt != nil || !restored.ExpiresAt.Equal(expires) || f.queued(t, restored) != "start" || started.header.Get("X-Task-Id") == "" {
		t.Errorf("restored: %+v, task %q", restored, f.queued(t, restored))
	}
	if got := fmt.Sprint(hosts(t, f.billing(t, "GET", "pve/getVmByPage", ""))); got != fmt.Sprint([]int64{vm.ID}) {
		t.Errorf("restored: list %s", got)
	}
}

func TestARestoreGivesBackWhatTheMachineWas(t *testing.T) {
	past := time.Now().Add(-time.Minute)
	for name, fact := range map[string]struct {
		before  broker.VMStatus
		expires *time.Time
		status  broker.VMStatus
		task    string
	}{
		"ran":                          {broker.VMRunning, nil, broker.VMStarting, "start"},
		"was off":                      {broker.VMStopped, nil, broker.VMStopped, ""},
		"paused by billing":            {broker.VMPaused, nil, broker.VMPaused, ""},
		"expired before":               {broker.VMExpired, &past, broker.VMExpired, ""},
		"ran, and expired in the bin":  {broker.VMRunning, &past, broker.VMExpired, ""},
		"suspended to disk, stays off": {broker.VMSuspended, nil, broker.VMSuspended, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := stocked(t)
			vm := f.ordered(t, func(vm *broker.VM) {
				vm.Status, vm.RecycledAt, vm.DestroyAt, vm.RecycledStatus, vm.ExpiresAt = broker.VMStopped, &past, &past, fact.before, fact.expires
			})
			f.admin(t, "POST", fmt.Sprintf("unDelete/%d", vm.ID), "")
			if vm = f.vm(t, vm.ID); vm.Status != fact.status || f.queued(t, vm) != fact.task {
				t.Errorf("status %d, task %q", vm.Status, f.queued(t, vm))
			}
		})
	}
}

func TestForceDeleteAndDeleteWithoutABinDestroy(t *testing.T) {
	f := stocked(t)
	past := time.Now().Add(-time.Minute)
	binned := func(vm *broker.VM) { vm.RecycledAt, vm.DestroyAt = &past, &past }
	for _, fact := range []struct {
		call string
		days string
		vm   *broker.VM
	}{
		{"forceDelete/%d", "3", f.ordered(t, nil)}, {"forceDelete/%d", "3", f.ordered(t, binned)}, {"delete/%d", "0", f.ordered(t, nil)},
	} {
		check(t, f.store.SaveSetting(t.Context(), "system.delete_days", fact.days, false))
		f.admin(t, "DELETE", fmt.Sprintf(fact.call, fact.vm.ID), "")
		if got := f.queued(t, f.vm(t, fact.vm.ID)); got != broker.DeleteKind {
			t.Errorf("%s with %s days queues %q", fact.call, fact.days, got)
		}
	}
	creating := f.order(t, `{"nodeid":1,"os":1}`)
	check(t, f.store.SaveSetting(t.Context(), "system.delete_days", "3", false))
	if got := f.billing(t, "DELETE", fmt.Sprintf("pve/delete/%d", creating.HostID), "").header.Get("X-Task-Id"); got != fmt.Sprint(creating.TaskID) {
		t.Errorf("deleting what is being created: task %s, want the create %d", got, creating.TaskID)
	}
}

func TestTheEndsOfMachinesRefuseBadInput(t *testing.T) {
	f := stocked(t)
	vm := f.ordered(t, nil)
	renew := func(name, body, field string, code int) []scenario {
		return []scenario{
			{name: "billing: " + name, method: "PUT", url: "/api/v1/pve/updateVmConfig/renewal", as: "key", body: body, code: code, has: []string{field}},
			{name: "admin: " + name, method: "POST", url: "{admin}/updateVmConfig/renewal", as: "admin", body: body, code: code, has: []string{field}},
		}
	}
	var all []scenario
	for _, each := range [][]scenario{
		renew("no id", `{"expirationTime":4102444800}`, "hostId: ", 4000002),
		renew("unknown id", `{"hostId":99,"expirationTime":4102444800}`, "hostId: ", 1016),
		renew("no time", fmt.Sprintf(`{"hostId":%d}`, vm.ID), "expirationTime: ", 4000002),
		renew("zero", fmt.Sprintf(`{"hostId":%d,"expirationTime":0}`, vm.ID), "expirationTime: ", 4000002),
		renew("12 digits", fmt.Sprintf(`{"hostId":%d,"expirationTime":583883808973}`, vm.ID), "expirationTime: ", 4000002),
		renew("a date", fmt.Sprintf(`{"hostId":%d,"expirationTime":"2030-01-01"}`, vm.ID), "expirationTime: ", 4000001),
		renew("in the past", fmt.Sprintf(`{"hostId":%d,"expirationTime":1000000000}`, vm.ID), "expirationTime: ", 4000002),
		{
			{name: "nothing to restore", method: "PUT", url: fmt.Sprintf("{admin}/unDelete/%d", vm.ID), as: "admin", code: 20400, has: []string{"not in the recycle bin"}},
			{name: "restore an unknown id", method: "PUT", url: "{admin}/unDelete/99", as: "admin", code: 1016},
			{name: "destroy an unknown id", method: "DELETE", url: "/api/v1/pve/forceDelete/99", as: "key", code: 1016},
			{name: "destroy no number", method: "DELETE", url: "{admin}/forceDelete/x", as: "admin", code: 4000001},
			{name: "destroy without a key", method: "DELETE", url: fmt.Sprintf("/api/v1/pve/forceDelete/%d", vm.ID), http: 401, code: 501002},
			{name: "restore without a token", method: "PUT", url: fmt.Sprintf("{admin}/unDelete/%d", vm.ID), code: 501002},
			{name: "the bin without a token", method: "GET", url: "{admin}/getDeleteVmByPage", as: "key", code: 501002},
			{name: "renew without a key", method: "PUT", url: "/api/v1/pve/updateVmConfig/renewal", http: 401, code: 501002},
			{name: "restoring is not for billing", method: "PUT", url: fmt.Sprintf("/api/v1/pve/unDelete/%d", vm.ID), as: "key", code: 501001},
		},
	} {
		all = append(all, each...)
	}
	run(t, f, all)
}

// change changes a machine in the store.
func (f *fixture) change(t *testing.T, id int64, change func(vm *broker.VM)) {
	t.Helper()
	vm := f.vm(t, id)
	change(vm)
	check(t, f.store.UpdateVM(t.Context(), vm))
}

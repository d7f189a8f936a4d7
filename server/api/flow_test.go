package api_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"gantry/server/api"
	"gantry/server/api/ams"
	"gantry/server/broker"
)

func (f *fixture) order(t testing.TB, body string) ams.OrderReply {
	t.Helper()
	return into[ams.OrderReply](t, f.billing(t, "POST", "pve/cerateVM", body).Data)
}

func TestAnOrderIsAnsweredWithAllThatWasReserved(t *testing.T) {
	f := stocked(t)
	got := f.order(t, `{"nodeid":1,"hostname":"cloud-test01","os":1,"memory":"512","dataDisk":{"1":40},"ipConfig":{"1":""},"onBoot":1}`)
	if got.HostID == 0 || got.VMID < 100 || got.Hostname != "cloud-test01" || got.Username != "root" || len(got.Password) < 12 || got.TaskID == 0 {
		t.Errorf("got %+v", got)
	}
	if got.Storage != "local-lvm" || got.Bridge != "vmbr0" || got.Cores != 1 || got.Memory != 512 || got.CPU != "kvm64" || got.DNS1 != "114.114.114.114" {
		t.Errorf("defaults: %+v", got)
	}
	gateway := "23.94.247.33"
	if len(got.IPData) != 1 || got.IPData[0].IP != "23.94.247.34" || got.IPData[0].SubnetMask != 28 || *got.IPData[0].Gateway != gateway {
		t.Errorf("ipData %+v", got.IPData)
	}
	if got.IPConfig["1"] != "ip=23.94.247.34/28,gw=23.94.247.33" || got.DataDisk["1"] != float64(40) {
		t.Errorf("ipConfig %v, dataDisk %v", got.IPConfig, got.DataDisk)
	}
	if f.queue.woken.Load() == 0 {
		t.Error("the task engine was not woken")
	}
	if now := f.reserved(t); now != (reserved{1, 1, 1}) {
		t.Errorf("reserved %+v", now)
	}
}

func TestTheSameOrderTwiceIsOneMachine(t *testing.T) {
	f := stocked(t)
	header := map[string]string{"Authorization": f.basic, "Idempotency-Key": "service-4711"}
	body := `{"nodeid":1,"os":"CentOS-8-Stream-x64","memory":1024}`
	var hosts sync.Map
	var together sync.WaitGroup
	for range 8 {
		together.Go(func() {
			got := f.send(t, "POST", "/api/v1/pve/cerateVM", header, body)
			if got.Code != 20000 {
				t.Errorf("%s", got.text)
				return
			}
			hosts.Store(into[ams.OrderReply](t, got.Data).HostID, true)
		})
	}
	together.Wait()
	count := 0
	hosts.Range(func(any, any) bool { count++; return true })
	if count != 1 {
		t.Errorf("%d machines", count)
	}
	if now := f.reserved(t); now != (reserved{1, 1, 1}) {
		t.Errorf("reserved %+v", now)
	}
	if got := f.send(t, "POST", "/api/v1/pve/cerateVM", header, `{"nodeid":1,"os":"CentOS-8-Stream-x64","memory":2048}`); got.Code != 20405 || !strings.Contains(got.Message, "Idempotency-Key: ") {
		t.Errorf("another order with the key: %s", got.text)
	}
	taken := f.send(t, "POST", "/api/v1/pve/cerateVM", map[string]string{"Authorization": f.basic}, `{"nodeid":1,"os":"CentOS-8-Stream-x64","hostname":"23-94-247-34"}`)
	if taken.Code != 1043 || !strings.Contains(taken.Message, "hostname: ") {
		t.Errorf("host name taken: %s", taken.text)
	}
}

func TestAKeyReachesItsOwnMachinesOnly(t *testing.T) {
	f := stocked(t)
	mine := f.order(t, `{"nodeid":1,"os":1}`)
	panels := into[ams.OrderReply](t, f.admin(t, "POST", "createVm", `{"nodeid":1,"os":1}`).Data)
	other, secret, err := f.accounts.NewAPIKey(t.Context(), "other")
	check(t, err)
	for _, each := range []struct {
		name, header string
		host, task   int64
	}{
		{"another key", basicHeader(other.AppID, secret), mine.HostID, mine.TaskID},
		{"the panel's machine", f.basic, panels.HostID, panels.TaskID},
	} {
		for _, call := range []struct{ method, path, body string }{
			{"GET", fmt.Sprintf("getVmInfo?hostId=%d", each.host), ""},
			{"GET", fmt.Sprintf("getVnc?hostId=%d", each.host), ""},
			{"PUT", fmt.Sprintf("power/%d/stop", each.host), ""},
			{"POST", "reinstall", fmt.Sprintf(`{"hostId":%d,"os":1}`, each.host)},
			{"DELETE", fmt.Sprintf("delete/%d", each.host), ""},
			{"GET", fmt.Sprintf("getTask?id=%d", each.task), ""},
		} {
			before := f.reserved(t)
			got := f.send(t, call.method, "/api/v1/pve/"+call.path, map[string]string{"Authorization": each.header}, call.body)
			if got.Code == 20000 || strings.Contains(got.text, mine.Password) || strings.Contains(got.text, panels.Password) {
				t.Errorf("%s, %s: %s", each.name, call.path, got.text)
			}
			if now := f.reserved(t); now != before {
				t.Errorf("%s, %s: reserved %+v, was %+v", each.name, call.path, now, before)
			}
		}
	}
	own := into[ams.ShortList[ams.VM]](t, f.billing(t, "GET", "pve/getVmByPage", "").Data)
	if own.Total != 1 || own.Records[0].VMHost.ID != mine.HostID {
		t.Errorf("the key's list: %+v", own)
	}
	all := into[ams.ShortList[ams.VM]](t, f.admin(t, "GET", "getVmByPage", "").Data)
	if all.Total != 2 {
		t.Errorf("the panel's list has %d machines", all.Total)
	}
	task := into[ams.Task](t, f.billing(t, "GET", fmt.Sprintf("pve/getTask?id=%d", mine.TaskID), "").Data)
	if task.HostID == nil || *task.HostID != mine.HostID || task.RequestedBy != "" {
		t.Errorf("own task %+v", task)
	}
}

func TestSecretsAreShownWhereTheyBelongOnly(t *testing.T) {
	f := stocked(t)
	f.admin(t, "POST", "insertNodeMaster", `{"host":"192.0.2.11","tokenId":"gantry@pve!broker","tokenSecret":"tokenhypersecret","sshUsername":"root","sshPassword":"sshhypersecret","controllerSecret":"daemonhypersecret","nodeName":"pve"}`)
	got := f.order(t, `{"nodeid":1,"os":1,"password":"guesthypersecret"}`)
	info := into[ams.VM](t, f.billing(t, "GET", fmt.Sprintf("pve/getVmInfo?hostId=%d", got.HostID), "").Data)
	if info.VMHost.Password != "guesthypersecret" {
		t.Errorf("getVmInfo: password %q", info.VMHost.Password)
	}
	if info := into[ams.VM](t, f.admin(t, "GET", fmt.Sprintf("getVmHostInfo?hostId=%d", got.HostID), "").Data); info.VMHost.Password != "guesthypersecret" {
		t.Errorf("getVmHostInfo: password %q", info.VMHost.Password)
	}
	for _, list := range []string{"getVmByPage", "selectNodeByPage", "selectApiByPage", "getTaskByPage", fmt.Sprintf("getTask?id=%d", got.TaskID), "selectOsByPage"} {
		if text := f.admin(t, "GET", list, "").text; strings.Contains(text, "hypersecret") {
			t.Errorf("%s: %s", list, text)
		}
	}
	if text := f.admin(t, "GET", "selectApiByPage", "").text; !strings.Contains(text, `"appkey":"**********`) {
		t.Errorf("selectApiByPage: %s", text)
	}
	nodes := f.admin(t, "GET", "selectNodeByPage", "").text
	for _, text := range []string{`"password":"**********"`, `"sshPassword":"**********"`, `"csrfToken":"**********"`, `"ticket":"**********"`, `"tokenId":"gantry@pve!broker"`, `"username":"gantry"`, `"realm":"pve"`, `"controllerPort":7600`, `"controllerStatus":0`} {
		if !strings.Contains(nodes, text) {
			t.Errorf("selectNodeByPage lacks %s: %s", text, nodes)
		}
	}
	check(t, f.handler.Close(context.Background()))
	if text := f.log.String(); strings.Contains(text, "hypersecret") || strings.Contains(text, f.password) || strings.Contains(text, f.token) {
		t.Errorf("the log has a secret: %s", text)
	}
	entries, _, err := f.store.ListAudit(t.Context(), broker.Page{Number: 1, Size: 100})
	check(t, err)
	if text := fmt.Sprintf("%+v", entries); strings.Contains(text, "hypersecret") || strings.Contains(text, adminPath) {
		t.Errorf("the audit log has a secret: %s", text)
	}
}

func TestEveryWriteIsAudited(t *testing.T) {
	f := stocked(t)
	got := f.order(t, `{"nodeid":1,"os":1,"password":"guesthypersecret","hostname":"web"}`)
	f.setStatus(t, got.HostID, broker.VMRunning)
	f.admin(t, "PUT", fmt.Sprintf("power/%d/stop", got.HostID), "")
	refused := f.send(t, "POST", "/"+adminPath+"/createVm", map[string]string{"Authorization": f.token}, `{"nodeid":99,"os":1}`)
	f.send(t, "POST", "/"+adminPath+"/loginDo", nil, `{"username":"root","password":"x"}`)
	f.admin(t, "GET", "getVmByPage", "") // a read
	check(t, f.handler.Close(context.Background()))
	entries, total, err := f.store.ListAudit(t.Context(), broker.Page{Number: 1, Size: 100})
	check(t, err)
	if want := int64(3 + 4); total != want { // stocked makes three writes
		t.Errorf("%d entries, want %d: %+v", total, want, entries)
	}
	byPath := map[string]broker.AuditEntry{}
	for _, entry := range entries {
		byPath[entry.Method+" "+entry.Path] = entry
	}
	order := byPath["POST /api/v1/pve/cerateVM"]
	if order.Code != 20000 || order.Status != 200 || !strings.HasPrefix(order.Actor, "api:") || order.Address != "192.0.2.1" || order.RequestID == "" {
		t.Errorf("order: %+v", order)
	}
	if !strings.Contains(order.Body, `"hostname":"web"`) || !strings.Contains(order.Body, `"password":"**********"`) {
		t.Errorf("order: body %s", order.Body)
	}
	if power := byPath[fmt.Sprintf("PUT /{adminPath}/power/%d/stop", got.HostID)]; power.Actor != "admin:"+f.username || power.Code != 20000 {
		t.Errorf("power: %+v", power)
	}
	if failed := byPath["POST /{adminPath}/createVm"]; failed.Code != refused.Code || failed.RequestID != refused.header.Get("X-Request-Id") {
		t.Errorf("refused order: %+v", failed)
	}
	if login := byPath["POST /{adminPath}/loginDo"]; login.Code != 20402 || login.Actor != "public" {
		t.Errorf("login: %+v", login)
	}
}

func TestAMachineIsShownWhileItsHypervisorIsDown(t *testing.T) {
	f := stocked(t)
	got := f.order(t, `{"nodeid":1,"os":1}`)
	f.setStatus(t, got.HostID, broker.VMRunning)
	path := fmt.Sprintf("/api/v1/pve/getVmInfo?hostId=%d", got.HostID)
	up := into[ams.VM](t, f.billing(t, "GET", strings.TrimPrefix(path, "/api/v1/"), "").Data)
	if up.Current["data"].(map[string]any)["status"] != "running" || up.RRDData == nil || len(up.RRDData.Data) != 1 {
		t.Errorf("up: %+v", up)
	}
	f.fleet.down.Store(true)
	down := into[ams.VM](t, f.billing(t, "GET", strings.TrimPrefix(path, "/api/v1/"), "").Data)
	if down.Current != nil || down.RRDData != nil || down.VMHost.ID != got.HostID || down.OS == nil || down.NodeName == nil {
		t.Errorf("down: %+v", down)
	}
	if got := f.send(t, "POST", "/"+adminPath+"/insertNodeMaster", map[string]string{"Authorization": f.token}, `{"host":"192.0.2.12","username":"root","password":"x"}`); got.Code != 1003 || got.status != 200 {
		t.Errorf("adding a node that is down: %s", got.text)
	}
	f.fleet.down.Store(false)
}

func TestACallEndsInTimeWhateverHangs(t *testing.T) {
	f := stocked(t)
	vm := f.order(t, `{"nodeid":1,"os":1}`)
	f.setStatus(t, vm.HostID, broker.VMRunning)
	f.fleet.hangs.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond) // what a caller waits; ours is 10 s
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, "GET", fmt.Sprintf("/api/v1/pve/getVmInfo?hostId=%d", vm.HostID), nil)
	r.Header.Set("Authorization", f.basic)
	recorder := httptest.NewRecorder()
	f.handler.ServeHTTP(recorder, r)
	if text := recorder.Body.String(); !strings.Contains(text, `"code":20000`) || !strings.Contains(text, `"current":null`) {
		t.Errorf("hypervisor that hangs: %s", text)
	}
}

func TestABodyThatNeverEndsIsGivenUp(t *testing.T) {
	f := open(t, func(config *api.Config) { config.Timeout = 500 * time.Millisecond })
	listener := httptest.NewServer(f.handler)
	defer listener.Close()
	body, writer := io.Pipe()
	defer writer.Close()
	r, err := http.NewRequestWithContext(t.Context(), "POST", listener.URL+"/api/v1/pve/cerateVM", body)
	check(t, err)
	r.Header.Set("Authorization", f.basic)
	go func() { _, _ = io.WriteString(writer, `{"nodeid":1,`) }() // and no more
	answer, err := http.DefaultClient.Do(r)
	check(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	check(t, err)
	if !strings.Contains(string(text), "4000001") || !strings.Contains(string(text), "body: could not be read") {
		t.Errorf("answer %s", text)
	}
}

func TestListsShowWhatWasObservedLast(t *testing.T) {
	f := stocked(t)
	got := f.order(t, `{"nodeid":1,"os":1,"memory":1024}`)
	list := into[ams.ShortList[ams.VM]](t, f.admin(t, "GET", "getVmByPage", "").Data)
	if record := list.Records[0]; record.Current != nil || record.VMHost.Status != 6 || len(record.VMHost.Task) != 1 || record.VMHost.Password != "**********" {
		t.Errorf("before the first poll: %+v", record)
	}
	f.setStatus(t, got.HostID, broker.VMRunning)
	at := time.Now().UTC()
	check(t, f.store.SaveObservations(t.Context(), 1, []broker.VMObservation{{
		VM: got.HostID, NodeID: 1, Observed: broker.Observed{At: &at, Power: "running", Node: "pve", CPU: 0.5, Memory: 1 << 29, Uptime: 77, NetIn: 5, NetOut: 6},
	}}))
	f.fleet.panics.Store(true) // a list must not ask
	list = into[ams.ShortList[ams.VM]](t, f.admin(t, "GET", "getVmByPage?page=1&size=20", "").Data)
	current, _ := list.Records[0].Current["data"].(map[string]any)
	if current["status"] != "running" || current["cpu"] != 0.5 || current["uptime"] != float64(77) || current["maxmem"] != float64(1<<30) {
		t.Errorf("current %+v", current)
	}
	if list.Records[0].RRDData != nil || len(list.Records[0].VMHost.Task) != 0 {
		t.Errorf("record %+v", list.Records[0])
	}
}

func TestPowerReinstallAndDeleteGiveTheirTask(t *testing.T) {
	for _, via := range []string{"billing", "admin"} {
		f := stocked(t)
		for _, call := range []struct{ method, path, body string }{
			{"PUT", "power/%d/stop", ""}, {"POST", "power/%d/stop", ""},
			{"PUT", "reinstall", `{"hostId":%d,"os":"1","newPassword":"correct horse","resetDataDisk":"true"}`},
			{"POST", "reinstall", `{"hostId":"%d","os":1}`},
			{"DELETE", "delete/%d", ""}, {"PUT", "delete/%d", ""}, {"POST", "delete/%d", ""},
		} {
			t.Run(via+" "+call.method+" "+call.path, func(t *testing.T) {
				vm := f.order(t, `{"nodeid":1,"os":1}`)
				f.setStatus(t, vm.HostID, broker.VMRunning)
				path, body := call.path, call.body
				if strings.Contains(path, "%d") {
					path = fmt.Sprintf(path, vm.HostID)
				} else {
					body = fmt.Sprintf(body, vm.HostID)
				}
				var got reply
				if via == "admin" {
					got = f.admin(t, call.method, path, body)
				} else {
					got = f.billing(t, call.method, "pve/"+path, body)
				}
				task := got.header.Get("X-Task-Id")
				stored, err := f.store.FindVM(t.Context(), vm.HostID)
				check(t, err)
				if stored.TaskID == nil || fmt.Sprint(*stored.TaskID) != task {
					t.Errorf("X-Task-Id %q, task of the machine %v", task, stored.TaskID)
				}
				if strings.HasPrefix(path, "power") {
					if string(got.Data) != "null" {
						t.Errorf("data %s", got.Data)
					}
					return
				}
				if fmt.Sprint(into[ams.TaskRef](t, got.Data).TaskID) != task {
					t.Errorf("data %s", got.Data)
				}
			})
		}
	}
}

func TestBusyMachinesRefuseASecondAction(t *testing.T) {
	f := stocked(t)
	vm := f.order(t, `{"nodeid":1,"os":1}`)
	got := f.send(t, "PUT", fmt.Sprintf("/api/v1/pve/power/%d/stop", vm.HostID), map[string]string{"Authorization": f.basic}, "")
	if got.Code != 1042 || got.Data != nil && string(got.Data) != "null" {
		t.Errorf("while it is being created: %s", got.text)
	}
}

package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"gantry/server/api"
	"gantry/server/broker"
	"gantry/server/events"
)

func TestOwnAccount(t *testing.T) {
	f := open(t)
	type session struct {
		Username                      string
		InitialPassword, SecondFactor bool
	}
	if got := into[session](t, f.admin(t, "GET", "getSession", "").Data); got != (session{Username: f.username, InitialPassword: true}) {
		t.Errorf("at first: %+v", got)
	}
	refused := f.send(t, "POST", "/"+adminPath+"/changePassword", map[string]string{"Authorization": f.token}, `{"password":"wrong","newPassword":"correct horse"}`)
	if refused.Code == 20000 || !strings.HasPrefix(refused.Message, "password: ") {
		t.Errorf("a wrong password: %s", refused.text)
	}
	old := f.token
	body, _ := json.Marshal(map[string]string{"password": f.password, "newPassword": "correct horse"})
	f.token = into[string](t, f.admin(t, "POST", "changePassword", string(body)).Data)
	if got := into[session](t, f.admin(t, "GET", "getSession", "").Data); got.InitialPassword {
		t.Error("the password still counts as initial")
	}
	if got := f.send(t, "GET", "/"+adminPath+"/getSession", map[string]string{"Authorization": old}, ""); got.Code != 501002 {
		t.Errorf("the old token: %s", got.text)
	}

	factor := into[struct{ Secret, URI, Picture string }](t, f.admin(t, "POST", "newSecondFactor", "").Data)
	if !strings.HasPrefix(factor.URI, "otpauth://totp/") || !strings.HasPrefix(factor.Picture, "data:image/png;base64,") {
		t.Errorf("second factor %.60s %.60s", factor.URI, factor.Picture)
	}
	code, err := totp.GenerateCode(factor.Secret, f.now())
	check(t, err)
	f.admin(t, "POST", "enableSecondFactor", `{"secret":"`+factor.Secret+`","code":"`+code+`","password":"correct horse"}`)
	login := `{"username":"` + f.username + `","password":"correct horse"}`
	if got := f.send(t, "POST", "/"+adminPath+"/loginDo", nil, login); got.Code != 4000002 || !strings.HasPrefix(got.Message, "code: ") {
		t.Errorf("a login without code: %s", got.text)
	}
	if strings.Contains(f.log.String(), factor.Secret) {
		t.Error("the secret is in the log")
	}
	check(t, f.handler.Close(context.Background()))
	entries, _, err := f.store.ListAudit(t.Context(), broker.Page{Number: 1, Size: 50})
	check(t, err)
	for _, entry := range entries {
		if strings.Contains(entry.Body, factor.Secret) || strings.Contains(entry.Body, "correct horse") {
			t.Errorf("the audit log has a secret: %s %s", entry.Path, entry.Body)
		}
	}
}

func TestOverview(t *testing.T) {
	f := stocked(t)
	f.billing(t, "POST", "pve/cerateVM", validOrder)
	f.billing(t, "POST", "pve/cerateVM", validOrder)
	f.setStatus(t, 1, broker.VMRunning)
	vm, err := f.store.FindVM(t.Context(), 1)
	check(t, err)
	vm.LastError = "no space left"
	check(t, f.store.UpdateVM(t.Context(), vm))
	now := f.now()
	check(t, f.store.SaveObservations(t.Context(), vm.ClusterID, []broker.VMObservation{{
		VM: 1, Observed: broker.Observed{At: &now, Power: "running", CPU: 0.75, Memory: 1 << 28, Drift: "memory is 512 MiB"},
	}}))
	type machine struct {
		HostID int64
		CPU    float64
		Text   string
	}
	got := into[struct {
		Machines struct{ Total, Running, Drifted int64 }
		Nodes    []struct {
			Name                                                string
			Machines, PromisedCpus, PromisedMemory, StorageFree int64
		}
		Days                       []struct{ Day, Created, Deleted int64 }
		Busiest, Drifting, Failing []machine
		ActiveTasks, StuckTasks    int64
	}](t, f.admin(t, "GET", "getOverview?offset=480", "").Data)
	if got.Machines.Total != 2 || got.Machines.Running != 1 || got.Machines.Drifted != 1 || got.ActiveTasks != 2 {
		t.Errorf("counts %+v, %d tasks", got.Machines, got.ActiveTasks)
	}
	if len(got.Nodes) != 2 || got.Nodes[0].Machines != 2 || got.Nodes[0].PromisedCpus != 2 || got.Nodes[0].StorageFree != 1<<39 {
		t.Errorf("nodes %+v", got.Nodes)
	}
	if len(got.Busiest) != 1 || got.Busiest[0] != (machine{HostID: 1, CPU: 0.75}) {
		t.Errorf("busiest %+v", got.Busiest)
	}
	if len(got.Drifting) != 1 || got.Drifting[0].Text != "memory is 512 MiB" || len(got.Failing) != 1 || got.Failing[0].Text != "no space left" {
		t.Errorf("drifting %+v, failing %+v", got.Drifting, got.Failing)
	}
	if len(got.Days) != 7 || time.UnixMilli(got.Days[6].Day).Add(8*time.Hour).UTC().Hour() != 0 {
		t.Errorf("days %+v", got.Days)
	}
}

func TestResourcesAndAudit(t *testing.T) {
	f := stocked(t)
	got := into[struct {
		Storages []struct{ Name string }
		Bridges  []struct{ Name string }
	}](t, f.admin(t, "GET", "getNodeResources?nodeId=1", "").Data)
	if len(got.Storages) != 1 || got.Storages[0].Name != "local-lvm" || len(got.Bridges) != 2 {
		t.Errorf("resources %+v", got)
	}
	run(t, f, []scenario{
		{name: "resources of unknown", method: "GET", url: "{admin}/getNodeResources?nodeId=99", as: "admin", code: 1002, has: []string{"nodeId: "}},
		{name: "an offset that is none", method: "GET", url: "{admin}/getOverview?offset=900", as: "admin", code: 4000002, has: []string{"offset: "}},
		{name: "events without token", method: "GET", url: "{admin}/events", code: 501002},
		{name: "audit without token", method: "GET", url: "{admin}/getAuditByPage", code: 501002},
	})
	var entries struct {
		Records []struct{ Actor, Path, Body string }
	}
	deadline := time.Now().Add(10 * time.Second)
	for len(entries.Records) < 3 && time.Now().Before(deadline) { // they are stored beside the calls
		entries.Records = nil
		check(t, json.Unmarshal(f.admin(t, "GET", "getAuditByPage?page=1&size=50", "").Data, &entries))
	}
	first := entries.Records[len(entries.Records)-1]
	if first.Actor != "admin:"+f.username || !strings.HasSuffix(first.Path, "/insertNodeMaster") || strings.Contains(first.Body, "hypersecret") {
		t.Errorf("first entry %+v", first)
	}
}

// TestEvents listens as a browser does, over a real connection.
func TestEvents(t *testing.T) {
	hub := (*events.Hub)(nil)
	f := stocked(t, func(config *api.Config) {
		hub = events.New(events.Config{Store: config.Store, Interval: time.Millisecond})
		config.Events = hub
	})
	t.Cleanup(hub.Close)
	server := httptest.NewServer(f.handler)
	defer server.Close()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/"+adminPath+"/events", nil)
	check(t, err)
	request.Header.Set("Authorization", "Bearer "+f.token)
	response, err := http.DefaultClient.Do(request)
	check(t, err)
	defer response.Body.Close()
	if kind := response.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/event-stream") {
		t.Fatalf("content type %q", kind)
	}
	lines := bufio.NewScanner(response.Body)
	next := func() (name, data string) {
		for lines.Scan() {
			if text, found := strings.CutPrefix(lines.Text(), "event: "); found {
				name = text
			}
			if text, found := strings.CutPrefix(lines.Text(), "data: "); found {
				return name, text
			}
		}
		return "", ""
	}
	if name, _ := next(); name != "alive" {
		t.Fatalf("the first event is %q", name)
	}
	f.billing(t, "POST", "pve/cerateVM", validOrder)
	name, data := next()
	var task struct {
		Kind   string
		HostID int64
	}
	check(t, json.Unmarshal([]byte(data), &task))
	if name != "task" || task.Kind != "create" || task.HostID != 1 {
		t.Errorf("event %s %s", name, data)
	}
	hub.Close()
	if name, _ := next(); name != "" {
		t.Errorf("after the hub has closed comes %q", name)
	}
}

func TestModelArguments(t *testing.T) {
	f := open(t)
	f.admin(t, "POST", "addCpuInfo", `{"name":"EPYC 9654","vendor":"AuthenticAMD","family":25}`)
	f.admin(t, "POST", "addSmbiosInfo", `{"type":2,"model":{"manufacturer":"ASUS"},"info":"board"}`)
	run(t, f, []scenario{
		{name: "of both", method: "GET", url: "{admin}/getModelArguments?cpuModel=1&smbios=1&cpu=host", as: "admin", code: 20000,
			has: []string{`"arguments":["-cpu","host,model-id=EPYC 9654,family=25,vendor=AuthenticAMD","-smbios","type=2,manufacturer=ASUS"]`}},
		{name: "of nothing", method: "GET", url: "{admin}/getModelArguments", as: "admin", code: 20000, has: []string{`"arguments":[]`, `"system":null`}},
		{name: "of what does not exist", method: "GET", url: "{admin}/getModelArguments?cpuModel=9", as: "admin", code: 20400, has: []string{"cpuModel"}},
		{name: "of no numbers", method: "GET", url: "{admin}/getModelArguments?smbios=a", as: "admin", code: 4000002, has: []string{"smbios: "}},
	})
}

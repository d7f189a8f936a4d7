package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"gantry/server/api"
	"gantry/server/broker"
)

func TestEveryAnswerHasIdAndSecurityHeaders(t *testing.T) {
	f := open(t)
	seen := map[string]bool{}
	for _, path := range []string{"/nothing", "/api/v1/status", "/api/common/version", "/healthz", "/metrics", api.OpenAPIPath, "/internal/console/redeem"} {
		got := f.send(t, "GET", path, map[string]string{"X-Request-Id": "forged", "Origin": "https://evil.example"}, "")
		id := got.header.Get("X-Request-Id")
		if id == "" || id == "forged" || seen[id] {
			t.Errorf("%s: request id %q", path, id)
		}
		seen[id] = true
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store", "Access-Control-Allow-Origin": "",
		} {
			if got.header.Get(name) != want {
				t.Errorf("%s: %s is %q", path, name, got.header.Get(name))
			}
		}
	}
}

func TestADefectTellsNothing(t *testing.T) {
	f := stocked(t)
	vm := f.order(t, `{"nodeid":1,"os":1}`)
	f.setStatus(t, vm.HostID, broker.VMRunning)
	f.fleet.panics.Store(true)
	for language, text := range map[string]string{"": "internal error, request ", "zh": "系统异常，请求编号 "} {
		got := f.send(t, "GET", fmt.Sprintf("/api/v1/pve/getVmInfo?hostId=%d", vm.HostID), map[string]string{"Authorization": f.basic, "Accept-Language": language}, "")
		if got.status != 500 || got.Code != 20500 || got.Message != text+got.header.Get("X-Request-Id") || string(got.Data) != "null" {
			t.Errorf("answer %d %s", got.status, got.text)
		}
		if strings.Contains(got.text, "secret of the panic") || !strings.Contains(f.log.String(), "secret of the panic") {
			t.Error("the cause belongs into the log, and there only")
		}
	}
	check(t, f.store.Close())
	got := f.send(t, "GET", "/api/v1/status", map[string]string{"Authorization": basicHeader("1", "x")}, "")
	if got.status != 500 || got.Code != 20500 || strings.Contains(strings.ToLower(got.text), "sql") || strings.Contains(got.text, "database") {
		t.Errorf("without a database: %d %s", got.status, got.text)
	}
}

func TestHealth(t *testing.T) {
	var broken error
	f := open(t, func(config *api.Config) { config.Ready = func(context.Context) error { return broken } })
	for _, path := range []string{"/healthz", "/readyz"} {
		if got := f.send(t, "GET", path, nil, ""); got.status != 200 || got.text != "ok\n" {
			t.Errorf("%s: %d %s", path, got.status, got.text)
		}
	}
	broken = errors.New("poller stands still: secret")
	if got := f.send(t, "GET", "/readyz", nil, ""); got.status != 503 || strings.Contains(got.text, "secret") {
		t.Errorf("not ready: %d %s", got.status, got.text)
	}
	broken = nil
	check(t, f.store.Close())
	if got := f.send(t, "GET", "/readyz", nil, ""); got.status != 503 {
		t.Errorf("no database: %d %s", got.status, got.text)
	}
	if got := f.send(t, "GET", "/healthz", nil, ""); got.status != 200 {
		t.Errorf("alive: %d", got.status)
	}
}

func TestMetrics(t *testing.T) {
	f := open(t)
	f.billing(t, "GET", "status", "")
	f.send(t, "GET", "/nothing/"+strings.Repeat("x", 50), nil, "")
	got := f.send(t, "GET", "/metrics", nil, "")
	for _, line := range []string{`gantry_api_calls_total{code="20000",route="status",status="200"} 1`, `gantry_api_calls_total{code="501001",route="unknown",status="200"} 1`, `gantry_api_call_seconds_count{route="status"} 1`} {
		if !strings.Contains(got.text, line) {
			t.Errorf("lacks %s:\n%s", line, got.text)
		}
	}
	if strings.Contains(got.text, adminPath) {
		t.Error("tells the admin path")
	}
	hidden := open(t, func(config *api.Config) { config.HideMetrics = true })
	if got := hidden.send(t, "GET", "/metrics", nil, ""); got.Code != 501001 {
		t.Errorf("hidden: %s", got.text)
	}
	recorder := httptest.NewRecorder()
	hidden.handler.Metrics().ServeHTTP(recorder, httptest.NewRequest("GET", "/metrics", nil))
	if !strings.Contains(recorder.Body.String(), `route="unknown"`) {
		t.Errorf("on its own listener: %s", recorder.Body.String())
	}
}

func TestClientAddressIsBelievedFromTrustedProxiesOnly(t *testing.T) {
	for name, each := range map[string]struct {
		trusted []string
		want    string
	}{
		"none":    {nil, "192.0.2.1"},
		"trusted": {[]string{"192.0.2.0/24"}, "198.51.100.7"},
		"other":   {[]string{"10.0.0.0/8"}, "192.0.2.1"},
	} {
		f := open(t, func(config *api.Config) { config.TrustedProxies = each.trusted })
		f.send(t, "POST", "/"+adminPath+"/insertApiKey", map[string]string{"Authorization": f.token, "X-Forwarded-For": "198.51.100.7"}, `{}`)
		check(t, f.handler.Close(context.Background()))
		entries, _, err := f.store.ListAudit(t.Context(), broker.Page{Number: 1, Size: 1})
		check(t, err)
		if len(entries) != 1 || entries[0].Address != each.want {
			t.Errorf("%s: %+v", name, entries)
		}
	}
}

func TestConfigurationIsChecked(t *testing.T) {
	f := open(t)
	good := api.Config{
		Broker: broker.New(f.store, f.fleet, f.queue, broker.DefaultRules(), nil, nil), Store: f.store, Accounts: f.accounts,
		Fleet: f.fleet, Queue: f.queue, AdminPath: adminPath,
	}
	if _, err := api.New(good); err == nil || !strings.Contains(err.Error(), "Console") {
		t.Errorf("without Console: %v", err)
	}
	for _, path := range []string{"", "api", "a/b"} {
		config := good
		config.AdminPath = path
		if _, err := api.New(config); err == nil {
			t.Errorf("admin path %q is accepted", path)
		}
	}
}

func TestAPIKeysThroughTheAPI(t *testing.T) {
	f := open(t)
	made := into[struct {
		ID            int64
		AppID, AppKey string
	}](t, f.admin(t, "POST", "insertApiKey", `{"info":"whmcs"}`).Data)
	header := map[string]string{"Authorization": basicHeader(made.AppID, made.AppKey)}
	for _, step := range []struct {
		name, method, call string
		code               int
	}{
		{"made", "", "", 20000},
		{"disabled", "PUT", "disableApi/%d", 501002},
		{"enabled", "POST", "enableApi/%d", 20000},
		{"deleted", "DELETE", "deleteApi?id=%d", 501002},
	} {
		if step.method != "" {
			f.admin(t, step.method, fmt.Sprintf(step.call, made.ID), "")
		}
		if got := f.send(t, "GET", "/api/v1/status", header, ""); got.Code != step.code {
			t.Errorf("%s: %s", step.name, got.text)
		}
	}
	if got := f.send(t, "PUT", "/"+adminPath+"/disableApi/99", map[string]string{"Authorization": f.token}, ""); got.Code != 20400 || !strings.Contains(got.Message, "id: ") {
		t.Errorf("unknown key: %s", got.text)
	}
}

func TestTasksThroughTheAPI(t *testing.T) {
	f := stocked(t)
	vm := f.order(t, `{"nodeid":1,"os":1}`)
	list := f.admin(t, "GET", fmt.Sprintf("getTaskByPage?hostId=%d&state=ready&kind=create&active=1", vm.HostID), "")
	if !strings.Contains(list.text, fmt.Sprintf(`"id":%d,"kind":"create"`, vm.TaskID)) || !strings.Contains(list.text, `"total":1`) {
		t.Errorf("list: %s", list.text)
	}
	if got := f.admin(t, "GET", "getTaskByPage?state=done", ""); !strings.Contains(got.text, `"records":[],"total":0`) {
		t.Errorf("filtered: %s", got.text)
	}
	woken := f.queue.woken.Load()
	got := f.admin(t, "POST", fmt.Sprintf("cancelTask/%d", vm.TaskID), "")
	if !strings.Contains(got.text, `"cancelledBy":"admin:admin"`) || f.queue.woken.Load() == woken {
		t.Errorf("cancel: %s", got.text)
	}
	refused := f.send(t, "PUT", fmt.Sprintf("/%s/retryTask/%d", adminPath, vm.TaskID), map[string]string{"Authorization": f.token}, "")
	if refused.Code != 20400 || !strings.Contains(refused.Message, "only a stuck task") {
		t.Errorf("retry: %s", refused.text)
	}
}

func TestOpenAPIDescribesEveryRoute(t *testing.T) {
	f := open(t)
	got := f.send(t, "GET", api.OpenAPIPath, nil, "")
	var document struct {
		OpenAPI    string
		Paths      map[string]map[string]struct{ OperationID string }
		Components struct{ Schemas map[string]any }
	}
	check(t, json.Unmarshal([]byte(got.text), &document))
	if !strings.HasPrefix(document.OpenAPI, "3.1") {
		t.Errorf("version %q", document.OpenAPI)
	}
	ids := map[string]bool{}
	operations := 0
	for _, each := range f.handler.Routes() {
		for _, method := range each.Methods {
			operation, found := document.Paths[each.Path][strings.ToLower(method)]
			if !found || ids[operation.OperationID] {
				t.Errorf("%s %s: operation %q, found %v", method, each.Path, operation.OperationID, found)
			}
			ids[operation.OperationID] = true
			operations++
		}
	}
	if operations < 40 {
		t.Errorf("%d operations", operations)
	}
	for reference := range strings.SplitSeq(got.text, `"#/components/schemas/`) {
		name, _, found := strings.Cut(reference, `"`)
		if _, known := document.Components.Schemas[name]; found && !strings.Contains(name, "{") && !known {
			t.Errorf("schema %q is not described", name)
		}
	}
	again, err := api.OpenAPI(f.handler.Routes(), "1.2.3")
	check(t, err)
	if got.text != string(again) {
		t.Error("the document changes from one time to the next")
	}
	if strings.Contains(got.text, adminPath) {
		t.Error("tells the admin path")
	}
}

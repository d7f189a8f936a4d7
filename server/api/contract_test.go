package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"gantry/server/broker"
)

// contractFile is the documentation of the AMS calls as data.
const contractFile = "../../../shared/contract/ams.json"

// documentedCall is one call of it.
type documentedCall struct {
	Method    string           `json:"method"`
	Path      string           `json:"path"`
	Body      any              `json:"body"`
	Responses []map[string]any `json:"responses"`
}

// example is what a documented example needs to work here.
type example struct {
	path string
	set  map[string]any
}

// served are the documented calls that this API has, with what their example needs: ids of things that exist here, and a query
// or path where the documentation shows none. "vm" stands for the id of a machine.
var served = map[string]example{
	"POST /{adminPath}/loginDo":                     {set: map[string]any{"username": "{username}", "password": "{password}"}},
	"POST /{adminPath}/insertApiKey":                {},
	"GET /{adminPath}/selectApiByPage":              {},
	"PUT /{adminPath}/disableApi/{id}":              {path: "disableApi/1"},
	"PUT /{adminPath}/enableApi/{id}":               {path: "enableApi/1"},
	"DELETE /{adminPath}/deleteApi":                 {path: "deleteApi?id=2"},
	"POST /admin/insertNodeMaster":                  {path: "insertNodeMaster", set: map[string]any{"nodeName": "pve2"}},
	"GET /{adminPath}/selectNodeByPage":             {},
	"POST /{adminPath}/insertIpPoolByMask":          {set: map[string]any{"nodeId": 1, "gateway": "23.94.248.33"}}, // stocked has the example's pool
	"POST /{adminPath}/insertIpPoolByRange":         {set: map[string]any{"poolId": 2}},
	"GET /{adminPath}/selectIpPoolList":             {},
	"GET /{adminPath}/selectIpListByPoolId":         {path: "selectIpListByPoolId?poolid=1&page=1&size=50"},
	"POST /{adminPath}/insertOs":                    {set: map[string]any{"downType": 0}}, // the example says 37, the text 0 or 1
	"GET /{adminPath}/selectOsByPage":               {},
	"POST /{adminPath}/downloadOs":                  {set: map[string]any{"osId": 1, "nodeId": 1}},
	"POST /{adminPath}/createVm":                    {set: map[string]any{"nodeid": 1}},
	"GET /{adminPath}/getVmByPage":                  {},
	"GET /{adminPath}/getVmByParam":                 {path: "getVmByParam?param=hostname&value=23"},
	"GET /{adminPath}/getVmByPageOrderByCreateTime": {},
	"GET /{adminPath}/getVmByStatus":                {path: "getVmByStatus?status=0"},
	"GET /{adminPath}/getVmCount":                   {},
	"GET /{adminPath}/getVmCountByStatus":           {path: "getVmCountByStatus?status=0"},
	"GET /{adminPath}/getVmHostRrdData":             {path: "getVmHostRrdData?hostId=vm&timeframe=hour&cf=AVERAGE"},
	"POST /{adminPath}/addConfiguretemplate":        {},
	"PUT /{adminPath}/updateConfiguretemplate": {set: map[string]any{ // the example is made of zeros and "string"
		"configureTemplateId": 1, "sockets": 1, "cores": 1, "threads": 1, "cpu": "host", "arch": "x86_64", "acpi": "1", "memory": 512,
		"storage": "auto", "systemDiskSize": 40, "dataDisk": `{"1":40}`,
	}},
	"DELETE /{adminPath}/deleteConfiguretemplate/{id}":   {path: "deleteConfiguretemplate/1"},
	"GET /{adminPath}/getConfiguretemplateByPage":        {},
	"POST /{adminPath}/addCpuInfo":                       {},
	"DELETE /{adminPath}/deleteCpuInfo":                  {set: map[string]any{"id": 2}},
	"PUT /{adminPath}/updateCpuInfo":                     {set: map[string]any{"id": 1, "level": "0xEC", "xlevel": "0x8000001E", "vendor": "GenuineIntel"}},
	"GET /{adminPath}/selectCpuInfo":                     {path: "selectCpuInfo?id=1"},
	"GET /{adminPath}/selectCpuInfoPage":                 {},
	"POST /{adminPath}/addSmbiosInfo":                    {},
	"DELETE /{adminPath}/deleteSmbiosInfo":               {set: map[string]any{"id": 3}},
	"PUT /{adminPath}/updateSmbiosInfo":                  {set: map[string]any{"id": 1, "type": "0", "model": map[string]any{"version": "1"}}},
	"GET /{adminPath}/getSmbiosInfo":                     {path: "getSmbiosInfo?id=1"},
	"GET /{adminPath}/getSmbiosInfoList":                 {},
	"POST /{adminPath}/addModelGroup":                    {set: map[string]any{"cpuModel": 1, "smbiosModel": "1"}},
	"DELETE /{adminPath}/deleteModelGroup":               {set: map[string]any{"id": 1}},
	"PUT /{adminPath}/updateModelGroup":                  {set: map[string]any{"id": 1, "cpuModel": 1, "smbiosModel": "1"}},
	"GET /{adminPath}/getModelGroup":                     {path: "getModelGroup?modelGroupId=1"},
	"GET /{adminPath}/getModelGroupPage":                 {},
	"GET /{adminPath}/getVmHostInfo":                     {path: "getVmHostInfo?hostId=vm"},
	"PUT /{adminPath}/power/{hostId}/{action}":           {path: "power/vm/stop"},
	"PUT /{adminPath}/reinstall":                         {set: map[string]any{"hostId": "vm", "os": 1, "newPassword": "string"}},
	"DELETE /{adminPath}/delete/{hostId}":                {path: "delete/vm"},
	"GET /{adminPath}/{node}/getVnc":                     {path: "pve/getVnc?hostId=vm&page=1&size=5"},
	"POST /api/v1/{nodeType}/cerateVM":                   {},
	"GET /api/v1/{nodeType}/getVmInfo":                   {path: "/api/v1/pve/getVmInfo?hostId=vm"},
	"PUT /api/v1/{nodeType}/power/{hostId}/{action}":     {path: "/api/v1/pve/power/vm/stop"},
	"PUT /api/v1/{nodeType}/reinstall":                   {set: map[string]any{"hostId": "vm", "os": 1}},
	"DELETE /api/v1/{nodeType}/delete/{hostId}":          {path: "/api/v1/pve/delete/vm"},
	"PUT /api/v1/{nodeType}/updateVmConfig/renewal":      {set: map[string]any{"hostId": "vm", "expirationTime": 4102444800}}, // the example has 12 digits
	"PUT /api/v1/{nodeType}/updateVmConfig/restPassword": {path: "/api/v1/pve/updateVmConfig/restPassword", set: map[string]any{"hostId": "vm"}},
	"PUT /api/v1/{node}/updateVncPassword":               {path: "/api/v1/pve/updateVncPassword", set: map[string]any{"hostId": "vm"}},
	"PUT /{adminPath}/{node}/updateVncPassword":          {path: "pve/updateVncPassword", set: map[string]any{"hostId": "vm"}},
	"GET /api/v1/{node}/getVnc":                          {path: "/api/v1/pve/getVnc?hostId=vm&page=1&size=5"},
	"GET /api/v1/status":                                 {},
	"GET /api/common/cpuType":                            {},
	"GET /api/common/osType":                             {},
	"GET /api/common/osArch":                             {},
	"GET /api/common/version":                            {},
}

// free are places in replies whose keys are data: they may differ from the example's.
var free = map[string]bool{
	"data.records[].vmhost.task": true, "data.vmhost.task": true, // times of orders
	"data.records[].current.data": true, "data.current.data": true, "data.rrddata.data[]": true, // the hypervisor's own
	"data[]":               true, // of getVmHostRrdData
	"data.data[]":          true, // file names of the catalogue
	"data.records[].model": true, // fields of an SMBIOS table
	"data.vmhost.dataDisk": true, "data.os.nodeStatus": true,
}

func readContract(t *testing.T) map[string]documentedCall {
	t.Helper()
	text, err := os.ReadFile(contractFile)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the documentation's data is not here: " + contractFile)
	}
	check(t, err)
	var calls []documentedCall
	check(t, json.Unmarshal(text, &calls))
	result := map[string]documentedCall{}
	for _, call := range calls {
		result[call.Method+" "+call.Path] = call
	}
	return result
}

func TestDocumentedExamplesAreAnsweredAsDocumented(t *testing.T) {
	contract := readContract(t)
	reads, machine := documentedFixture(t)
	all := maps.Clone(served)
	maps.Copy(all, servedResources)
	for key, needs := range all {
		t.Run(key, func(t *testing.T) {
			call, found := contract[key]
			if !found {
				t.Fatal("not in the documentation")
			}
			f, vm := reads, machine
			if call.Method != "GET" {
				f, vm = documentedFixture(t)
			}
			got := f.sendExample(t, call, needs.path, needs.set, fmt.Sprint(vm))
			if got.status != 200 || got.Code != 20000 || got.Message != "请求成功" {
				t.Fatalf("answer %d %s\n%s", got.status, got.text, f.errors())
			}
			var answer map[string]any
			check(t, json.Unmarshal([]byte(got.text), &answer))
			for _, documented := range call.Responses {
				if code, _ := documented["code"].(float64); code != 20000 {
					continue
				}
				for _, difference := range differences("data", documented["data"], answer["data"]) {
					t.Error(difference)
				}
			}
		})
	}
}

// documentedFixture has what the examples talk about, and a machine that runs.
func documentedFixture(t *testing.T) (f *fixture, machine int64) {
	t.Helper()
	f = stocked(t)
	f.addProxy(t, "本地测试")
	check(t, f.store.InsertPool(t.Context(), &broker.AddressPool{
		Name: "empty", NodeID: 1, Gateway: netip.MustParseAddr("192.168.1.254"), Prefix: 24, DNS1: "8.8.8.8", CreatedAt: time.Now(),
	}))
	f.admin(t, "POST", "insertApiKey", `{"info":"接口2"}`)
	f.admin(t, "POST", "insertOs", `{"name":"second","fileName":"second.qcow2","type":"linux","downType":0,"url":"http://images.example/s.qcow2","osType":"debian"}`)
	f.admin(t, "POST", "addArea", `{"name":"中国大陆","realm":0}`)
	f.admin(t, "POST", "addArea", `{"name":"香港","parent":1,"realm":1}`)
	f.admin(t, "POST", "addNodeToArea", `{"id":1,"area":1}`)
	node, err := f.store.FindNode(t.Context(), 1)
	check(t, err)
	answers := 0
	node.Daemon = broker.Daemon{URL: "https://192.0.2.10:7600", Secret: "s", Status: &answers}
	check(t, f.store.UpdateNode(t.Context(), node))
	for _, made := range [][2]string{
		{"addConfiguretemplate", `{"name":"small","cores":2}`}, {"addCpuInfo", `{"name":"A","family":6,"model":97,"stepping":2,"level":"0xEC","xlevel":"0x8000001E","vendor":"GenuineIntel","l3Cache":true}`},
		{"addCpuInfo", `{"name":"B"}`}, {"addSmbiosInfo", `{"type":0,"model":{"version":"Intel-Core"},"info":"BIOS"}`}, {"addSmbiosInfo", `{"type":1,"model":{"product":"X"},"info":"system"}`},
		{"addSmbiosInfo", `{"type":2,"model":{"product":"Y"},"info":"board"}`}, {"addModelGroup", `{"cpuModel":1,"smbiosModel":"1","info":"PC"}`}, {"addModelGroup", `{"smbiosModel":"2","info":"system only"}`},
	} {
		f.admin(t, "POST", made[0], made[1])
	}
	vm := f.order(t, `{"nodeid":1,"os":1,"dataDisk":{"1":40}}`)
	f.setStatus(t, vm.HostID, broker.VMRunning)
	now := time.Now().UTC()
	check(t, f.store.SaveObservations(t.Context(), 1, []broker.VMObservation{{
		VM: vm.HostID, NodeID: 1, Observed: broker.Observed{At: &now, Power: "running", Node: "pve"},
	}}))
	return f, vm.HostID
}

// sendExample sends the documented example with the ids of this fixture.
func (f *fixture) sendExample(t *testing.T, call documentedCall, path string, set map[string]any, vm string) reply {
	t.Helper()
	fill := strings.NewReplacer("{username}", f.username, "{password}", f.password)
	if path == "" {
		path = strings.NewReplacer("/{adminPath}/", "", "{nodeType}", "pve").Replace(call.Path)
	}
	path = strings.ReplaceAll(path, "vm/", vm+"/")
	path = strings.TrimSuffix(strings.ReplaceAll(strings.ReplaceAll(path, "=vm", "="+vm), "/vm", "/"+vm), "")
	header := map[string]string{"Authorization": f.basic}
	if !strings.HasPrefix(path, "/api/") {
		path, header["Authorization"] = "/"+adminPath+"/"+path, f.token
	}
	body := ""
	if list, ok := call.Body.([]any); ok {
		for i := range list {
			list[i].(map[string]any)["id"] = i + 2
		}
		text, err := json.Marshal(list)
		check(t, err)
		body = string(text)
	}
	if example, ok := call.Body.(map[string]any); ok {
		for name, value := range set {
			if text, isText := value.(string); isText {
				if value = fill.Replace(text); text == "vm" {
					value = vm
				}
			}
			example[name] = value
		}
		text, err := json.Marshal(example)
		check(t, err)
		body = string(text)
	}
	return f.send(t, call.Method, path, header, body)
}

// differences compares an answer with a documented one: every documented key is there, with the documented JSON type. A
// documented null says nothing about the type. Additional keys are allowed.
func differences(place string, documented, got any) []string {
	if documented == nil || (free[place] && got != nil) {
		return nil
	}
	if want, is := jsonType(documented), jsonType(got); want != is {
		return []string{fmt.Sprintf("%s is %s (%v), documented %s (%v)", place, is, got, want, documented)}
	}
	var found []string
	switch known := documented.(type) {
	case map[string]any:
		values := got.(map[string]any)
		for name, inner := range known {
			value, exists := values[name]
			if !exists {
				found = append(found, fmt.Sprintf("%s.%s is missing", place, name))
				continue
			}
			found = append(found, differences(place+"."+name, inner, value)...)
		}
	case []any:
		items := got.([]any)
		if len(items) == 0 && len(known) > 0 {
			return []string{place + " is empty"}
		}
		if len(known) > 0 {
			found = append(found, differences(place+"[]", common(known), items[0])...)
		}
	}
	return found
}

// common is what the example's items have in common: a key that is null in one of them may be null.
func common(items []any) any {
	first, isObject := items[0].(map[string]any)
	if !isObject {
		return items[0]
	}
	result := map[string]any{}
	for name, value := range first {
		result[name] = value
		for _, item := range items {
			if other, isObject := item.(map[string]any); isObject && other[name] == nil {
				result[name] = nil
			}
		}
	}
	return result
}

func jsonType(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case float64:
		return "number"
	case string:
		return "string"
	case []any:
		return "array"
	}
	return "object"
}

// TestTheContractTestSeesDifferences keeps the comparison honest.
func TestTheContractTestSeesDifferences(t *testing.T) {
	documented := map[string]any{"a": 1.0, "b": []any{map[string]any{"c": "x"}}, "d": nil}
	for name, each := range map[string]struct {
		got  any
		want int
	}{
		"the same":      {map[string]any{"a": 2.0, "b": []any{map[string]any{"c": "y"}}, "d": 1.0, "e": true}, 0},
		"missing key":   {map[string]any{"a": 2.0, "b": []any{map[string]any{"c": "y"}}}, 1},
		"another type":  {map[string]any{"a": "2", "b": []any{map[string]any{"c": 1.0}}, "d": nil}, 2},
		"null":          {map[string]any{"a": nil, "b": []any{map[string]any{"c": "y"}}, "d": nil}, 1},
		"empty list":    {map[string]any{"a": 2.0, "b": []any{}, "d": nil}, 1},
		"not an object": {nil, 1},
	} {
		if got := differences("data", documented, each.got); len(got) != each.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

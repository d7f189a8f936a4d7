package api_test

import (
	"fmt"
	"strings"
	"testing"

	"gantry/server/api/ams"
)

// refusals checks what every admin's call has in common: no and wrong credentials are told apart from nothing.
func refusals(t *testing.T, f *fixture, calls ...string) {
	t.Helper()
	var cases []scenario
	for _, call := range calls {
		method, path, _ := strings.Cut(call, " ")
		url := "{admin}/" + path
		cases = append(cases,
			scenario{name: path + " without token", method: method, url: url, body: "{}", code: 501002, has: []string{`{"code":501002,"message":"API鉴权失败"}`}},
			scenario{name: path + " with a key", method: method, url: url, header: map[string]string{"Authorization": f.basic}, body: "{}", code: 501002},
			scenario{name: path + " with a forged token", method: method, url: url, header: map[string]string{"Authorization": f.token + "x"}, body: "{}", code: 501002},
		)
	}
	run(t, f, cases)
}

// bad is an admin's call with input that must be refused.
func bad(name, method, call, body string, code int, has ...string) scenario {
	return scenario{name: name, method: method, url: "{admin}/" + call, as: "admin", body: body, code: code, has: has}
}

func TestAreasThroughTheAPI(t *testing.T) {
	f := stocked(t)
	f.admin(t, "POST", "addArea", `{"name":"中国","realm":0}`)
	f.admin(t, "POST", "addArea", `{"name":"香港","parent":1,"realm":1}`)
	f.admin(t, "POST", "addArea", `{"name":"葵涌","parent":2}`)
	long := strings.Repeat("长", 61)
	run(t, f, []scenario{
		bad("same name", "POST", "addArea", `{"name":"中国","realm":0}`, 20400, "exists already"),
		bad("no name", "POST", "addArea", `{"realm":0}`, 4000002, "name: is required"),
		bad("blank name", "POST", "addArea", `{"name":"  "}`, 4000002, "name: "),
		bad("long name", "POST", "addArea", `{"name":"`+long+`"}`, 4000002, "name: "),
		bad("name of a wrong type", "POST", "addArea", `{"name":{}}`, 4000001, "name: must be a text"),
		bad("child without a parent", "POST", "addArea", `{"name":"x","realm":1}`, 4000002, "parent: is required"),
		bad("unknown parent", "POST", "addArea", `{"name":"x","parent":99}`, 20400, "parent: area 99 does not exist"),
		bad("inside itself", "PUT", "updateArea", `{"id":1,"name":"中国","parent":1}`, 4000002, "parent: "),
		bad("below its own child", "PUT", "updateArea", `{"id":1,"name":"中国","parent":3}`, 4000002, "parent: an area can't lie inside itself"),
		bad("unknown area", "POST", "updateArea", `{"id":99,"name":"x"}`, 20400, "id: area 99 does not exist"),
		bad("no id", "PUT", "updateArea", `{"name":"x"}`, 4000002, "id: is required"),
		bad("with children", "DELETE", "deleteArea/1", "", 20400, "id: area 1 still has 1 areas and 0 nodes"),
		bad("delete unknown", "DELETE", "deleteArea/99", "", 20400, "id: area 99"),
		bad("delete a word", "DELETE", "deleteArea/x", "", 4000001, "id: must be a whole number"),
		bad("read unknown", "GET", "getArea?id=99", "", 20400, "id: area 99"),
		bad("read none", "GET", "getArea", "", 4000002, "id: is required"),
		bad("nodes of unknown", "GET", "getNodeListByArea?area=99", "", 20400, "area: area 99"),
		bad("children of unknown", "GET", "getAreaListByParent?parent=99", "", 20400, "parent: area 99"),
		bad("page 0", "GET", "getAreaList?page=0", "", 4000002, "page: "),
		bad("place unknown node", "PUT", "addNodeToArea", `{"id":99,"area":1}`, 1002, "id: node 99"),
		bad("place in unknown area", "PUT", "addNodeToArea", `{"id":1,"area":99}`, 20400, "area: area 99"),
		bad("place nowhere", "PUT", "addNodeToArea", `{"id":1}`, 4000002, "area: is required"),
		bad("node into unknown area", "POST", "insertNodeMaster", `{"host":"192.0.2.10","username":"root","password":"x","area":99}`, 20400, "area: area 99"),
	})
	refusals(t, f, "POST addArea", "PUT updateArea", "DELETE deleteArea/1", "GET getAreaList", "GET getArea", "PUT addNodeToArea",
		"GET getNodeListByArea", "GET getAreaListByParent", "GET getAreaListByParentIsNull")

	if got := into[ams.Area](t, f.admin(t, "GET", "getArea?id=3", "").Data); got != (ams.Area{ID: 3, Name: "葵涌", Parent: 2, Realm: 2}) {
		t.Errorf("area %+v", got)
	}
	for call, want := range map[string][]int64{
		"getAreaList": {1, 2, 3}, "getAreaListByParentIsNull": {1}, "getAreaListByParent?parent=1": {2}, "getAreaListByParent": {1},
		"getAreaList?page=2&limit=2": {3},
	} {
		var ids []int64
		for _, area := range into[ams.List[ams.Area]](t, f.admin(t, "GET", call, "").Data).Records {
			ids = append(ids, area.ID)
		}
		if fmt.Sprint(ids) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", call, ids, want)
		}
	}

	f.admin(t, "POST", "addNodeToArea", `{"id":1,"area":3}`)
	if got := f.admin(t, "GET", "getNodeListByArea?area=3", ""); !strings.Contains(got.text, `"area":3,"areaName":"葵涌"`) || strings.Contains(got.text, "hypersecret") {
		t.Errorf("nodes: %s", got.text)
	}
	vm := f.order(t, `{"nodeid":1,"os":1}`)
	if got := f.admin(t, "GET", fmt.Sprintf("getVmHostInfo?hostId=%d", vm.HostID), ""); !strings.Contains(got.text, `"area":"葵涌"`) {
		t.Errorf("machine: %s", got.text)
	}
	run(t, f, []scenario{bad("with a node", "DELETE", "deleteArea/3", "", 20400, "0 areas and 1 nodes")})
	// A node that is added again keeps its area where none is named.
	f.admin(t, "POST", "insertNodeMaster", `{"host":"192.0.2.10","port":8006,"username":"root","password":"hypersecret","nodeName":"pve"}`)
	if got := f.admin(t, "GET", "getNodeListByArea?area=3", ""); !strings.Contains(got.text, `"total":1`) {
		t.Errorf("after adding it again: %s", got.text)
	}
	f.admin(t, "PUT", "addNodeToArea", `{"id":1,"area":0}`)
	f.admin(t, "DELETE", "deleteArea/3", "")
	f.admin(t, "PUT", "updateArea", `{"id":2,"name":"九龙"}`)
	if got := into[ams.Area](t, f.admin(t, "GET", "getArea?id=2", "").Data); got != (ams.Area{ID: 2, Name: "九龙"}) {
		t.Errorf("moved to the top: %+v", got)
	}
}

func TestAdministratorsThroughTheAPI(t *testing.T) {
	f := open(t)
	f.admin(t, "POST", "registerDo", `{"username":"mryunqi","password":"long enough","name":"夜空","phone":"18739537159","email":"a@example.com"}`)
	run(t, f, []scenario{
		bad("same name", "POST", "registerDo", `{"username":"mryunqi","password":"long enough"}`, 20405, "username: "),
		bad("no name", "POST", "registerDo", `{"password":"long enough"}`, 4000002, "username: is required"),
		bad("no password", "POST", "registerDo", `{"username":"x"}`, 4000002, "password: is required"),
		bad("short password", "POST", "registerDo", `{"username":"x","password":"1234567"}`, 4000002, "password: "),
		bad("long password", "POST", "registerDo", `{"username":"x","password":"`+strings.Repeat("p", 129)+`"}`, 4000002, "password: "),
		bad("list for name", "POST", "registerDo", `{"username":[],"password":"long enough"}`, 4000001, "username: "),
		bad("blanks in the name", "POST", "registerDo", `{"username":"a b","password":"long enough"}`, 4000002, "username: "),
		bad("bad address", "POST", "registerDo", `{"username":"x","password":"long enough","email":"a@@b"}`, 4000002, "email: "),
		bad("change unknown", "POST", "updateSysuser", `{"id":99,"username":"x"}`, 20403, "id: administrator 99"),
		bad("change without id", "POST", "updateSysuser", `{"username":"x"}`, 4000002, "id: is required"),
		bad("taken name", "POST", "updateSysuser", `{"id":2,"username":"admin"}`, 20405, "username: "),
		bad("change to a short password", "POST", "updateSysuser", `{"id":2,"username":"mryunqi","password":"short"}`, 4000002, "password: "),
		bad("unknown uuid", "GET", "getSysuserByUuid?uuid=nobody", "", 20403, "uuid: "),
		bad("no uuid", "GET", "getSysuserByUuid", "", 4000002, "uuid: is required"),
		bad("delete unknown", "DELETE", "deleteSysUserById/99", "", 20403, "id: administrator 99"),
		bad("delete a word", "POST", "deleteSysUserById/me", "", 4000001, "id: "),
	})
	refusals(t, f, "POST registerDo", "GET getSysuser", "GET getSysuserByUuid", "POST updateSysuser", "DELETE deleteSysUserById/1")

	list := f.admin(t, "GET", "getSysuser?page=1&size=20", "")
	if strings.Contains(list.text, "argon2") || !strings.Contains(list.text, `"username":"mryunqi","password":"**********","name":"夜空"`) {
		t.Errorf("list: %s", list.text)
	}
	record := into[struct {
		Records []struct {
			ID        int64
			UUID      string
			LoginDate *int64
		}
	}](t, list.Data).Records
	if len(record) != 2 || record[0].LoginDate == nil || record[1].LoginDate != nil {
		t.Fatalf("records %+v", record)
	}
	if got := f.admin(t, "GET", "getSysuserByUuid?uuid="+record[1].UUID, ""); !strings.Contains(got.text, `"id":2`) {
		t.Errorf("by uuid: %s", got.text)
	}

	login := func(password string) reply {
		return f.send(t, "POST", "/"+adminPath+"/loginDo", nil, `{"username":"mryunqi","password":"`+password+`"}`)
	}
	session := into[string](t, login("long enough").Data)
	reads := func() int {
		return f.send(t, "GET", "/"+adminPath+"/getSysuser", map[string]string{"Authorization": session}, "").Code
	}
	f.admin(t, "POST", "updateSysuser", `{"id":2,"username":"mryunqi","name":"n","password":""}`)
	if code := reads(); code != 20000 {
		t.Errorf("an empty password ended the session: %d", code)
	}
	f.offset.Add(int64(1e9))
	f.admin(t, "POST", "updateSysuser", `{"id":2,"username":"mryunqi","name":"n","password":"another one"}`)
	if code := reads(); code != 501002 {
		t.Errorf("a new password left the session alive: %d", code)
	}
	if login("long enough").Code != 20402 || login("another one").Code != 20000 {
		t.Error("the new password does not hold")
	}
	f.admin(t, "DELETE", "deleteSysUserById/2", "")
	run(t, f, []scenario{bad("the last one", "DELETE", "deleteSysUserById/1", "", 20400, "last administrator")})
}

func TestSettingsThroughTheAPI(t *testing.T) {
	f := stocked(t)
	run(t, f, []scenario{
		bad("too small", "POST", "updateVmDefaultDiskSize", `{"Linux":0}`, 4000002, "Linux: "),
		bad("too large", "PUT", "updateVmDefaultDiskSize", `{"Windows":16385}`, 4000002, "Windows: "),
		bad("a word", "POST", "updateVmDefaultDiskSize", `{"Linux":"big"}`, 4000001, "Linux: "),
		bad("too many days", "POST", "updateConfig", `{"deleteDays":3651}`, 4000002, "deleteDays: "),
		bad("too large in updateConfig", "POST", "updateConfig", `{"winSystemDiskSize":99999999}`, 4000002, "winSystemDiskSize: "),
	})
	refusals(t, f, "GET getControlledSecretKey", "GET getVmDefaultDiskSize", "POST updateVmDefaultDiskSize", "GET getAllConfig", "POST updateConfig")
	sizes := func() string { return string(f.admin(t, "GET", "getVmDefaultDiskSize", "").Data) }
	if got := sizes(); got != `{"Linux":40,"Windows":60}` {
		t.Errorf("documented defaults: %s", got)
	}
	f.admin(t, "PUT", "updateVmDefaultDiskSize", `{"linux":25}`)
	f.admin(t, "POST", "updateConfig", `{"winSystemDiskSize":80,"token":"mine","jwt_key":"mine","id":7}`)
	f.admin(t, "PUT", "updateConfig", `{"deleteDays":0}`)
	if got := string(f.admin(t, "GET", "getAllConfig", "").Data); got != `{"linuxSystemDiskSize":25,"winSystemDiskSize":80,"deleteDays":0}` {
		t.Errorf("settings: %s", got)
	}
	if got := sizes(); got != `{"Linux":25,"Windows":80}` {
		t.Errorf("after the changes: %s", got)
	}
	if vm := f.order(t, `{"nodeid":1,"os":1}`); vm.SystemDiskSize != 25 {
		t.Errorf("an order without a size got %d GB", vm.SystemDiskSize)
	}
	key := string(f.admin(t, "GET", "getControlledSecretKey", "").Data)
	if len(key) < 64 || key != string(f.admin(t, "GET", "getControlledSecretKey", "").Data) || strings.Contains(key, "mine") {
		t.Errorf("secret %s", key)
	}
}

func TestPoolChangesThroughTheAPI(t *testing.T) {
	f := stocked(t) // 23.94.247.32/28: addresses 1 (.33, the gateway) to 14 (.46)
	vm := f.order(t, `{"nodeid":1,"os":1}`)
	run(t, f, []scenario{
		bad("pool in use", "DELETE", "deleteIpPool/1", "", 1028, "poolId: "),
		bad("unknown pool", "DELETE", "deleteIpPool/99", "", 1027, "poolId: "),
		bad("a word for a pool", "DELETE", "deleteIpPool/x", "", 4000001, "poolId: "),
		bad("change unknown pool", "PUT", "updateIpPool", `{"id":99}`, 1027, "id: "),
		bad("change no pool", "PUT", "updateIpPool", `{"name":"x"}`, 4000002, "id: is required"),
		bad("gateway outside", "PUT", "updateIpPool", `{"id":1,"gateway":"10.0.0.1"}`, 4000002, "mask: "),
		bad("gateway is the network", "PUT", "updateIpPool", `{"id":1,"gateway":"23.94.247.32"}`, 4000002, "gateway: "),
		bad("gateway is used", "PUT", "updateIpPool", `{"id":1,"gateway":"23.94.247.34"}`, 4000002, "gateway: 23.94.247.34 is used"),
		bad("gateway of the other version", "PUT", "updateIpPool", `{"id":1,"gateway":"2001:db8::1","mask":64}`, 4000002, "gateway: "),
		bad("mask too long for its addresses", "PUT", "updateIpPool", `{"id":1,"mask":29}`, 4000002, "mask: "),
		bad("mask out of range", "PUT", "updateIpPool", `{"id":1,"mask":129}`, 4000002, "mask: "),
		bad("name server is none", "PUT", "updateIpPool", `{"id":1,"dns1":"example.com"}`, 4000002, "dns1: "),
		bad("moved while used", "PUT", "updateIpPool", `{"id":1,"nodeid":2}`, 1028, "nodeid: "),
		bad("long name", "POST", "updateIpPool", `{"id":1,"name":"`+strings.Repeat("x", 101)+`"}`, 4000002, "name: "),
		bad("not a list", "PUT", "updateIp", `{"id":2,"dns1":"1.1.1.1"}`, 4000001, "body: must be a JSON array"),
		bad("nothing", "PUT", "updateIp", ``, 4000002, "body: is required"),
		bad("list of numbers", "PUT", "updateIp", `[1]`, 4000001, "body[0]: must be a JSON object"),
		bad("unknown address", "PUT", "updateIp", `[{"id":2,"dns1":"1.1.1.1"},{"id":99}]`, 20400, "id: address 99"),
		bad("address without id", "PUT", "updateIp", `[{"dns1":"1.1.1.1"}]`, 4000002, "id: is required"),
		bad("address twice", "PUT", "updateIp", `[{"id":2},{"id":2}]`, 4000002, "id: address 2 is listed twice"),
		bad("bad name server", "PUT", "updateIp", `[{"id":2,"dns1":"x"}]`, 4000002, "dns1: "),
		bad("free what is used", "PUT", "updateIp", `[{"id":2,"status":0}]`, 20400, "status: "),
		bad("free the gateway", "PUT", "updateIp", `[{"id":1,"status":0}]`, 4000002, "status: "),
		bad("use what is free", "PUT", "updateIp", `[{"id":3,"status":1}]`, 20400, "status: "),
		bad("list where an object is meant", "POST", "addArea", `[{"name":"x"}]`, 4000001, "body: must be a JSON object"),
		bad("free addresses of an unknown node", "GET", "selectFreeIpListByNodeId?nodeId=99", "", 1002, "nodeId: "),
		bad("free addresses of no node", "GET", "selectFreeIpByNodeId", "", 4000002, "nodeId: is required"),
		bad("free addresses of version 5", "GET", "selectFreeIpByNodeId?nodeId=1&ipVersion=5", "", 4000002, "ipVersion: "),
	})
	refusals(t, f, "PUT updateIpPool", "PUT updateIp", "DELETE deleteIpPool/1", "GET selectFreeIpListByNodeId", "GET selectFreeIpByNodeId")

	f.admin(t, "PUT", "updateIp", `[{"id":3,"dns1":"1.1.1.1"},{"id":4,"status":3}]`)
	list := f.admin(t, "GET", "selectIpListByPoolId?poolid=1", "")
	for _, text := range []string{
		`"ip":"23.94.247.35","subnetMask":"255.255.255.240","gateway":"23.94.247.33","dns1":"1.1.1.1","dns2":"","status":0`,
		`"ip":"23.94.247.36","subnetMask":"255.255.255.240","gateway":"23.94.247.33","dns1":"114.114.114.114","dns2":"8.8.8.8","status":3`,
	} {
		if !strings.Contains(list.text, text) {
			t.Errorf("lacks %s: %s", text, list.text)
		}
	}
	for _, call := range []string{"selectFreeIpListByNodeId", "selectFreeIpByNodeId"} {
		free := into[ams.List[ams.Address]](t, f.admin(t, "GET", call+"?nodeId=1&poolId=1&ipVersion=4&size=3", "").Data)
		if free.Total != 11 || len(free.Records) != 3 || free.Records[0].IP != "23.94.247.35" {
			t.Errorf("%s: %+v", call, free)
		}
	}
	if next := f.order(t, `{"nodeid":1,"os":1}`); next.DNS1 != "1.1.1.1" {
		t.Errorf("an order got the pool's name server: %+v", next.DNS1)
	}

	changed := f.admin(t, "PUT", "updateIpPool", `{"id":1,"name":"renamed","gateway":"23.94.247.46","dns1":"9.9.9.9"}`)
	if !strings.Contains(changed.text, `"name":"renamed","gateway":"23.94.247.46"`) || len(changed.Warnings) != 1 || !strings.Contains(changed.Warnings[0], "2 virtual machines") {
		t.Errorf("changed: %s", changed.text)
	}
	free := f.admin(t, "GET", "selectFreeIpListByNodeId?nodeId=1", "")
	if !strings.Contains(free.text, `"ip":"23.94.247.33"`) || strings.Contains(free.text, `"ip":"23.94.247.46"`) {
		t.Errorf("the gateways' addresses: %s", free.text)
	}
	check(t, f.store.ReleaseAddresses(t.Context(), vm.HostID))
	check(t, f.store.ReleaseAddresses(t.Context(), vm.HostID+1))
	if moved := f.admin(t, "PUT", "updateIpPool", `{"id":1,"nodeid":2}`); !strings.Contains(moved.text, `"nodeid":2`) {
		t.Errorf("moved: %s", moved.text)
	}
	f.admin(t, "DELETE", "deleteIpPool/1", "")
	if got := f.admin(t, "GET", "selectIpPoolList", ""); !strings.Contains(got.text, `"total":0`) {
		t.Errorf("after the removal: %s", got.text)
	}
}

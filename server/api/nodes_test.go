package api_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gantry/server/api"
	"gantry/server/broker"
)

func TestNodesThroughTheAPI(t *testing.T) {
	f := stocked(t)
	vm := f.order(t, `{"nodeid":1,"os":1}`)
	run(t, f, []scenario{
		bad("change unknown", "PUT", "updateNodeInfo", `{"id":99}`, 1002, "id: node 99"),
		bad("change none", "PUT", "updateNodeInfo", `{}`, 4000002, "id: is required"),
		bad("other name", "POST", "updateNodeInfo", `{"id":1,"nodeName":"pve2"}`, 4000002, "nodeName: is pve"),
		bad("port out of range", "PUT", "updateNodeInfo", `{"id":1,"port":70000}`, 4000002, "port: "),
		bad("host that is none", "PUT", "updateNodeInfo", `{"id":1,"host":"a b"}`, 4000002, "host: "),
		bad("long name", "PUT", "updateNodeInfo", `{"id":1,"name":"`+strings.Repeat("x", 101)+`"}`, 4000002, "name: "),
		bad("unknown area", "PUT", "updateNodeInfo", `{"id":1,"area":99}`, 20400, "area: "),
		bad("unknown storage", "PUT", "updateNodeInfo", `{"id":1,"autoStorage":"nfs"}`, 1001, "autoStorage: "),
		bad("plain daemon URL", "PUT", "updateNodeInfo", `{"id":1,"controllerUrl":"http://x","controllerSecret":"s"}`, 4000002, "controllerUrl: "),
		bad("delete with machines", "DELETE", "deleteNodeById?nodeId=1", "", 1025, "nodeId: node 1 still has 1 virtual machines and 1 address pools"),
		bad("delete unknown", "POST", "deleteNodeById?nodeId=99", "", 1002, "nodeId: "),
		bad("delete none", "DELETE", "deleteNodeById", "", 4000002, "nodeId: is required"),
		bad("load over an unknown time", "GET", "getNodeLoadAvg?nodeId=1&timeframe=decade", "", 4000002, "timeframe: "),
		bad("load consolidated oddly", "GET", "getNodeLoadAvg?nodeId=1&cf=MIN", "", 4000002, "cf: "),
		bad("load of unknown", "GET", "getNodeLoadAvg?nodeId=99", "", 1002, "nodeId: "),
		bad("state of unknown", "GET", "getNodeInfoByOne?nodeId=99", "", 1002, "nodeId: "),
		bad("networks of unknown", "GET", "getPveNodeNetworkInfo?nodeId=99", "", 1002, "nodeId: "),
		bad("file of unknown", "GET", "getPveNodeInterfaces?nodeId=99", "", 1002, "nodeId: "),
		bad("file without a daemon", "GET", "getPveNodeInterfaces?nodeId=1", "", 20400, "has no daemon"),
	})
	refusals(t, f, "PUT updateNodeInfo", "DELETE deleteNodeById", "GET getPveNodeNetworkInfo", "GET getPveNodeInterfaces", "GET getNodeInfoByOne",
		"GET getNodeLoadAvg", "GET getNodeCount")

	f.admin(t, "GET", "getNodeLoadAvg?nodeId=1", "")
	if got := f.fleet.asked.Load(); got != "hour AVERAGE" {
		t.Errorf("documented defaults: %v", got)
	}
	f.admin(t, "GET", "getNodeLoadAvg?nodeId=1&timeframe=week&cf=MAX", "")
	if got := f.fleet.asked.Load(); got != "week MAX" {
		t.Errorf("asked for %v", got)
	}
	if got := string(f.admin(t, "GET", "getNodeCount", "").Data); got != "2" {
		t.Errorf("%s nodes", got)
	}

	// What a client sends back as it was shown changes nothing and asks nobody.
	f.fleet.inspected.Store(nil)
	f.admin(t, "PUT", "updateNodeInfo", `{"id":1,"host":"192.0.2.10","port":8006,"username":"root","password":"**********","realm":"pam","status":1,
		"nodeName":"pve","autoStorage":"local-lvm","sshPort":22,"sshUsername":"root","sshPassword":"**********"}`)
	node, err := f.store.FindNode(t.Context(), 1)
	check(t, err)
	if f.fleet.inspected.Load() != nil || node.Status != broker.NodeOnline || node.DefaultStorage != "" || node.SSHPassword != "" {
		t.Errorf("sent back: %+v", node)
	}
	f.admin(t, "POST", "updateNodeInfo", `{"id":1,"tokenId":"root@pam!gantry","tokenSecret":"uuid-of-pve","controllerSecret":"of the daemon","sshPassword":"ssh"}`)
	if cluster := f.fleet.inspected.Load(); cluster.Options["password"] != "" || cluster.Options["tokenSecret"] != "uuid-of-pve" || cluster.Options["host"] != "192.0.2.10" {
		t.Errorf("asked with %v", cluster.Options)
	}
	node, err = f.store.FindNode(t.Context(), 1)
	check(t, err)
	if node.Daemon.URL != "https://192.0.2.10:7600" || node.Daemon.TLSPin == "" || node.SSHPassword != "ssh" {
		t.Errorf("changed: %+v", node)
	}
	if got := string(f.admin(t, "GET", "getPveNodeInterfaces?nodeId=1", "").Data); got != `"# /etc/network/interfaces"` {
		t.Errorf("file: %s", got)
	}

	// With the hypervisor down stored things still change, and all else says so.
	f.fleet.down.Store(true)
	f.admin(t, "PUT", "updateNodeInfo", `{"id":1,"name":"Kwai Chung","status":2}`)
	run(t, f, []scenario{
		bad("new credential", "PUT", "updateNodeInfo", `{"id":1,"username":"root","password":"other"}`, 1003, "can't be reached"),
		bad("state", "GET", "getNodeInfoByOne?nodeId=1", "", 1003, "can't be reached"),
		bad("load", "GET", "getNodeLoadAvg?nodeId=1", "", 1003, "can't be reached"),
		bad("networks", "GET", "getPveNodeNetworkInfo?nodeId=1", "", 1003, "can't be reached"),
		bad("file", "GET", "getPveNodeInterfaces?nodeId=1", "", 1003, "can't be reached"),
	})
	f.fleet.down.Store(false)
	if got := f.admin(t, "GET", "selectNodeByPage", ""); !strings.Contains(got.text, `"name":"Kwai Chung"`) || !strings.Contains(got.text, `"status":2`) {
		t.Errorf("list: %s", got.text)
	}
	f.admin(t, "PUT", "updateNodeInfo", `{"id":1,"status":0}`)

	// A node that was removed stays away although its cluster still has it, until it is added again.
	check(t, f.store.ReleaseAddresses(t.Context(), vm.HostID))
	f.setStatus(t, vm.HostID, broker.VMStopped)
	check(t, f.store.MarkVMDeleted(t.Context(), vm.HostID, time.Now()))
	run(t, f, []scenario{bad("delete with a pool", "DELETE", "deleteNodeById?nodeId=1", "", 20400, "1 address pools")})
	f.admin(t, "DELETE", "deleteIpPool/1", "")
	f.admin(t, "DELETE", "deleteNodeById?nodeId=1", "")
	add := `{"host":"192.0.2.10","port":8006,"username":"root","password":"hypersecret","nodeName":"%s"}`
	f.admin(t, "POST", "insertNodeMaster", fmt.Sprintf(add, "pve2"))
	if got := string(f.admin(t, "GET", "getNodeCount", "").Data); got != "1" {
		t.Errorf("%s nodes after a discovery", got)
	}
	f.admin(t, "POST", "insertNodeMaster", fmt.Sprintf(add, "pve"))
	if got := string(f.admin(t, "GET", "getNodeCount", "").Data); got != "2" {
		t.Errorf("%s nodes after it was added again", got)
	}
	for _, node := range into[struct{ Records []struct{ ID int64 } }](t, f.admin(t, "GET", "selectNodeByPage", "").Data).Records {
		f.admin(t, "DELETE", fmt.Sprintf("deleteNodeById?nodeId=%d", node.ID), "")
	}
	if clusters, err := f.store.ListClusters(t.Context()); err != nil || len(clusters) != 0 {
		t.Errorf("clusters %+v, %v", clusters, err)
	}
}

func TestAHypervisorThatHangsIsBounded(t *testing.T) {
	f := stocked(t, func(config *api.Config) { config.Timeout = 500 * time.Millisecond })
	f.fleet.hangs.Store(true)
	run(t, f, []scenario{
		bad("state", "GET", "getNodeInfoByOne?nodeId=1", "", 1003),
		bad("load", "GET", "getNodeLoadAvg?nodeId=1", "", 1003),
		bad("networks", "GET", "getPveNodeNetworkInfo?nodeId=1", "", 1003),
	})
}

func TestConsoleProxiesThroughTheAPI(t *testing.T) {
	f := stocked(t)
	made := f.admin(t, "POST", "addVncNode", `{"name":"香港","host":"192.168.36.155","port":7600,"domain":"vnc.example.com:443","protocol":1,"status":0}`)
	secret := made.header.Get("X-Console-Secret")
	if name, accepted, err := f.accounts.AuthenticateProxy(t.Context(), secret); err != nil || !accepted || name != "香港" {
		t.Errorf("the secret that was told: %q %v %v", name, accepted, err)
	}
	f.admin(t, "POST", "addVncNode", `{"name":"plain","host":"2001:db8::1","port":6080,"secret":"0123456789abcdef"}`)
	run(t, f, []scenario{
		bad("same name", "POST", "addVncNode", `{"name":"plain","host":"h","port":1}`, 20405, "name: "),
		bad("no name", "POST", "addVncNode", `{"host":"h","port":1}`, 4000002, "name: is required"),
		bad("no host", "POST", "addVncNode", `{"name":"x","port":1}`, 4000002, "host: is required"),
		bad("no port", "POST", "addVncNode", `{"name":"x","host":"h"}`, 4000002, "port: is required"),
		bad("port out of range", "POST", "addVncNode", `{"name":"x","host":"h","port":65536}`, 4000002, "port: "),
		bad("host with a path", "POST", "addVncNode", `{"name":"x","host":"h/x","port":1}`, 4000002, "host: "),
		bad("domain with a path", "POST", "addVncNode", `{"name":"x","host":"h","port":1,"domain":"d/x"}`, 4000002, "domain: "),
		bad("domain with a bad port", "POST", "addVncNode", `{"name":"x","host":"h","port":1,"domain":"d:99999"}`, 4000002, "domain: "),
		bad("short secret", "POST", "addVncNode", `{"name":"x","host":"h","port":1,"secret":"short"}`, 4000002, "secret: "),
		bad("unknown protocol", "POST", "addVncNode", `{"name":"x","host":"h","port":1,"protocol":2}`, 4000002, "protocol: "),
		bad("change unknown", "PUT", "updateVncNode", `{"id":99,"name":"x"}`, 20400, "id: console proxy 99"),
		bad("change none", "POST", "updateVncNode", `{"name":"x"}`, 4000002, "id: is required"),
		bad("taken name", "PUT", "updateVncNode", `{"id":1,"name":"plain"}`, 20405, "name: "),
		bad("delete unknown", "DELETE", "deleteVncNode?id=99", "", 20400, "id: console proxy 99"),
		bad("delete none", "DELETE", "deleteVncNode", "", 4000002, "id: is required"),
	})
	refusals(t, f, "POST addVncNode", "PUT updateVncNode", "DELETE deleteVncNode", "GET selectVncNodePage")
	list := f.admin(t, "GET", "selectVncNodePage", "")
	for _, text := range []string{
		`"name":"香港","host":"192.168.36.155","port":7600,"domain":"vnc.example.com:443","protocol":1,"status":0`, `"url":"https://vnc.example.com:443"`,
		`"name":"plain","host":"2001:db8::1","port":6080,"domain":"2001:db8::1","protocol":0`, `"url":"http://[2001:db8::1]:6080"`, `"health":null`,
	} {
		if !strings.Contains(list.text, text) {
			t.Errorf("lacks %s: %s", text, list.text)
		}
	}
	if strings.Contains(list.text, secret) || strings.Contains(list.text, "0123456789abcdef") {
		t.Error("the list tells a secret")
	}

	// getVnc names proxies that answer, or were not looked at yet.
	vm := f.order(t, `{"nodeid":1,"os":1}`)
	f.setStatus(t, vm.HostID, broker.VMRunning)
	links := func() reply {
		return f.send(t, "GET", fmt.Sprintf("/%s/pve/getVnc?hostId=%d", adminPath, vm.HostID), map[string]string{"Authorization": f.token}, "")
	}
	check(t, f.store.SaveConsoleHealth(t.Context(), 1, false, "no answer", time.Now()))
	if got := links(); strings.Contains(got.text, "香港") || !strings.Contains(got.text, `"plain":"http://[2001:db8::1]:6080/console/#token=`) {
		t.Errorf("links: %s", got.text)
	}
	f.admin(t, "PUT", "updateVncNode", `{"id":2,"status":1}`)
	if got := links(); got.Code != 1033 {
		t.Errorf("none left: %s", got.text)
	}
	// One that moved is looked at anew.
	f.admin(t, "POST", "updateVncNode", `{"id":1,"host":"192.168.36.156","domain":"vnc2.example.com"}`)
	if got := links(); !strings.Contains(got.text, `"香港":"https://vnc2.example.com:7600/console/#token=`) {
		t.Errorf("moved: %s", got.text)
	}
	f.admin(t, "DELETE", "deleteVncNode?id=2", "")
}

func TestBillingReadsWhatAnOrderCanName(t *testing.T) {
	f := stocked(t)
	f.admin(t, "POST", "addArea", `{"name":"香港"}`)
	f.admin(t, "PUT", "addNodeToArea", `{"id":1,"area":1}`)
	f.order(t, `{"nodeid":1,"os":1}`)
	for call, want := range map[string][]string{
		"pve/getNodeList":                      {`"total":2`, `"id":1`, `"nodeName":"pve"`, `"areaName":"香港"`, `"status":0`},
		"pve/getOsList?nodeId=1":               {`"total":1`, `"name":"CentOS-8-Stream-x64"`, `"osType":"centos"`},
		"pve/getOsList?nodeId=2":               {`"total":0`, `"records":[]`},
		"pve/getAreaList":                      {`"id":1,"name":"香港","parent":0,"realm":0`},
		"pve/getFreeIpCount?nodeId=1":          {`"nodeId":1,"ipv4":12,"ipv6":0`},
		"pve/getFreeIpCount?nodeId=1&poolId=1": {`"ipv4":12`},
		"pve/getFreeIpCount?nodeId=2":          {`"ipv4":0,"ipv6":0`},
	} {
		got := f.billing(t, "GET", call, "")
		for _, text := range want {
			if !strings.Contains(got.text, text) {
				t.Errorf("%s lacks %s: %s", call, text, got.text)
			}
		}
		for _, secret := range []string{"hypersecret", "192.0.2.10", "images.example", "password"} {
			if strings.Contains(got.text, secret) {
				t.Errorf("%s tells %q: %s", call, secret, got.text)
			}
		}
	}
	key := func(name, call string, code int, has ...string) scenario {
		return scenario{name: name, method: "GET", url: "/api/v1/" + call, as: "key", code: code, has: has}
	}
	cases := []scenario{
		key("images of unknown", "pve/getOsList?nodeId=99", 1002, "nodeId: "), key("images of none", "pve/getOsList", 4000002, "nodeId: is required"),
		key("addresses of unknown", "pve/getFreeIpCount?nodeId=99", 1002, "nodeId: "), key("another driver", "xen/getNodeList", 501001),
		key("addresses of a word", "pve/getFreeIpCount?nodeId=x", 4000001, "nodeId: "), key("page 0", "pve/getAreaList?page=0", 4000002, "page: "),
	}
	for _, call := range []string{"getNodeList", "getOsList", "getAreaList", "getFreeIpCount"} {
		cases = append(cases,
			scenario{name: call + " without key", method: "GET", url: "/api/v1/pve/" + call, http: 401, code: 501002},
			scenario{name: call + " with a token", method: "GET", url: "/api/v1/pve/" + call, header: map[string]string{"Authorization": f.token}, code: 501002})
	}
	run(t, f, cases)
}

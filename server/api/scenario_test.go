package api_test

import (
	"strings"
	"testing"
)

// scenario is one request and what must come of it.
type scenario struct {
	name   string
	method string
	// url: "{admin}" stands for the admin path.
	url string
	// as is whose credentials are sent: "admin", "key" or "" for none; header overrides.
	as     string
	header map[string]string
	body   string
	// http of 0 means 200.
	http int
	code int
	// has and hasNot are looked for in the answer's text.
	has, hasNot []string
}

const validOrder = `{"nodeid":1,"os":"CentOS-8-Stream-x64"}`

// run sends scenarios to one fixture; none of them may reserve anything.
func run(t *testing.T, f *fixture, scenarios []scenario) {
	t.Helper()
	before := f.reserved(t)
	for _, each := range scenarios {
		t.Run(each.name, func(t *testing.T) {
			header := map[string]string{}
			switch each.as {
			case "admin":
				header["Authorization"] = f.token
			case "key":
				header["Authorization"] = f.basic
			}
			for name, value := range each.header {
				header[name] = value
			}
			got := f.send(t, each.method, strings.ReplaceAll(each.url, "{admin}", "/"+adminPath), header, each.body)
			if want := max(each.http, 200); each.http == 0 && got.status != 200 || each.http != 0 && got.status != want {
				t.Errorf("HTTP status %d: %s", got.status, got.text)
			}
			if got.Code != each.code {
				t.Errorf("code %d, want %d: %s", got.Code, each.code, got.text)
			}
			for _, text := range each.has {
				if !strings.Contains(got.text, text) {
					t.Errorf("answer lacks %q: %s", text, got.text)
				}
			}
			for _, text := range each.hasNot {
				if strings.Contains(got.text, text) {
					t.Errorf("answer has %q: %s", text, got.text)
				}
			}
			if now := f.reserved(t); now != before {
				t.Errorf("reserved %+v, was %+v", now, before)
			}
		})
	}
}

func TestCredentials(t *testing.T) {
	f := stocked(t)
	adminBasic := map[string]string{"Authorization": f.basic}
	keyToken := map[string]string{"Authorization": f.token}
	run(t, f, []scenario{
		{name: "status with the right key", method: "GET", url: "/api/v1/status", as: "key", code: 20000, has: []string{`"message":"请求成功"`, `"data":null`}},
		{name: "no key", method: "GET", url: "/api/v1/status", http: 401, code: 501002, has: []string{`{"code":501002,"message":"API鉴权失败"}`}},
		{name: "wrong key", method: "GET", url: "/api/v1/status", header: map[string]string{"Authorization": basicHeader("1690208651216", "x")}, code: 501002, has: []string{`{"code":501002,"message":"API鉴权失败"}`}},
		{name: "malformed Basic", method: "GET", url: "/api/v1/status", header: map[string]string{"Authorization": "Basic %%%"}, code: 501002},
		{name: "not Basic", method: "GET", url: "/api/v1/status", header: keyToken, code: 501002},
		{name: "no key for an order", method: "POST", url: "/api/v1/pve/cerateVM", body: validOrder, http: 401, code: 501002},
		{name: "wrong key for an order", method: "POST", url: "/api/v1/pve/cerateVM", header: map[string]string{"Authorization": "Basic MTph"}, body: validOrder, code: 501002},
		{name: "credentials come before the body", method: "POST", url: "/api/v1/pve/cerateVM", header: map[string]string{"Authorization": "Basic MTph"}, body: "{", code: 501002},
		{name: "admin", method: "GET", url: "{admin}/selectNodeByPage", as: "admin", code: 20000},
		{name: "admin with Bearer", method: "GET", url: "{admin}/selectNodeByPage", header: map[string]string{"Authorization": "Bearer " + f.token}, code: 20000},
		{name: "no token", method: "GET", url: "{admin}/selectNodeByPage", code: 501002, has: []string{`{"code":501002,"message":"API鉴权失败"}`}},
		{name: "forged token", method: "GET", url: "{admin}/selectNodeByPage", header: map[string]string{"Authorization": f.token + "x"}, code: 501002},
		{name: "key instead of token", method: "GET", url: "{admin}/selectNodeByPage", header: adminBasic, code: 501002},
		{name: "no token for an order", method: "POST", url: "{admin}/createVm", body: validOrder, code: 501002},
	})
	if got := f.send(t, "GET", "/api/v1/status", nil, ""); got.header.Get("WWW-Authenticate") != `Basic realm="input AppId and AppKey"` {
		t.Errorf("WWW-Authenticate: %q", got.header.Get("WWW-Authenticate"))
	}
}

func TestUnknownRoutesCannotBeToldApart(t *testing.T) {
	f := open(t)
	const unknown = `{"code":501001,"message":"无效的API"}`
	var cases []scenario
	for _, url := range []string{
		"/", "/nothing", "/admin/selectNodeByPage", "/admin/loginDo", "/" + adminPath + "x/selectNodeByPage", "/" + adminPath,
		"/" + adminPath + "/", "/" + adminPath + "/nothing", "/api/v1/nothing", "/api/v1/xen/cerateVM", "/api/v1/xen/getVmInfo",
		"/api/v1/xen/getVnc", "/" + adminPath + "/xen/getVnc", "/api/v1/status/", "/API/V1/status", "/" + strings.ToUpper(adminPath) + "/selectNodeByPage",
	} {
		cases = append(cases, scenario{name: url, method: "GET", url: url, code: 501001, has: []string{unknown}})
	}
	for _, method := range []string{"DELETE", "PATCH", "OPTIONS", "TRACE"} {
		cases = append(cases, scenario{name: method, method: method, url: "/api/v1/status", as: "key", code: 501001, has: []string{unknown}})
	}
	cases = append(cases,
		scenario{name: "wrong admin path with a good token", method: "GET", url: "/admin/selectNodeByPage", as: "admin", code: 501001, has: []string{unknown}},
		scenario{name: "write by GET", method: "GET", url: "{admin}/loginDo", code: 501001, has: []string{unknown}},
	)
	run(t, f, cases)
}

func TestLogin(t *testing.T) {
	f := open(t)
	run(t, f, []scenario{
		{name: "right", method: "POST", url: "{admin}/loginDo", body: `{"username":"` + f.username + `","password":"` + f.password + `"}`, code: 20000, has: []string{`"data":"eyJ`}},
		{name: "wrong password", method: "POST", url: "{admin}/loginDo", body: `{"username":"admin","password":"123456"}`, code: 20402, has: []string{"wrong username or password", `"data":null`}},
		{name: "unknown name", method: "POST", url: "{admin}/loginDo", body: `{"username":"mryunqi","password":"123456"}`, code: 20402, has: []string{"wrong username or password"}},
		{name: "in Chinese", method: "POST", url: "{admin}/loginDo", header: map[string]string{"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"}, body: `{"username":"mryunqi","password":"123456"}`, code: 20402, has: []string{"账号或密码错误"}},
		{name: "no password", method: "POST", url: "{admin}/loginDo", body: `{"username":"admin"}`, code: 4000002, has: []string{"password: is required"}},
		{name: "list for name", method: "POST", url: "{admin}/loginDo", body: `{"username":["admin"],"password":"x"}`, code: 4000001, has: []string{"username: must be a text"}},
		{name: "long name", method: "POST", url: "{admin}/loginDo", body: `{"username":"` + strings.Repeat("a", 65) + `","password":"x"}`, code: 4000002, has: []string{"username: "}},
		{name: "not JSON", method: "POST", url: "{admin}/loginDo", body: `username`, code: 4000001, has: []string{"body: is not valid JSON"}},
	})
	got := f.send(t, "POST", "/"+adminPath+"/loginDo", nil, `{"username":"`+f.username+`","password":"`+f.password+`"}`)
	if token := into[string](t, got.Data); token == "" || got.header.Get("Authorization") != token {
		t.Errorf("header Authorization %q, data %q", got.header.Get("Authorization"), token)
	}
	for range 5 {
		f.send(t, "POST", "/"+adminPath+"/loginDo", nil, `{"username":"guess","password":"x"}`)
	}
	got = f.send(t, "POST", "/"+adminPath+"/loginDo", nil, `{"username":"guess","password":"x"}`)
	if got.Code != 20400 || !strings.Contains(got.Message, "too many failed attempts") {
		t.Errorf("guessing: %s", got.text)
	}
}

func TestBadInputNamesTheFieldAndReservesNothing(t *testing.T) {
	f := stocked(t)
	order := func(fields string) string { return `{"nodeid":1,"os":"CentOS-8-Stream-x64",` + fields + `}` }
	cases := []scenario{}
	for _, each := range []struct {
		name, body string
		code       int
		text       string
	}{
		{"no node", `{"os":"x"}`, 4000002, "nodeid: is required"},
		{"node as word", `{"nodeid":"first","os":"x"}`, 4000001, "nodeid: must be a whole number"},
		{"unknown node", `{"nodeid":99,"os":"x"}`, 1002, "nodeid: node 99 does not exist"},
		{"no image", `{"nodeid":1}`, 4000002, "os: is required"},
		{"unknown image", `{"nodeid":1,"os":"nix"}`, 1014, `os: image \"nix\" does not exist`},
		{"image elsewhere", `{"nodeid":2,"os":"CentOS-8-Stream-x64"}`, 1015, "os: image"},
		{"plan", order(`"configureTemplateId":3`), 1020, "configureTemplateId: unknown plan 3"},
		{"CPU type", order(`"cpu":"z80"`), 1007, "cpu: "},
		{"nested on the wrong CPU", order(`"nested":true,"cpu":"kvm64"`), 1010, "cpu: "},
		{"architecture", order(`"arch":"pdp11"`), 1009, "arch: "},
		{"Chinese host name", order(`"hostname":"云服务器"`), 1031, "hostname: "},
		{"long host name", order(`"hostname":"` + strings.Repeat("a", 64) + `"`), 4000002, "hostname: must have 63 characters at most"},
		{"too many cores", order(`"cores":100000`), 4000002, "cores: "},
		{"negative memory", order(`"memory":-1`), 4000002, "memory: "},
		{"fraction of a disk", order(`"systemDiskSize":1.5`), 4000001, "systemDiskSize: "},
		{"storage", order(`"storage":"nas"`), 1001, "storage: "},
		{"bridge", order(`"bridge":"vmbr9"`), 20400, "bridge: "},
		{"data disk", order(`"dataDisk":{"1":"huge"}`), 4000001, "dataDisk.1: "},
		{"address outside the pools", order(`"ipConfig":{"1":"ip=10.0.0.1/24"}`), 20400, "ipConfig: "},
		{"too many addresses", order(`"ipv4num":15`), 1004, "not enough free IPv4 addresses"},
		{"IPv6 without a pool", order(`"ipv6num":1`), 1005, "not enough free IPv6 addresses"},
		{"no address at all", order(`"ipv4num":0,"ipv6num":0`), 4000002, "ipv4num: "},
		{"expired already", order(`"expirationTime":1000000000`), 4000002, "expirationTime: "},
		{"short password", order(`"password":"1"`), 4000002, "password: "},
		{"user name", order(`"username":"root; reboot"`), 4000002, "username: "},
		{"long key", order(`"memory":512`), 4000002, "Idempotency-Key: "},
		{"body is a list", `[]`, 4000002, "nodeid: is required"},
		{"body is nothing", ``, 4000002, "nodeid: is required"},
	} {
		header := map[string]string{}
		if each.name == "long key" {
			header["Idempotency-Key"] = strings.Repeat("k", 129)
		}
		cases = append(cases,
			scenario{name: each.name + ", billing", method: "POST", url: "/api/v1/pve/cerateVM", as: "key", header: header, body: each.body, code: each.code, has: []string{each.text}},
			scenario{name: each.name + ", admin", method: "POST", url: "{admin}/createVm", as: "admin", header: header, body: each.body, code: each.code, has: []string{each.text}},
		)
	}
	cases = append(cases,
		scenario{name: "in Chinese", method: "POST", url: "/api/v1/pve/cerateVM", as: "key", header: map[string]string{"Accept-Language": "zh"}, body: `{"nodeid":99,"os":"x"}`, code: 1002, has: []string{"nodeid: 节点 99 不存在"}},
		scenario{name: "pool: gateway", method: "POST", url: "{admin}/insertIpPoolByMask", as: "admin", body: `{"nodeId":1,"gateway":"1.2.3","mask":24,"dns1":"1.1.1.1","poolName":"x"}`, code: 4000002, has: []string{"gateway: "}},
		scenario{name: "pool: mask", method: "POST", url: "{admin}/insertIpPoolByMask", as: "admin", body: `{"nodeId":1,"gateway":"192.0.2.1","mask":"wide","dns1":"1.1.1.1","poolName":"x"}`, code: 4000001, has: []string{"mask: "}},
		scenario{name: "pool: node", method: "POST", url: "{admin}/insertIpPoolByMask", as: "admin", body: `{"nodeId":9,"gateway":"192.0.2.1","mask":24,"dns1":"1.1.1.1","poolName":"x"}`, code: 1002, has: []string{"nodeId: "}},
		scenario{name: "pool: the same addresses again", method: "POST", url: "{admin}/insertIpPoolByMask", as: "admin", body: `{"nodeId":1,"gateway":"23.94.247.33","mask":28,"dns1":"1.1.1.1","poolName":"x"}`, code: 20405, has: []string{": one of the addresses is known in the cluster already"}},
		scenario{name: "range: pool", method: "POST", url: "{admin}/insertIpPoolByRange", as: "admin", body: `{"poolId":9,"startIp":"1.1.1.1","endIp":"1.1.1.2"}`, code: 1027, has: []string{"poolId: "}},
		scenario{name: "range: end before start", method: "POST", url: "{admin}/insertIpPoolByRange", as: "admin", body: `{"poolId":1,"startIp":"23.94.247.40","endIp":"23.94.247.35"}`, code: 4000002, has: []string{"endIp: "}},
		scenario{name: "addresses: pool", method: "GET", url: "{admin}/selectIpListByPoolId?poolid=9", as: "admin", code: 1027, has: []string{"poolid: "}},
		scenario{name: "image: downType", method: "POST", url: "{admin}/insertOs", as: "admin", body: `{"name":"a","fileName":"a.qcow2","type":"linux","osType":"debian","downType":37,"url":"http://x.example/a"}`, code: 4000002, has: []string{"downType: "}},
		scenario{name: "image: no url", method: "POST", url: "{admin}/insertOs", as: "admin", body: `{"name":"a","fileName":"a.qcow2","type":"linux","osType":"debian","downType":0}`, code: 4000002, has: []string{"url: "}},
		scenario{name: "image: path in the file name", method: "POST", url: "{admin}/insertOs", as: "admin", body: `{"name":"a","fileName":"../a.qcow2","type":"linux","osType":"debian","downType":1}`, code: 4000002, has: []string{"fileName: "}},
		scenario{name: "image: name taken", method: "POST", url: "{admin}/insertOs", as: "admin", body: `{"name":"CentOS-8-Stream-x64","fileName":"b.qcow2","type":"linux","osType":"centos","downType":1}`, code: 20405},
		scenario{name: "download: image", method: "POST", url: "{admin}/downloadOs", as: "admin", body: `{"osId":9,"nodeId":1}`, code: 1014, has: []string{"osId: "}},
		scenario{name: "download: node", method: "POST", url: "{admin}/downloadOs", as: "admin", body: `{"osId":1,"nodeId":9}`, code: 1002, has: []string{"nodeId: "}},
		scenario{name: "node: no host", method: "POST", url: "{admin}/insertNodeMaster", as: "admin", body: `{"port":8006,"username":"root","password":"x"}`, code: 4000002, has: []string{"host: is required"}},
		scenario{name: "node: port", method: "POST", url: "{admin}/insertNodeMaster", as: "admin", body: `{"host":"a","port":99999,"username":"root","password":"x"}`, code: 4000002, has: []string{"port: must be between 1 and 65535"}},
		scenario{name: "node: no credential", method: "POST", url: "{admin}/insertNodeMaster", as: "admin", body: `{"host":"a","port":8006,"username":"root"}`, code: 4000002, has: []string{"password: "}},
		scenario{name: "node: half a token", method: "POST", url: "{admin}/insertNodeMaster", as: "admin", body: `{"host":"a","port":8006,"tokenId":"root@pam!x"}`, code: 4000002, has: []string{"tokenSecret: "}},
		scenario{name: "node: driver", method: "POST", url: "{admin}/insertNodeMaster", as: "admin", body: `{"nodeType":"xen","host":"a","username":"root","password":"x"}`, code: 4000002, has: []string{"nodeType: "}},
		scenario{name: "node: not in the cluster", method: "POST", url: "{admin}/insertNodeMaster", as: "admin", body: `{"host":"a","username":"root","password":"hypersecret","nodeName":"nix"}`, code: 4000002, has: []string{"nodeName: "}, hasNot: []string{"hypersecret"}},
		scenario{name: "page", method: "GET", url: "{admin}/getVmByPage?page=0", as: "admin", code: 4000002, has: []string{"page: "}},
		scenario{name: "page as word", method: "GET", url: "{admin}/getVmByPage?page=first", as: "admin", code: 4000001, has: []string{"page: "}},
		scenario{name: "size", method: "GET", url: "{admin}/getVmByPage?size=100000", as: "admin", code: 4000002, has: []string{"size: "}},
		scenario{name: "query that can't be read", method: "GET", url: "{admin}/getVmByPage?size=%zz", as: "admin", code: 4000001, has: []string{"query: "}},
		scenario{name: "machine", method: "GET", url: "/api/v1/pve/getVmInfo?hostId=99", as: "key", code: 1016, has: []string{"hostId: virtual machine 99 does not exist"}},
		scenario{name: "no machine", method: "GET", url: "/api/v1/pve/getVmInfo", as: "key", code: 4000002, has: []string{"hostId: is required"}},
		scenario{name: "power on nothing", method: "PUT", url: "/api/v1/pve/power/99/start", as: "key", code: 20400, has: []string{`{"code":20400,"message":"虚拟机不存在","data":null}`}},
		scenario{name: "power on a word", method: "PUT", url: "/api/v1/pve/power/x/start", as: "key", code: 4000001, has: []string{"hostId: "}},
		scenario{name: "power word", method: "PUT", url: "/api/v1/pve/power/1/explode", as: "key", code: 4000002, has: []string{"action: must be one of"}},
		scenario{name: "reinstall nothing", method: "PUT", url: "/api/v1/pve/reinstall", as: "key", body: `{"hostId":99,"os":"x"}`, code: 1016, has: []string{"hostId: "}},
		scenario{name: "delete nothing", method: "DELETE", url: "{admin}/delete/99", as: "admin", code: 1016, has: []string{"hostId: "}},
		scenario{name: "console of nothing", method: "GET", url: "{admin}/pve/getVnc?hostId=99", as: "admin", code: 1016},
		scenario{name: "task", method: "GET", url: "{admin}/getTask?id=99", as: "admin", code: 20400, has: []string{"id: task 99 does not exist"}},
		scenario{name: "cancel nothing", method: "POST", url: "{admin}/cancelTask/99", as: "admin", code: 20400, has: []string{"id: "}},
		scenario{name: "task state", method: "GET", url: "{admin}/getTaskByPage?state=asleep", as: "admin", code: 4000002, has: []string{"state: "}},
	)
	run(t, f, cases)
}

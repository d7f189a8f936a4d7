package reference

// order is that of the page, titles its headings.
var order = []string{
	"billing", "common", "login", "account", "apikey", "node", "area", "ippool", "image", "plan", "model", "vm", "task", "vnc", "overview", "event", "setting", "audit",
}

var titles = map[string]string{
	"billing": "For billing systems", "common": "For anybody", "login": "Login", "account": "Administrators", "apikey": "API keys", "node": "Nodes",
	"area": "Regions", "ippool": "Address pools", "image": "Images", "plan": "Plans", "model": "CPU and SMBIOS models", "vm": "Machines", "task": "Tasks",
	"vnc": "Console proxies", "overview": "Overview", "event": "Events", "setting": "Settings", "audit": "Audit log",
}

// usual are the values of fields in examples.
var usual = map[string]any{
	"hostId": Machine, "nodeId": 1, "nodeid": 1, "id": 1, "hostid": Machine, "osId": 1, "poolId": 1, "poolid": 1, "os": 1, "area": 1, "parent": 1, "modelGroupId": 1,
	"page": 1, "size": 20, "name": "example", "username": "example", "password": "example password", "newPassword": "example password", "uuid": "UUID",
}

const introduction = `# The API, call by call

This page is made from the route table: ` + "`go run ./docs/reference >docs/api.md`" + `. The machine-readable form is served at
` + "`/api/openapi.json`" + `. Every answer is ` + "`{code, message, data}`" + `; code 20000 is success, and HTTP status is 200 for whatever the
call itself says. Calls with a task behind them tell its id in the header ` + "`X-Task-Id`" + `; ` + "`getTask`" + ` says how it stands.

The examples work against ` + "`make demo`" + `, which prints URL, admin path, password and an API key, and orders one machine:

` + "```sh" + `
GANTRY=http://127.0.0.1:8080
ADMIN=…          # last part of the panel's URL
KEY=appid:appkey
TOKEN=$(curl -s "$GANTRY/$ADMIN/loginDo" -d '{"username":"admin","password":"…"}' | sed 's/.*"data":"\([^"]*\)".*/\1/')
VM=1             # id of the machine
` + "```" + `

Other ids in the examples are those of the first or second thing of its kind; the list beside each call says which there are.
`

// examples are what single calls need beside or instead of that, by the call's name.
var examples = map[string]map[string]any{
	"activeOsByOnline":           {"fileName": "debian-12-genericcloud-amd64.qcow2"},
	"selectOsByPageAndCondition": {"param": "name", "value": "o"},
	"addVncNode":                 {"name": "second", "host": "192.0.2.20", "port": 6080},
	"updateVncNode":              {"name": "renamed", "host": "192.0.2.20", "port": 6080, "domain": "vnc.example.com"},
	"insertIpPoolByMask":         {"poolName": "second", "gateway": "198.51.100.1", "mask": 24, "dns1": "9.9.9.9", "dns2": "1.1.1.1"},
	"insertIpPoolByRange":        {"poolId": 2, "startIp": "192.168.1.10", "endIp": "192.168.1.20"},
	"insertOs":                   {"name": "example", "fileName": "example.qcow2", "type": "linux", "downType": 0, "url": "https://images.example/example.qcow2", "osType": "debian"},
	"renewal":                    {"expirationTime": 4102444800},
	"renewalBilling":             {"expirationTime": 4102444800},
	"addSmbiosInfo":              {"type": 1, "model": map[string]any{"product": "Example"}},
	"updateSmbiosInfo":           {"id": 1, "type": 0, "model": map[string]any{"vendor": "Example"}},
	"addModelGroup":              {"smbiosModel": "1", "info": "example"},
	"updateModelGroup":           {"id": 1, "smbiosModel": "1", "info": "example"},
	"power":                      {"action": "stop"},
	"powerBilling":               {"action": "stop"},
	"getVmByParam":               {"param": "hostname", "value": "2"},
	"getVmByParamBilling":        {"param": "hostname", "value": "2"},
	"getVmByStatus":              {"status": 0},
	"getVmByStatusBilling":       {"status": 0},
	"getVmCountByStatus":         {"status": 0},
	"getVmCountByStatusBilling":  {"status": 0},
	"deleteArea":                 {"id": 2},
	"deleteOs":                   {"osId": 2},
	"deleteNodeById":             {"nodeId": 2},
	"deleteIpPool":               {"poolId": 2},
	"deleteCpuInfo":              {"id": 2},
	"deleteSmbiosInfo":           {"id": 3},
	"updateCpuInfo":              {"id": 1, "name": "Example CPU"},
	"updateConfiguretemplate":    {"configureTemplateId": 1, "name": "example", "cores": 2},
	"addConfiguretemplate":       {"name": "example", "cores": 2, "memory": 2048},
	"addCpuInfo":                 {"name": "Example CPU"},
	"insertNodeMaster":           {"host": "192.0.2.10", "username": "root", "password": "secret", "nodeName": "pve2"},
	"deleteSysUserById":          {"id": 2},
	"changePassword":             {"password": "the present one", "newPassword": "another password"},
	"installControlled":          {"hostKey": "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"},
	"adoptVm":                    {"vmid": 101},
	"updateVm":                   {"cores": 2, "memory": 1024},
	"updateVmBilling":            {"cores": 2, "memory": 1024},
	"updateVncPassword":          {"password": "sesame"},
	"updateVncPasswordBilling":   {"password": "sesame"},
}

// lists are the bodies of calls that take a JSON array.
var lists = map[string][]any{
	"updateIp": {map[string]any{"id": 5, "status": 3}},
}

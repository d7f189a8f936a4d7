package api_test

// servedResources are the documented calls about what machines are made of, see served.
var servedResources = map[string]example{
	"PUT /{adminPath}/updateIpPool":               {set: map[string]any{"id": 2, "gateway": "192.168.1.254", "mask": 24, "dns1": "8.8.8.8", "dns2": "", "nodeid": 1}},
	"PUT /{adminPath}/updateIp":                   {},
	"DELETE /{adminPath}/deleteIpPool/{poolId}":   {path: "deleteIpPool/2"},
	"POST /{adminPath}/addArea":                   {},
	"DELETE /{adminPath}/deleteArea/{id}":         {path: "deleteArea/2"},
	"PUT /{adminPath}/updateArea":                 {set: map[string]any{"id": 2}},
	"GET /{adminPath}/getAreaList":                {},
	"GET /{adminPath}/getArea":                    {path: "getArea?id=1"},
	"PUT /{adminPath}/addNodeToArea":              {set: map[string]any{"id": 1, "area": 2}},
	"GET /{adminPath}/getNodeListByArea":          {path: "getNodeListByArea?area=1"},
	"GET /{adminPath}/getAreaListByParent":        {path: "getAreaListByParent?parent=1"},
	"GET /{adminPath}/getAreaListByParentIsNull":  {},
	"POST /{adminPath}/registerDo":                {set: map[string]any{"password": "8 letters"}}, // the example's is too short
	"GET /{adminPath}/getSysuser":                 {},
	"POST /{adminPath}/updateSysuser":             {set: map[string]any{"id": 1}},
	"GET /{adminPath}/getControlledSecretKey":     {},
	"GET /{adminPath}/getVmDefaultDiskSize":       {},
	"POST /{adminPath}/updateVmDefaultDiskSize":   {set: map[string]any{"Linux": 40, "Windows": 60}},
	"GET /{adminPath}/selectOsByOnline":           {},
	"GET /{adminPath}/selectOsByPageAndCondition": {path: "selectOsByPageAndCondition?param=name&value=Stream"},
	"POST /{adminPath}/activeOsByOnline":          {set: map[string]any{"fileName": "Rocky-9-GenericCloud.latest.x86_64.qcow2"}}, // the example's server is gone
	"DELETE /{adminPath}/deleteOs":                {set: map[string]any{"osId": 2}},
	"PUT /{adminPath}/updateOs":                   {set: map[string]any{"id": 2, "fileName": "a.qcow2", "type": "linux", "arch": "x86_64", "osType": "debian", "url": "http://images.example/a.qcow2", "path": "/srv"}},
	"POST /{adminPath}/addVncNode":                {set: map[string]any{"name": "another"}},
	"DELETE /{adminPath}/deleteVncNode":           {path: "deleteVncNode?id=1"},
	"PUT /{adminPath}/updateVncNode":              {set: map[string]any{"id": 1, "host": "192.168.36.155", "port": 7600, "domain": "vnc.example.com"}},
	"GET /{adminPath}/selectVncNodePage":          {},
	"PUT /{adminPath}/updateNodeInfo":             {set: map[string]any{"id": 1, "host": "192.0.2.10", "port": 8006, "nodeName": "pve", "sshPort": 22}},
	"DELETE /{adminPath}/deleteNodeById":          {path: "deleteNodeById?nodeId=2"},
	"GET /{adminPath}/getPveNodeNetworkInfo":      {path: "getPveNodeNetworkInfo?nodeId=1"},
	"GET /{adminPath}/getPveNodeInterfaces":       {path: "getPveNodeInterfaces?nodeId=1"},
	"GET /{adminPath}/getNodeInfoByOne":           {path: "getNodeInfoByOne?nodeId=1"},
	"GET /{adminPath}/getNodeLoadAvg":             {path: "getNodeLoadAvg?nodeId=1"},
	"GET /{adminPath}/getNodeCount":               {},
}

package api_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"gantry/server/api/ams"
	"gantry/server/broker"
)

// addHost adds a cluster of a kind with one node that has all that orders need: 8 CPUs, 8 GiB, 100 GiB, three addresses.
func (f *fixture) addHost(t *testing.T, kind, name string) *broker.Node {
	t.Helper()
	ctx, now := t.Context(), time.Now().UTC()
	cluster := &broker.Cluster{Kind: kind, Name: name, Options: map[string]string{"host": name, "port": "1"}, VMIDFrom: 100, VMIDTo: 999, CreatedAt: now}
	cluster.Endpoint = name
	check(t, f.store.InsertCluster(ctx, cluster))
	node := &broker.Node{ClusterID: cluster.ID, Name: name, CPUs: 8, MemoryBytes: 8 << 30, CreatedAt: now}
	check(t, f.store.UpsertNode(ctx, node))
	check(t, f.store.ReplaceBridges(ctx, node.ID, []broker.Bridge{{Name: "vmbr0", Active: true}}))
	check(t, f.store.ReplaceStorages(ctx, cluster.ID, node.ID, []broker.Storage{{
		Name: "disks", Content: []string{"images"}, Enabled: true, Active: true, Total: 100 << 30, Available: 100 << 30,
	}}))
	gateway := netip.AddrFrom4([4]byte{10, 77, byte(node.ID), 1})
	pool := &broker.AddressPool{Name: name, NodeID: node.ID, Gateway: gateway, Prefix: 24, CreatedAt: now}
	check(t, f.store.InsertPool(ctx, pool))
	check(t, f.store.InsertAddresses(ctx, pool, []broker.Address{{IP: gateway.Next()}, {IP: gateway.Next().Next()}, {IP: gateway.Next().Next().Next()}}))
	check(t, f.store.SaveImageCopy(ctx, &broker.ImageCopy{ImageID: 1, NodeID: node.ID, State: broker.ImageReady, Volume: "disks:x", UpdatedAt: now}))
	return node
}

// placed is a fixture with one host of each kind and the image, and none of the nodes of the ordinary one.
func placed(t *testing.T) (f *fixture, pve, libvirt, memory *broker.Node) {
	t.Helper()
	f = open(t)
	f.admin(t, "POST", "insertOs", `{"name":"debian","fileName":"debian.qcow2","type":"linux","downType":0,"url":"http://images.example/d.qcow2","osType":"debian"}`)
	return f, f.addHost(t, "pve", "alpha"), f.addHost(t, "libvirt", "beta"), f.addHost(t, "memory", "gamma")
}

func (f *fixture) anywhere(t *testing.T, body string) ams.OrderReply {
	t.Helper()
	return into[ams.OrderReply](t, f.billing(t, "POST", "auto/cerateVM", body).Data)
}

// refusals of the answer, by node: "alpha node_cpu_full".
type refusedAnswer struct {
	Refused []struct {
		NodeID   int64          `json:"nodeid"`
		NodeName string         `json:"nodeName"`
		NodeType string         `json:"nodeType"`
		Reason   string         `json:"reason"`
		English  string         `json:"en"`
		Chinese  string         `json:"zh"`
		Figures  map[string]any `json:"figures"`
	} `json:"refused"`
}

func TestOneOrderAPIForAllHypervisors(t *testing.T) {
	f, pve, libvirt, memory := placed(t)
	kinds := map[string]int64{}
	for range 3 {
		got := f.anywhere(t, `{"os":1,"memory":1024,"antiAffinityGroup":"db"}`)
		kinds[got.NodeType] = got.NodeID
		// All later calls take auto, too: the machine's id is enough.
		if info := into[ams.VM](t, f.billing(t, "GET", fmt.Sprintf("auto/getVmInfo?hostId=%d", got.HostID), "").Data); info.NodeType != got.NodeType {
			t.Errorf("getVmInfo tells %q, the order %q", info.NodeType, got.NodeType)
		}
		f.setStatus(t, got.HostID, broker.VMRunning)
		f.billing(t, "PUT", fmt.Sprintf("auto/power/%d/stop", got.HostID), "")
		f.setStatus(t, got.HostID, broker.VMStopped)
		if got.NodeType != "memory" && got.NodeType != "libvirt" { // the fixture's fleet knows pve only
			f.billing(t, "GET", fmt.Sprintf("%s/getVmInfo?hostId=%d", got.NodeType, got.HostID), "")
		}
	}
	if want := map[string]int64{"pve": pve.ID, "libvirt": libvirt.ID, "memory": memory.ID}; fmt.Sprint(kinds) != fmt.Sprint(want) {
		t.Errorf("a group of three went to %v, want one each of %v", kinds, want)
	}
	list := into[ams.List[struct {
		NodeType string `json:"nodeType"`
	}]](t, f.billing(t, "GET", "auto/getNodeList", "").Data)
	if len(list.Records) != 3 || list.Records[1].NodeType != "libvirt" {
		t.Errorf("nodes of all kinds: %+v", list.Records)
	}
	f.billing(t, "GET", fmt.Sprintf("auto/getFreeIpCount?nodeId=%d", libvirt.ID), "")
	if got := into[ams.OrderReply](t, f.admin(t, "POST", "auto/createVm", `{"os":1}`).Data); got.NodeType == "" || got.HostID == 0 {
		t.Errorf("an admin's order: %+v", got)
	}
	if last := f.billing(t, "GET", "auto/getVmCount", ""); string(last.Data) != "3" {
		t.Errorf("machines of the key: %s", last.Data)
	}
}

func TestEachNodeThatRefusesSaysWhy(t *testing.T) {
	f, pve, libvirt, memory := placed(t)
	ctx := t.Context()
	refuse := func(t *testing.T, as, body string) (reply, refusedAnswer) {
		t.Helper()
		path, header := "/api/v1/auto/cerateVM", map[string]string{"Authorization": f.basic}
		if as == "admin" {
			path, header = "/"+adminPath+"/auto/createVm", map[string]string{"Authorization": f.token}
		}
		got := f.send(t, "POST", path, header, body)
		if got.Code != 1011 || got.status != 200 {
			t.Fatalf("answer %d %s", got.status, got.text)
		}
		var data refusedAnswer
		check(t, json.Unmarshal(got.Data, &data))
		return got, data
	}
	before := f.reserved(t)
	for name, row := range map[string]struct{ body, reason, english, chinese string }{
		"CPUs of the node":  {`{"os":1,"cores":9}`, "node_has_fewer_cpus", "fewer CPUs", "CPU 数量"},
		"memory":            {`{"os":1,"memory":9000}`, "node_memory_full", "not enough memory left", "剩余内存不足"},
		"disk":              {`{"os":1,"systemDiskSize":101}`, "node_disk_full", "not enough room left on storage disks", "剩余空间不足"},
		"data disk":         {`{"os":1,"systemDiskSize":60,"dataDisk":{"1":60}}`, "node_disk_full", "not enough room left", "剩余空间不足"},
		"storage":           {`{"os":1,"storage":"ceph"}`, "node_without_storage", "no storage ceph", "ceph"},
		"data disk storage": {`{"os":1,"dataDisk":{"1":"ceph:1"}}`, "node_without_storage", "no storage ceph", "ceph"},
		"bridge":            {`{"os":1,"bridge":"vmbr9"}`, "node_without_bridge", "no bridge vmbr9", "没有网桥 vmbr9"},
		"IPv4":              {`{"os":1,"ipv4num":4}`, "no_free_ipv4", "not enough free IPv4 addresses: 4 wanted", "IPv4"},
		"IPv6":              {`{"os":1,"ipv6num":1}`, "no_free_ipv6", "not enough free IPv6 addresses: 1 wanted", "IPv6"},
		"IPv6 as a need":    {`{"os":1,"needs":["ipv6"]}`, "no_free_ipv6", "IPv6", "IPv6"},
		"a named address":   {`{"os":1,"ipConfig":{"1":"ip=203.0.113.7/24"}}`, "node_without_address", "are not free there", "IP 地址不可用"},
	} {
		t.Run(name, func(t *testing.T) {
			got, data := refuse(t, "admin", row.body)
			if len(data.Refused) != 3 || !strings.Contains(got.Message, fmt.Sprintf("alpha (%d): ", pve.ID)) || !strings.Contains(got.Message, row.english) {
				t.Fatalf("answer %s", got.text)
			}
			for i, node := range []*broker.Node{pve, libvirt, memory} {
				each := data.Refused[i]
				if each.NodeID != node.ID || each.NodeName != node.Name || each.Reason != row.reason || !strings.Contains(each.English, row.english) || !strings.Contains(each.Chinese, row.chinese) {
					t.Errorf("refusal %+v", each)
				}
			}
			// Billing systems learn nothing about what others use.
			if got, data := refuse(t, "key", row.body); strings.Contains(got.text, "figures") || strings.Contains(got.text, "promised") || len(data.Refused) != 3 {
				t.Errorf("to a key: %s", got.text)
			}
		})
	}
	if _, data := refuse(t, "admin", `{"os":1,"memory":9000}`); data.Refused[0].Figures["wanted"] != float64(9000<<20) || data.Refused[0].Figures["capacity"] != float64(8<<30) {
		t.Errorf("figures for operators: %+v", data.Refused[0].Figures)
	}
	chinese := f.send(t, "POST", "/api/v1/auto/cerateVM", map[string]string{"Authorization": f.basic, "Accept-Language": "zh-CN"}, `{"os":1,"memory":9000}`)
	if !strings.Contains(chinese.Message, "没有可用的节点：") || !strings.Contains(chinese.Message, "剩余内存不足") {
		t.Errorf("in Chinese: %s", chinese.Message)
	}

	// Each node for a reason of its own.
	pve.Status = broker.NodeDisabled
	check(t, f.store.UpdateNode(ctx, pve))
	libvirt.Status = broker.NodeOffline
	check(t, f.store.UpdateNode(ctx, libvirt))
	check(t, f.store.SaveNodeLoads(ctx, []broker.NodeLoad{{NodeID: memory.ID, At: time.Now(), ForeignMemoryBytes: 8 << 30}}))
	_, data := refuse(t, "key", `{"os":1}`)
	var reasons []string
	for _, each := range data.Refused {
		reasons = append(reasons, each.Reason)
	}
	if want := "[node_disabled node_offline node_memory_full]"; fmt.Sprint(reasons) != want {
		t.Errorf("reasons %v, want %s", reasons, want)
	}
	check(t, f.store.SaveNodeLoads(ctx, []broker.NodeLoad{{NodeID: memory.ID, At: time.Now(), MemoryBytes: 8 << 30}}))
	if _, data = refuse(t, "key", `{"os":1}`); data.Refused[2].Reason != "node_memory_full" {
		t.Errorf("a node whose memory is in use: %+v", data.Refused[2])
	}
	if now := f.reserved(t); now != before {
		t.Errorf("refusals left something behind: %+v, before %+v", now, before)
	}
}

func TestPlacementPolicy(t *testing.T) {
	t.Run("area, with those below it", func(t *testing.T) {
		f, pve, libvirt, _ := placed(t)
		f.admin(t, "POST", "addArea", `{"name":"Asia"}`)
		f.admin(t, "POST", "addArea", `{"name":"Kwai Chung","parent":1,"realm":1}`)
		f.admin(t, "POST", "addArea", `{"name":"nowhere"}`)
		f.admin(t, "POST", "addNodeToArea", fmt.Sprintf(`{"id":%d,"area":2}`, libvirt.ID))
		for range 3 {
			if got := f.anywhere(t, `{"os":1,"area":1,"systemDiskSize":10}`); got.NodeID != libvirt.ID || got.NodeType != "libvirt" {
				t.Errorf("went to %d, want %d", got.NodeID, libvirt.ID)
			}
		}
		run(t, f, []scenario{
			{name: "an area without nodes", method: "POST", url: "/api/v1/auto/cerateVM", as: "key", body: `{"os":1,"area":3}`, code: 1011, has: []string{"there is none", `"refused":[]`}},
			{name: "the only node is full", method: "POST", url: "/api/v1/auto/cerateVM", as: "key", body: `{"os":1,"area":2,"systemDiskSize":10}`, code: 1011, has: []string{"no_free_ipv4"}, hasNot: []string{pve.Name}},
			{name: "unknown area", method: "POST", url: "/api/v1/auto/cerateVM", as: "key", body: `{"os":1,"area":99}`, code: 20400, has: []string{"area: area 99"}},
		})
	})
	t.Run("most left, in steps of a tenth; then fewest of the tenant", func(t *testing.T) {
		f, pve, libvirt, memory := placed(t)
		check(t, f.store.SaveNodeLoads(t.Context(), []broker.NodeLoad{
			{NodeID: pve.ID, At: time.Now(), CPU: 0.9}, {NodeID: libvirt.ID, At: time.Now(), MemoryBytes: 3 << 30},
		}))
		if got := f.anywhere(t, `{"os":1,"systemDiskSize":1}`); got.NodeID != memory.ID {
			t.Errorf("went to %s, the one without load is memory", got.NodeType)
		}
		// Another key's machine makes no difference in the same tenth, one's own does.
		f, pve, libvirt, memory = placed(t)
		first := f.anywhere(t, `{"os":1,"systemDiskSize":1,"memory":64}`)
		second := f.anywhere(t, `{"os":1,"systemDiskSize":1,"memory":64}`)
		if first.NodeID != pve.ID || second.NodeID != libvirt.ID {
			t.Errorf("went to %d and %d, want %d and %d", first.NodeID, second.NodeID, pve.ID, libvirt.ID)
		}
		if other := into[ams.OrderReply](t, f.admin(t, "POST", "auto/createVm", `{"os":1,"systemDiskSize":1,"memory":64}`).Data); other.NodeID != memory.ID {
			t.Errorf("another tenant's went to %d, want the emptiest, %d", other.NodeID, memory.ID)
		}
	})
	t.Run("anti-affinity holds for one tenant", func(t *testing.T) {
		f, _, _, _ := placed(t)
		nodes := map[int64]bool{}
		for range 3 {
			nodes[f.anywhere(t, `{"os":1,"antiAffinityGroup":"web.1"}`).NodeID] = true
		}
		if len(nodes) != 3 {
			t.Errorf("three of a group are on %d nodes", len(nodes))
		}
		run(t, f, []scenario{{name: "a fourth", method: "POST", url: "/api/v1/auto/cerateVM", as: "key", body: `{"os":1,"antiAffinityGroup":"web.1"}`, code: 1011, has: []string{"node_has_group_member"}}})
		f.admin(t, "POST", "auto/createVm", `{"os":1,"antiAffinityGroup":"web.1"}`)
	})
	t.Run("capabilities", func(t *testing.T) {
		f, _, _, _ := placed(t)
		lacks := func(capability broker.Capability) { f.fleet.lacks.Store(&capability) }
		for _, row := range []struct{ body, lacks, want string }{
			{`{"os":1,"needs":"console,ipv6"}`, "console", "its hypervisor does not support console"},
			{`{"os":1,"needs":["snapshots"]}`, "snapshots", "snapshots"},
			{`{"os":1,"bandwidth":10}`, "bandwidth_limit", "bandwidth_limit"},
			{`{"os":1,"cpuUnits":50}`, "cpu_limit", "cpu_limit"},
			{`{"os":1,"iopsRd":100}`, "io_limits", "io_limits"},
			{`{"os":1,"nested":true}`, "nested_virtualization", "nested_virtualization"},
		} {
			lacks(broker.Capability(row.lacks))
			run(t, f, []scenario{{name: row.want, method: "POST", url: "/api/v1/auto/cerateVM", as: "key", body: row.body, code: 1011, has: []string{"node_lacks_capability", row.want}}})
		}
		f.anywhere(t, `{"os":1}`) // what lacks is not needed
	})
	t.Run("the image is there, or comes with the order", func(t *testing.T) {
		f, pve, _, _ := placed(t)
		f.admin(t, "POST", "insertOs", `{"name":"fresh","fileName":"fresh.qcow2","type":"linux","downType":0,"url":"http://images.example/f.qcow2","osType":"debian"}`)
		f.admin(t, "POST", "insertOs", `{"name":"by hand","fileName":"hand.qcow2","type":"linux","downType":1,"osType":"debian"}`)
		f.anywhere(t, `{"os":"fresh"}`)
		copies, err := f.store.ListImageCopies(t.Context(), 2)
		if err != nil || len(copies) != 1 || copies[0].State != broker.ImageDownloading || copies[0].TaskID == nil {
			t.Fatalf("copies %+v, %v", copies, err)
		}
		run(t, f, []scenario{{name: "an image that was put on no node", method: "POST", url: "/api/v1/auto/cerateVM", as: "key", body: `{"os":"by hand"}`, code: 1011, has: []string{"node_without_image"}}})
		copies[0].NodeID, copies[0].State = pve.ID, broker.ImageReady
		check(t, f.store.SaveImageCopy(t.Context(), &copies[0]))
		if got := f.anywhere(t, `{"os":"fresh"}`); got.NodeID != pve.ID {
			t.Errorf("went to %d, though %d has the image", got.NodeID, pve.ID)
		}
	})
	t.Run("plan and recycle bin", func(t *testing.T) {
		f, _, _, _ := placed(t)
		f.admin(t, "POST", "addConfiguretemplate", `{"name":"large","cores":4,"memory":5000}`)
		var ids []int64
		for range 3 {
			got := f.anywhere(t, `{"os":1,"configureTemplateId":1}`)
			if ids = append(ids, got.HostID); got.Memory != 5000 {
				t.Errorf("memory %d", got.Memory)
			}
		}
		full := scenario{name: "no second one fits", method: "POST", url: "/api/v1/auto/cerateVM", as: "key", body: `{"os":1,"configureTemplateId":1}`, code: 1011, has: []string{"node_memory_full"}}
		run(t, f, []scenario{full})
		now := time.Now().UTC()
		vm, err := f.store.FindVM(t.Context(), ids[0])
		check(t, err)
		vm.TaskID, vm.Status, vm.RecycledAt, vm.DestroyAt = nil, broker.VMStopped, &now, &now
		check(t, f.store.UpdateVM(t.Context(), vm))
		run(t, f, []scenario{full}) // it can be restored: its place is kept
		check(t, f.store.MarkVMDeleted(t.Context(), ids[0], now))
		f.anywhere(t, `{"os":1,"configureTemplateId":1}`)
	})
	t.Run("the only bridge of a node will do where none was asked for", func(t *testing.T) {
		f, pve, libvirt, memory := placed(t)
		check(t, f.store.ReplaceBridges(t.Context(), libvirt.ID, []broker.Bridge{{Name: "default", Active: true}}))
		for _, node := range []*broker.Node{pve, memory} {
			check(t, f.store.ReplaceBridges(t.Context(), node.ID, []broker.Bridge{{Name: "a", Active: true}, {Name: "b", Active: true}}))
		}
		if got := f.anywhere(t, `{"os":1}`); got.NodeID != libvirt.ID || got.Bridge != "default" {
			t.Errorf("went to %d with bridge %s", got.NodeID, got.Bridge)
		}
		run(t, f, []scenario{{name: "one that was", method: "POST", url: "/api/v1/auto/cerateVM", as: "key", body: `{"os":1,"bridge":"vmbr0"}`, code: 1011, has: []string{"node_without_bridge"}}})
	})
	t.Run("the same order twice", func(t *testing.T) {
		f, _, _, _ := placed(t)
		header := map[string]string{"Authorization": f.basic, "Idempotency-Key": "service-7"}
		first := into[ams.OrderReply](t, f.send(t, "POST", "/api/v1/auto/cerateVM", header, `{"os":1}`).Data)
		again := into[ams.OrderReply](t, f.send(t, "POST", "/api/v1/auto/cerateVM", header, `{"os":1}`).Data)
		if first.HostID == 0 || again.HostID != first.HostID || again.Password != first.Password {
			t.Errorf("first %+v, again %+v", first, again)
		}
		if other := f.send(t, "POST", "/api/v1/auto/cerateVM", header, `{"os":1,"antiAffinityGroup":"x"}`); other.Code != 20405 {
			t.Errorf("another order with the key: %s", other.text)
		}
	})
}

func TestPlacementInput(t *testing.T) {
	f, _, _, _ := placed(t)
	order := func(name, body string, code int, has ...string) scenario {
		return scenario{name: name, method: "POST", url: "/api/v1/auto/cerateVM", as: "key", body: body, code: code, has: has}
	}
	run(t, f, []scenario{
		order("no image", `{}`, 4000002, "os: is required"),
		order("unknown image", `{"os":"x"}`, 1014, "os: "),
		order("a group that is none", `{"os":1,"antiAffinityGroup":"a b"}`, 4000002, "antiAffinityGroup: "),
		order("a long group", `{"os":1,"antiAffinityGroup":"`+strings.Repeat("x", 64)+`"}`, 4000002, "antiAffinityGroup: "),
		order("unknown need", `{"os":1,"needs":["teleport"]}`, 4000002, "needs: ", "teleport"),
		order("needs of a wrong type", `{"os":1,"needs":{"a":1}}`, 4000001, "needs: "),
		order("needs without end", `{"os":1,"needs":"`+strings.Repeat("ipv6,", 40)+`"}`, 4000002, "needs: "),
		order("cloud-init that the image lacks", `{"os":1,"needs":"cloud-init"}`, 4000002, "has no cloud-init"),
		order("area 0", `{"os":1,"area":0}`, 4000002, "area: "),
		order("unknown plan", `{"os":1,"configureTemplateId":9}`, 1020),
		order("bad memory", `{"os":1,"memory":1}`, 4000002, "memory: "),
		{name: "no key", method: "POST", url: "/api/v1/auto/cerateVM", body: `{"os":1}`, http: 401, code: 501002},
		{name: "wrong key", method: "POST", url: "/api/v1/auto/cerateVM", header: map[string]string{"Authorization": basicHeader("1", "2")}, body: `{"os":1}`, code: 501002},
		{name: "another's machine by auto", method: "GET", url: "/api/v1/auto/getVmInfo?hostId=99", as: "key", code: 1016},
		bad("overcommit of nothing", "PUT", "updatePlacementConfig", `{"memoryPercent":0}`, 4000002, "memoryPercent: "),
		bad("overcommit of a word", "PUT", "updatePlacementConfig", `{"memoryPercent":"much"}`, 4000001, "memoryPercent: "),
	})
	refusals(t, f, "POST auto/createVm", "GET getPlacementConfig", "PUT updatePlacementConfig")
	if got := string(f.admin(t, "GET", "getPlacementConfig", "").Data); got != `{"cpuPercent":400,"memoryPercent":100,"diskPercent":100}` {
		t.Errorf("defaults %s", got)
	}
	f.admin(t, "PUT", "updatePlacementConfig", `{"memoryPercent":200}`)
	f.anywhere(t, `{"os":1,"memory":9000}`)
	if got := string(f.admin(t, "GET", "getPlacementConfig", "").Data); got != `{"cpuPercent":400,"memoryPercent":200,"diskPercent":100}` {
		t.Errorf("changed %s", got)
	}
}

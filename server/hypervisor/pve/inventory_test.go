package pve

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"gantry/server/hypervisor"
)

// resourcesAnswer is /cluster/resources of so many guests, in PVE 9.2's form.
func resourcesAnswer(guests int) []byte {
	var text strings.Builder
	text.WriteString(`{"data":[{"type":"node","id":"node/pve1","node":"pve1","status":"online","cpu":0.25,"maxcpu":64,"mem":1073741824,"maxmem":549755813888,"uptime":3000,"level":""}`)
	for i := range guests {
		fmt.Fprintf(&text, `,{"netout":%d,"maxmem":268435456,"status":"running","template":0,"uptime":%d,"id":"qemu/%d","cpu":0.0123%d,"diskwrite":%d,"disk":0,"maxcpu":2,`+
			`"mem":123456789,"diskread":1234567,"node":"pve%d","name":"vm%d","maxdisk":1073741824,"vmid":%d,"netin":123456%d,"memhost":0,"type":"qemu","tags":"a;b"}`,
			i*1000, i, 100+i, i, i*77, i%16, i, 100+i, i)
	}
	text.WriteString(`]}`)
	return []byte(text.String())
}

// A guest that was not sampled yet has neither name nor state; containers, storages and SDN zones (of either version) are no guests.
func TestInventoryRows(t *testing.T) {
	s := serve(t, pages(map[string]string{"GET /cluster/resources": data(`[
		{"type":"node","node":"pve1","status":"online","cpu":0.5,"maxcpu":8,"mem":10,"maxmem":20,"uptime":5},{"type":"node","node":"pve2","status":"offline"},
		{"type":"qemu","vmid":100,"node":"pve1","status":"unknown","id":"qemu/100"},
		{"type":"qemu","vmid":101,"node":"pve1","status":"running","name":"a","cpu":1e-3,"maxcpu":2,"mem":5.0,"maxmem":6,"maxdisk":7,"uptime":8,"netin":9,"netout":10,"template":0},
		{"type":"qemu","vmid":102,"node":"pve1","status":"stopped","template":1,"lock":"backup"},{"type":"qemu","vmid":103,"node":"pve1","status":"stopped","lock":"suspended"},
		{"type":"lxc","vmid":104,"node":"pve1","status":"running"},{"type":"storage","storage":"local","node":"pve1","status":"available"},
		{"type":"network","id":"network/pve1/zone/localnetwork"},{"type":"sdn","id":"sdn/pve1/localnetwork"}]`)}))
	inventory, err := s.byToken(t).Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wantNodes := []hypervisor.NodeState{{Name: "pve1", Online: true, CPU: 0.5, CPUs: 8, MemoryUsed: 10, MemoryTotal: 20, Uptime: 5}, {Name: "pve2"}}
	wantGuests := []hypervisor.GuestSummary{
		{ID: 100, Node: "pve1", Power: hypervisor.PowerUnknown},
		{ID: 101, Node: "pve1", Name: "a", Power: hypervisor.PowerRunning, CPU: 0.001, CPUs: 2, MemoryUsed: 5, MemoryTotal: 6, DiskTotal: 7, Uptime: 8, NetIn: 9, NetOut: 10},
		{ID: 102, Node: "pve1", Power: hypervisor.PowerStopped, Template: true, Lock: "backup"},
		{ID: 103, Node: "pve1", Power: hypervisor.PowerSuspended, Lock: "suspended"},
	}
	if fmt.Sprint(inventory.Nodes) != fmt.Sprint(wantNodes) || fmt.Sprint(inventory.Guests) != fmt.Sprint(wantGuests) {
		t.Errorf("inventory is %+v", inventory)
	}
	if seen := s.seen(); len(seen) != 1 {
		t.Errorf("requests are %q", seen)
	}
}

// A node that dies between /nodes and its own answers is offline, and the others are still discovered.
func TestDiscoverWithoutANode(t *testing.T) {
	s := serve(t, pages(map[string]string{
		"GET /version": data(`{"version":"9.2.11"}`), "GET /nodes": data(`[{"node":"pve2","status":"online","maxcpu":4},{"node":"pve1","status":"online","maxcpu":8,"maxmem":1024},{"node":"pve3","status":"offline"}]`),
		"GET /nodes/pve1/storage": data(`[{"storage":"nas","type":"nfs","content":"import,images","shared":1,"enabled":1,"active":1,"total":100,"avail":40,"used":60,"used_fraction":0.6}]`),
		"GET /nodes/pve1/network": data(`[{"iface":"vnet1","type":"vnet"},{"iface":"vmbr1","type":"bridge"},{"iface":"vmbr0","type":"bridge","active":1,"cidr":"10.0.0.1/24","priority":3}]`),
		"GET /nodes/pve2/storage": reply("595 No route to host", ""),
	}))
	discovery, err := s.byToken(t).Discover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []hypervisor.NodeDetail{
		{Name: "pve1", Online: true, CPUs: 8, MemoryBytes: 1024,
			Storages: []hypervisor.Storage{{Name: "nas", Type: "nfs", Content: []string{"images", "import"}, Shared: true, Enabled: true, Active: true, Total: 100, Available: 40}},
			Bridges:  []hypervisor.Bridge{{Name: "vmbr0", CIDR: "10.0.0.1/24", Active: true}, {Name: "vmbr1"}, {Name: "vnet1", Active: true}}},
		{Name: "pve2", CPUs: 4}, {Name: "pve3"},
	}
	if discovery.Version != "9.2.11" || fmt.Sprintf("%+v", discovery.Nodes) != fmt.Sprintf("%+v", want) {
		t.Errorf("discovery is %+v", discovery)
	}
}

func TestDiscoverHearsOfUpgrades(t *testing.T) {
	version := "8.4.1"
	s := serve(t, func(request *http.Request) string {
		return pages(map[string]string{"GET /version": data(`{"version":"` + version + `"}`), "GET /nodes": data(`[]`)})(request)
	})
	d := s.byToken(t)
	for _, version = range []string{"8.4.1", "9.2.11"} {
		discovery, err := d.Discover(t.Context())
		if known, versionErr := d.version(t.Context()); err != nil || versionErr != nil || discovery.Version != version || known != version {
			t.Errorf("discovered %q, %v, known %q, %v; want %s", discovery.Version, err, known, versionErr, version)
		}
	}
}

func BenchmarkDecodeResources10000(b *testing.B) {
	answer := resourcesAnswer(10_000)
	b.SetBytes(int64(len(answer)))
	b.ReportAllocs()
	for b.Loop() {
		if rows, err := decodeResources(answer); err != nil || len(rows) != 10_001 {
			b.Fatal(len(rows), err)
		}
	}
}

// BenchmarkInventory10000 is the whole call, with TLS on loopback.
func BenchmarkInventory10000(b *testing.B) {
	answer := reply("200 OK", string(resourcesAnswer(10_000)))
	s := serve(b, pages(map[string]string{"GET /cluster/resources": answer}))
	d := s.byToken(b)
	for b.Loop() {
		if inventory, err := d.Inventory(b.Context()); err != nil || len(inventory.Guests) != 10_000 {
			b.Fatal(err)
		}
	}
}

// BenchmarkSmallGet is the driver's own cost of a request.
func BenchmarkSmallGet(b *testing.B) {
	s := serve(b, guestPages(nil))
	d := s.byToken(b)
	for b.Loop() {
		if _, err := d.Config(b.Context(), testRef); err != nil {
			b.Fatal(err)
		}
	}
}

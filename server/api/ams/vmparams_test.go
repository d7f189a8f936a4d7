package ams

import (
	"context"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"gantry/server/api/route"
	"gantry/server/broker"
)

// order decodes a body as cerateVM does.
func order(t testing.TB, body string) (broker.OrderRequest, *route.Call, error) {
	t.Helper()
	var got broker.OrderRequest
	call := &route.Call{Kind: "pve", IdempotencyKey: "k1"}
	described := route.Of(route.Route{Methods: []string{"POST"}, Path: "/x"}, func(_ context.Context, call *route.Call, params VMParams) (route.Null, error) {
		var err error
		got, err = params.Order(call)
		return nil, err
	})
	r := httptest.NewRequest("POST", "/x", strings.NewReader(body))
	input, err := route.ReadInput(httptest.NewRecorder(), r, nil)
	if err != nil {
		return got, call, err
	}
	_, err = described.Serve(t.Context(), call, input)
	return got, call, err
}

func pointer[T any](value T) *T { return &value }

func TestOrdersAreReadWithAllTheirFields(t *testing.T) {
	got, call, err := order(t, `{
		"nodeid": "1", "hostname": "VM-01", "configureTemplateId": 4, "sockets": 1, "cores": "2", "threads": 2,
		"devirtualization": false, "kvm": 1, "cpuModel": 3, "modelGroup": 2, "nested": "true", "cpu": "host", "cpuUnits": 50,
		"bwlimit": 200, "flowLimit": "1000", "arch": "arrch64", "acpi": "1", "memory": 1024, "swap": 256, "storage": "auto",
		"systemDiskSize": 40, "mbpsRd": 10, "mbpsRdMax": 11, "mbpsWrMax": 13, "iopsRd": 14, "iopsRdMax": 15, "iopsWr": 16, "iopsWrMax": 17,
		"dataDisk": {"2": "local:5", "1": 40}, "bridge": "vmbr1", "ipConfig": {"1": ""}, "ipv4num": 1, "ipv6num": 0,
		"dns1": "1.1.1.1,8.8.8.8", "os": 3, "osType": "linux", "onBoot": 1, "bandwidth": 100, "username": "root",
		"password": "123456", "sshKeys": "ssh-ed25519 AAAA a\n\nssh-ed25519 BBBB b\n", "expirationTime": 1900000000
	}`)
	if err != nil {
		t.Fatal(err)
	}
	expires := time.Unix(1900000000, 0).UTC()
	want := broker.OrderRequest{
		Kind: "pve", NodeID: 1, IdempotencyKey: "k1", PlanID: 4, Hostname: "VM-01",
		Sockets: pointer(1), Cores: pointer(2), Threads: pointer(2), CPUPercent: pointer(50), CPUType: "host",
		CPUModel: pointer(int64(3)), ModelGroup: pointer(int64(2)), Nested: pointer(true), Devirtualization: pointer(false), KVM: pointer(true), Arch: "arrch64", ACPI: pointer(true),
		MemoryMB: pointer(1024), SwapMB: pointer(256), Storage: "auto", SystemDiskGB: pointer(40),
		DataDisks: []broker.DataDisk{{Number: 1, SizeGB: 40}, {Number: 2, SizeGB: 5, Storage: "local"}},
		IO: broker.IOLimits{
			ReadMBps: 10, ReadMBpsMax: 11, WriteMBps: 200, WriteMBpsMax: 13, ReadIOPS: 14, ReadIOPSMax: 15, WriteIOPS: 16, WriteIOPSMax: 17,
		},
		Bridge: "vmbr1", BandwidthMbps: pointer(100), TrafficGB: pointer(int64(1000)), OnBoot: pointer(true), Image: "3", OSFamily: "linux",
		Username: "root", Password: "123456", SSHKeys: []string{"ssh-ed25519 AAAA a", "ssh-ed25519 BBBB b"},
		Addresses: []string{""}, IPv4Count: pointer(1), IPv6Count: pointer(0), Nameserver: "1.1.1.1 8.8.8.8", ExpiresAt: &expires,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if len(call.Warnings) != 0 {
		t.Errorf("warnings %q", call.Warnings)
	}
}

func TestAnOrderNeedsNodeAndImageOnly(t *testing.T) {
	got, call, err := order(t, `{"nodeid": 1, "os": "debian"}`)
	if err != nil {
		t.Fatal(err)
	}
	if want := (broker.OrderRequest{Kind: "pve", IdempotencyKey: "k1", NodeID: 1, Image: "debian"}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if len(call.Warnings) != 0 {
		t.Errorf("warnings %q", call.Warnings)
	}
}

func TestOrderFieldsOfManyForms(t *testing.T) {
	milliseconds := time.UnixMilli(1900000000123).UTC()
	for _, test := range []struct {
		name, field string
		want        broker.OrderRequest
	}{
		{"disk as text", `"dataDisk": {"1": "40"}`, broker.OrderRequest{DataDisks: []broker.DataDisk{{Number: 1, SizeGB: 40}}}},
		{"disk with unit", `"dataDisk": {"1": "40G"}`, broker.OrderRequest{DataDisks: []broker.DataDisk{{Number: 1, SizeGB: 40}}}},
		{"disk by device", `"dataDisk": {"scsi3": 40}`, broker.OrderRequest{DataDisks: []broker.DataDisk{{Number: 3, SizeGB: 40}}}},
		{"disk object", `"dataDisk": {"1": {"size": 40, "storage": "fast"}}`, broker.OrderRequest{DataDisks: []broker.DataDisk{{Number: 1, SizeGB: 40, Storage: "fast"}}}},
		{"disk object, other names", `"dataDisk": {"1": {"capacity": "40", "pool": "fast", "enable": "1"}}`, broker.OrderRequest{DataDisks: []broker.DataDisk{{Number: 1, SizeGB: 40, Storage: "fast"}}}},
		{"disk switched off", `"dataDisk": {"1": {"size": 40, "enable": false}, "2": 5}`, broker.OrderRequest{DataDisks: []broker.DataDisk{{Number: 2, SizeGB: 5}}}},
		{"empty disk", `"dataDisk": {"1": "", "2": null}`, broker.OrderRequest{}},
		{"disks as JSON in a text", `"dataDisk": "{\"1\": 40}"`, broker.OrderRequest{DataDisks: []broker.DataDisk{{Number: 1, SizeGB: 40}}}},
		{"PHP's empty map of disks", `"dataDisk": []`, broker.OrderRequest{}},
		{"no disks", `"dataDisk": ""`, broker.OrderRequest{}},
		{"named address", `"ipConfig": {"1": "ip=192.0.2.7/24,gw=192.0.2.1"}`, broker.OrderRequest{Addresses: []string{"192.0.2.7"}}},
		{"address without mask", `"ipConfig": {"1": "ip=192.0.2.7"}`, broker.OrderRequest{Addresses: []string{"192.0.2.7"}}},
		{"both versions", `"ipConfig": {"1": "ip=192.0.2.7/24,gw=192.0.2.1,ip6=2001:db8::7/64,gw6=2001:db8::1"}`, broker.OrderRequest{Addresses: []string{"192.0.2.7", "2001:db8::7"}}},
		{"order of the keys", `"ipConfig": {"10": "ip=192.0.2.10", "2": "ip=192.0.2.2", "1": ""}`, broker.OrderRequest{Addresses: []string{"", "192.0.2.2", "192.0.2.10"}}},
		{"null entry", `"ipConfig": {"1": null}`, broker.OrderRequest{Addresses: []string{""}}},
		{"list", `"ipConfig": ["", "ip=192.0.2.7"]`, broker.OrderRequest{Addresses: []string{"", "192.0.2.7"}}},
		{"JSON in a text", `"ipConfig": "{\"1\":\"\"}"`, broker.OrderRequest{Addresses: []string{""}}},
		{"milliseconds", `"expirationTime": "1900000000123"`, broker.OrderRequest{ExpiresAt: &milliseconds}},
		{"no expiry", `"expirationTime": 0`, broker.OrderRequest{}},
		{"the original's CPU weight is no limit", `"cpuUnits": 1024`, broker.OrderRequest{}},
		{"IO limit for both ways", `"bwlimit": 200`, broker.OrderRequest{IO: broker.IOLimits{ReadMBps: 200, WriteMBps: 200}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.want.Kind, test.want.IdempotencyKey, test.want.NodeID, test.want.Image = "pve", "k1", 1, "debian"
			got, _, err := order(t, `{"nodeid": 1, "os": "debian", `+test.field+`}`)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestBadOrderFieldsAreNamed(t *testing.T) {
	for _, test := range []struct{ field, named string }{
		{`"dataDisk": {"x": 40}`, "dataDisk"},
		{`"dataDisk": {"-1": 40}`, "dataDisk"},
		{`"dataDisk": {"01": 40}`, "dataDisk"},
		{`"dataDisk": {"1": "big"}`, "dataDisk.1"},
		{`"dataDisk": {"1": 0}`, "dataDisk.1"},
		{`"dataDisk": {"1": -5}`, "dataDisk.1"},
		{`"dataDisk": {"1": ":40"}`, "dataDisk.1"},
		{`"dataDisk": {"1": true}`, "dataDisk.1"},
		{`"dataDisk": {"1": {"storage": "fast"}}`, "dataDisk.1.size"},
		{`"dataDisk": {"1": {"size": 1, "enable": "perhaps"}}`, "dataDisk.1.enable"},
		{`"dataDisk": 40`, "dataDisk"},
		{`"dataDisk": "40"`, "dataDisk"},
		{`"dataDisk": "{"`, "dataDisk"},
		{`"ipConfig": {"1": "dhcp"}`, "ipConfig.1"},
		{`"ipConfig": {"1": "ip=dhcp"}`, "ipConfig.1"},
		{`"ipConfig": {"1": "ip=192.0.2.300"}`, "ipConfig.1"},
		{`"ipConfig": {"1": "ip=192.0.2.7/33"}`, "ipConfig.1"},
		{`"ipConfig": {"1": "ip=2001:db8::1"}`, "ipConfig.1"},
		{`"ipConfig": {"1": "ip6=192.0.2.7"}`, "ipConfig.1"},
		{`"ipConfig": {"1": "gw=192.0.2.1"}`, "ipConfig.1"},
		{`"ipConfig": {"1": "ip=192.0.2.7,ip=192.0.2.8"}`, "ipConfig.1"},
		{`"ipConfig": {"1": "ip=192.0.2.7,bridge=vmbr9"}`, "ipConfig.1"},
		{`"ipConfig": {"one": ""}`, "ipConfig"},
		{`"expirationTime": 12345`, "expirationTime"},
		{`"expirationTime": "tomorrow"`, "expirationTime"},
		{`"configureTemplateId": -3`, "configureTemplateId"},
		{`"configureTemplateId": "small"`, "configureTemplateId"},
		{`"cpuUnits": -1`, "cpuUnits"},
		{`"memory": "lots"`, "memory"},
		{`"ipv4num": 33`, "ipv4num"},
		{`"os": ["a"]`, "os"},
	} {
		t.Run(test.field, func(t *testing.T) {
			_, _, err := order(t, `{"os": "debian", "nodeid": 1, `+test.field+`}`)
			if test.named == "os" {
				_, _, err = order(t, `{"nodeid": 1, `+test.field+`}`)
			}
			if err == nil {
				t.Fatal("accepted")
			}
			_, text, internal := route.Route{}.Refuse(err, broker.English)
			if internal || !strings.HasPrefix(text, test.named+": ") {
				t.Errorf("message %q does not begin with %q", text, test.named)
			}
		})
	}
}

func FuzzOrder(f *testing.F) {
	for _, seed := range []string{
		`{"nodeid":1,"os":"a","dataDisk":{"1":40,"scsi2":"local:5","3":{"size":"7G","pool":"x"}},"ipConfig":{"1":"ip=192.0.2.7/24,gw=192.0.2.1,ip6=2001:db8::7/64"}}`,
		`{"nodeid":"1","os":2,"dataDisk":"{\"1\":1}","ipConfig":["",""],"expirationTime":1900000000}`,
		`{"nodeid":1,"os":"a","sshKeys":"ssh-rsa AAAA\n"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		got, _, err := order(t, body)
		if err != nil {
			if _, text, internal := (route.Route{}).Refuse(err, broker.English); internal || !strings.Contains(text, ": ") {
				t.Fatalf("error %v names no field", err)
			}
			return
		}
		if got.NodeID < 1 || got.Image == "" {
			t.Fatalf("accepted %+v", got)
		}
		for i, disk := range got.DataDisks {
			if disk.Number < 0 || disk.SizeGB < 1 || (i > 0 && disk.Number < got.DataDisks[i-1].Number) {
				t.Fatalf("accepted disk %+v", disk)
			}
		}
		for _, address := range got.Addresses {
			if _, err := broker.ParseAddress("ip", address); address != "" && err != nil {
				t.Fatalf("accepted address %q", address)
			}
		}
	})
}

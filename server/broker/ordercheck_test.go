package broker

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func testBroker() *Broker {
	return New(nil, nil, nil, DefaultRules(), func() time.Time { return time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC) }, slog.New(slog.DiscardHandler))
}

func pointer[T any](value T) *T { return &value }

func TestAnOrderWithoutOptionalFieldsGetsTheDocumentedDefaults(t *testing.T) {
	spec, err := testBroker().specification(&OrderRequest{})
	if err != nil {
		t.Fatal(err)
	}
	facts := []struct {
		name      string
		got, want any
	}{
		{"sockets", spec.Sockets, 1}, {"cores", spec.Cores, 1}, {"threads", spec.Threads, 1},
		{"cpu", spec.CPUType, "kvm64"}, {"arch", spec.Arch, "x86_64"}, {"memory", spec.MemoryMB, 512},
		{"kvm", spec.KVM, true}, {"acpi", spec.ACPI, true}, {"nested", spec.Nested, false}, {"onBoot", spec.OnBoot, false},
		{"no CPU limit", spec.CPUPercent, Unlimited}, {"no bandwidth limit", spec.BandwidthMbps, Unlimited},
		{"no traffic quota", spec.TrafficBytes, Unlimited}, {"no read limit", spec.IO.ReadMBps, Unlimited},
		{"no write burst limit", spec.IO.WriteIOPSMax, Unlimited}, {"bridge", spec.Bridge, "vmbr0"},
		{"storage is chosen later", spec.Storage, ""}, {"disk size is chosen by the image", spec.SystemDiskGB, 0},
	}
	for _, fact := range facts {
		if fact.got != fact.want {
			t.Errorf("%s: got %v, want %v", fact.name, fact.got, fact.want)
		}
	}
}

func TestWhatAnOrderSaysIsKept(t *testing.T) {
	spec, err := testBroker().specification(&OrderRequest{
		Sockets: pointer(2), Cores: pointer(4), Threads: pointer(2), CPUPercent: pointer(50), CPUType: "host", Nested: pointer(true),
		Arch: "arrch64", MemoryMB: pointer(2048), Storage: "auto", SystemDiskGB: pointer(20), BandwidthMbps: pointer(100),
		TrafficGB: pointer(int64(10)), IO: IOLimits{ReadMBps: 30, WriteIOPS: 500}, DataDisks: []DataDisk{{Number: 1, SizeGB: 5}},
	})
	if err != nil {
		t.Fatal(err)
	}
	facts := []struct {
		name      string
		got, want any
	}{
		{"cores", spec.Cores, 4}, {"cpu limit", spec.CPUPercent, int64(50)}, {"the seed's spelling of aarch64", spec.Arch, "aarch64"},
		{"auto means chosen later", spec.Storage, ""}, {"bandwidth", spec.BandwidthMbps, int64(100)},
		{"quota in bytes", spec.TrafficBytes, int64(10) << 30}, {"read limit", spec.IO.ReadMBps, int64(30)},
		{"write iops", spec.IO.WriteIOPS, int64(500)}, {"data disk", spec.DataDisks[0].SizeGB, 5},
	}
	for _, fact := range facts {
		if fact.got != fact.want {
			t.Errorf("%s: got %v, want %v", fact.name, fact.got, fact.want)
		}
	}
}

func TestABadOrderNamesItsField(t *testing.T) {
	past := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, bad := range []struct {
		field   string
		request OrderRequest
	}{
		{"sockets", OrderRequest{Sockets: pointer(0)}},
		{"sockets", OrderRequest{Sockets: pointer(17)}},
		{"cores", OrderRequest{Cores: pointer(-1)}},
		{"threads", OrderRequest{Threads: pointer(9)}},
		{"cpuUnits", OrderRequest{CPUPercent: pointer(101)}},
		{"cpuUnits", OrderRequest{CPUPercent: pointer(-5)}},
		{"cpu", OrderRequest{CPUType: "quantum"}},
		{"cpu", OrderRequest{Nested: pointer(true), CPUType: "kvm64"}},
		{"arch", OrderRequest{Arch: "sparc"}},
		{"memory", OrderRequest{MemoryMB: pointer(15)}},
		{"swap", OrderRequest{SwapMB: pointer(-1)}},
		{"systemDiskSize", OrderRequest{SystemDiskGB: pointer(0)}},
		{"storage", OrderRequest{Storage: "local,import-from=/etc/passwd"}},
		{"storage", OrderRequest{Storage: "../x"}},
		{"dataDisk.0", OrderRequest{DataDisks: []DataDisk{{Number: 0, SizeGB: 1}}}},
		{"dataDisk.1", OrderRequest{DataDisks: []DataDisk{{Number: 1, SizeGB: 0}}}},
		{"dataDisk.2", OrderRequest{DataDisks: []DataDisk{{Number: 2, SizeGB: 1}, {Number: 2, SizeGB: 1}}}},
		{"dataDisk.1", OrderRequest{DataDisks: []DataDisk{{Number: 1, SizeGB: 1, Storage: "a b"}}}},
		{"mbpsRd", OrderRequest{IO: IOLimits{ReadMBps: -7}}},
		{"iopsWrMax", OrderRequest{IO: IOLimits{WriteIOPSMax: 10_000_001}}},
		{"bandwidth", OrderRequest{BandwidthMbps: pointer(-1)}},
		{"flowLimit", OrderRequest{TrafficGB: pointer(int64(-1))}},
		{"bridge", OrderRequest{Bridge: "vmbr0,firewall=0"}},
		{"bridge", OrderRequest{Bridge: "abridgenamethatistoolong"}},
		{"ipConfig", OrderRequest{Addresses: []string{"10.0.0.256"}}},
		{"ipConfig", OrderRequest{Addresses: []string{"fe80::1%eth0"}}},
		{"ipv4num", OrderRequest{IPv4Count: pointer(-1)}},
		{"dns1", OrderRequest{Nameserver: "1.1.1.1 evil"}},
		{"hostname", OrderRequest{Hostname: "a_b"}},
		{"hostname", OrderRequest{Hostname: "云主机"}},
		{"hostname", OrderRequest{Hostname: strings.Repeat("a", 64)}},
		{"hostname", OrderRequest{Hostname: "-x"}},
		{"osType", OrderRequest{OSFamily: "beos"}},
		{"username", OrderRequest{Username: "root;reboot"}},
		{"password", OrderRequest{Password: "a\nb\nc\nd"}},
		{"password", OrderRequest{Password: "abcd"}},
		{"password", OrderRequest{Password: strings.Repeat("x", 129)}},
		{"sshKeys", OrderRequest{SSHKeys: []string{"not a key"}}},
		{"Idempotency-Key", OrderRequest{IdempotencyKey: strings.Repeat("k", 129)}},
		{"Idempotency-Key", OrderRequest{IdempotencyKey: "a\x00b"}},
		{"expirationTime", OrderRequest{ExpiresAt: &past}},
	} {
		_, err := testBroker().specification(&bad.request)
		var failure *Error
		if !errors.As(err, &failure) || failure.Kind != Invalid || failure.Field != bad.field {
			t.Errorf("%s: got %v", bad.field, err)
			continue
		}
		if failure.Detail == "" {
			t.Errorf("%s: no text for people", bad.field)
		}
	}
}

func TestOrdersDifferWhenAnythingDiffers(t *testing.T) {
	first, _ := orderFingerprint(OrderRequest{NodeID: 1, IdempotencyKey: "a"})
	same, _ := orderFingerprint(OrderRequest{NodeID: 1, IdempotencyKey: "b"})
	other, _ := orderFingerprint(OrderRequest{NodeID: 1, IdempotencyKey: "a", Password: "secret"})
	if first != same {
		t.Error("the key itself must not count")
	}
	if first == other {
		t.Error("another password is another order")
	}
}

func TestRandomValuesAreWhatTheyClaim(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		mac, err := randomMAC()
		if err != nil || len(mac) != 17 || !strings.HasPrefix(mac, "02:") || seen[mac] {
			t.Fatalf("MAC %q, %v", mac, err)
		}
		seen[mac] = true
		password, err := randomPassword(12)
		if err != nil || len(password) != 12 || seen[password] || checkPassword("password", password) != nil {
			t.Fatalf("password %q, %v", password, err)
		}
		seen[password] = true
	}
}

package libvirt

import (
	"encoding/xml"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

const hostile = `x'"/><disk type='file'><source file='/etc/shadow'/></disk><!-- ]]> &amp; ` + "\n\t\u2028"

// elements counts the elements of a document; one more than expected means that a text became markup.
func elements(t *testing.T, text string) int {
	t.Helper()
	decoder := xml.NewDecoder(strings.NewReader(text))
	count := 0
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return count
		}
		if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		if _, is := token.(xml.StartElement); is {
			count++
		}
	}
}

func render(t *testing.T, text string) string {
	t.Helper()
	spec := hypervisor.GuestSpec{
		Ref: hypervisor.GuestRef{ID: 100, Owner: text}, Name: text, Description: text, CPUType: text, Sockets: 1, Cores: 1, MemoryMB: 64, KVM: true, ACPI: true,
	}
	machine := choice{arch: "x86_64", machine: text, kind: "kvm"}
	domain := claimXML(100, spec, machine)
	hardware(&domain, spec, machine)
	domain.Devices.Disks = append(domain.Devices.Disks, diskXML(hypervisor.DiskSpec{Key: "scsi0", IO: hypervisor.UnlimitedIO()}, text, qcow2), seedXML(text))
	domain.Devices.Interfaces = append(domain.Devices.Interfaces, nicXML(hypervisor.NICSpec{MAC: text, Bridge: text, RateMbps: 5}, false,
		&libvirtxml.DomainInterfaceFilterRef{Filter: text, Parameters: []libvirtxml.DomainInterfaceFilterParam{{Name: "IP", Value: text}}}))
	r := record{State: guestWhole, CPU: text, OS: text, Volumes: []recordVolume{{Name: text, Path: text}}, Operations: []recordOperation{{ID: text, Detail: text, Runner: text}}}
	metadata, err := replaceRecord("", &r)
	if err != nil {
		t.Fatal(err)
	}
	domain.Metadata = &libvirtxml.DomainMetadata{XML: metadata}
	out, err := domain.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	volume, err := volumeXML("x", qcow2, 1, imageFile{path: text, format: raw})
	if err != nil {
		t.Fatal(err)
	}
	return "<both>" + out + volume + "</both>"
}

func TestNoTextBecomesMarkup(t *testing.T) {
	if plain, spoilt := elements(t, render(t, "x")), elements(t, render(t, hostile)); plain != spoilt {
		t.Errorf("%d elements with a hostile text, %d with a plain one", spoilt, plain)
	}
}

func TestRecordKeepsTextsAndNeighbours(t *testing.T) {
	want := record{
		State: guestDeleting, CPU: hostile, KVM: true, Volumes: []recordVolume{{Name: "p:v", Path: hostile, Seed: true}},
		Operations: []recordOperation{{ID: "create:1", Runner: "a/1/2", Until: 7, Kind: "failed", Detail: "“quoted” <b>"}},
	}
	const others = `<a:b xmlns:a="urn:a"><guest xmlns="urn:other"/></a:b>` + "\n  "
	metadata, err := replaceRecord(others, &record{CPU: "old"})
	if err != nil {
		t.Fatal(err)
	}
	metadata, err = replaceRecord(metadata, &want)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(metadata, others) || strings.Count(metadata, recordSpace) != 1 {
		t.Errorf("metadata is %s", metadata)
	}
	got, err := parseRecord(metadata)
	if err != nil || got == nil || got.CPU != hostile || got.State != want.State || !got.KVM || len(got.Volumes) != 1 || got.Volumes[0] != want.Volumes[0] ||
		len(got.Operations) != 1 || got.Operations[0] != want.Operations[0] {
		t.Errorf("record is %+v, %v", got, err)
	}
	// The way libvirt gives it back: with a prefix on every element.
	got, err = parseRecord(`<gantry:guest xmlns:gantry="` + recordSpace + `" state="creating"><gantry:volume name="p:v"/></gantry:guest>`)
	if err != nil || got == nil || got.State != guestCreating || len(got.Volumes) != 1 {
		t.Errorf("record is %+v, %v", got, err)
	}
	if got, err := parseRecord(others); got != nil || err != nil {
		t.Errorf("a record in %s: %+v, %v", others, got, err)
	}
}

func TestSeedQuotesTexts(t *testing.T) {
	data, err := newSeed("web.example.org", &hypervisor.CloudInit{
		User: "alice", Password: hostile, SSHKeys: []string{"ssh-ed25519 A b: c # d\\n\"e", "\u2028runcmd:"},
		Addresses: []broker.VMAddress{
			{IP: netip.MustParseAddr("192.0.2.1"), Prefix: 24, Gateway: netip.MustParseAddr("192.0.2.254")}, {IP: netip.MustParseAddr("192.0.2.2"), Prefix: 24},
			{IP: netip.MustParseAddr("2001:db8::1"), Prefix: 64, Gateway: netip.MustParseAddr("fe80::1")},
		},
	}, []string{"02:00:00:00:00:01", "02:00:00:00:00:02"})
	if err != nil {
		t.Fatal(err)
	}
	files, err := data.files()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(files.UserData, hostile) || strings.Contains(files.UserData, "\nruncmd") {
		t.Errorf("user-data is\n%s", files.UserData)
	}
	for _, line := range strings.Split(strings.TrimSpace(files.UserData), "\n") {
		switch key, _, _ := strings.Cut(strings.TrimSpace(line), ":"); key {
		case "#cloud-config", "# gantry {\"name\"", "hostname", "manage_etc_hosts", "fqdn", "user", "password", "ssh_pwauth", "ssh_authorized_keys", "chpasswd", "expire", "users", "- default":
		default:
			if !strings.HasPrefix(line, `  - "`) {
				t.Errorf("an unexpected line: %s", line)
			}
		}
	}
	for _, want := range []string{"address: '192.0.2.1/24'", "gateway: '192.0.2.254'", "static6", "address: '2001:db8::1/64'", "eth1", "dhcp4"} {
		if !strings.Contains(files.NetworkConfig, want) {
			t.Errorf("network-config lacks %s:\n%s", want, files.NetworkConfig)
		}
	}
	if strings.Contains(files.NetworkConfig, "192.0.2.2/") {
		t.Errorf("network-config has a second address of a version:\n%s", files.NetworkConfig)
	}
	drive, err := data.image()
	if err != nil {
		t.Fatal(err)
	}
	back, ours := readSeed(drive)
	if !ours || back.Name != data.Name || back.Hash != data.Hash || len(back.SSHKeys) != 2 || back.SSHKeys[1] != data.SSHKeys[1] || len(back.Addresses) != 3 {
		t.Errorf("the drive says %+v, %t", back, ours)
	}
}

func TestLimitsAreReadBack(t *testing.T) {
	for _, percent := range []int64{broker.Unlimited, 1, 33, 50, 99, 100, 250} {
		for _, cores := range []int{1, 3, 64} {
			var domain libvirtxml.Domain
			setTopology(&domain, 2, cores)
			setLimits(&domain, hypervisor.Limits{CPUPercent: percent})
			if got := limitsOf(&domain).CPUPercent; got != percent {
				t.Errorf("%d %% of %d cores is read back as %d", percent, 2*cores, got)
			}
		}
	}
	for name, fact := range map[string]struct {
		limits        broker.IOLimits
		average, peak uint64
	}{
		"none":                       {broker.IOLimits{ReadMBps: -1, ReadMBpsMax: -1}, 0, 0},
		"average":                    {broker.IOLimits{ReadMBps: 5, ReadMBpsMax: -1}, 5 << 20, 0},
		"average and peak":           {broker.IOLimits{ReadMBps: 5, ReadMBpsMax: 9}, 5 << 20, 9 << 20},
		"peak below the average":     {broker.IOLimits{ReadMBps: 5, ReadMBpsMax: 4}, 5 << 20, 0},
		"peak alone is the average":  {broker.IOLimits{ReadMBps: -1, ReadMBpsMax: 9}, 9 << 20, 0},
		"peak that is the average's": {broker.IOLimits{ReadMBps: 5, ReadMBpsMax: 5}, 5 << 20, 0},
	} {
		limits := fact.limits
		limits.WriteMBps, limits.WriteMBpsMax, limits.ReadIOPS, limits.ReadIOPSMax, limits.WriteIOPS, limits.WriteIOPSMax = -1, -1, -1, -1, -1, -1
		tune := ioTune(limits)
		if tune == nil {
			tune = &libvirtxml.DomainDiskIOTune{}
		}
		if tune.ReadBytesSec != fact.average || tune.ReadBytesSecMax != fact.peak {
			t.Errorf("%s: %d and %d", name, tune.ReadBytesSec, tune.ReadBytesSecMax)
		}
	}
}

func TestDeviceNames(t *testing.T) {
	for unit, want := range map[int]string{0: "sda", 25: "sdz", 26: "sdaa", 30: "sdae", seedUnit: "sdaf"} {
		if got := deviceName(unit); got != want {
			t.Errorf("unit %d is %s, want %s", unit, got, want)
		}
	}
}

func TestMachineAndProcessor(t *testing.T) {
	facts := machineFacts{native: "x86_64", guests: map[string]guestFacts{
		"x86_64": {kvm: true, machines: []string{"pc", "q35"}}, "aarch64": {machines: []string{"virt"}},
	}}
	for _, fact := range []struct {
		arch string
		kvm  bool
		want choice
	}{
		{"", true, choice{"x86_64", "q35", "kvm"}}, {"", false, choice{"x86_64", "q35", "qemu"}}, {"amd64", true, choice{"x86_64", "q35", "kvm"}},
		{"arm64", true, choice{"aarch64", "virt", "qemu"}},
	} {
		if got, err := facts.choose(fact.arch, fact.kvm); err != nil || got != fact.want {
			t.Errorf("%q: %+v, %v", fact.arch, got, err)
		}
	}
	if _, err := facts.choose("riscv64", true); !broker.Is(err, broker.Unsupported) {
		t.Errorf("riscv64: %v", err)
	}
	for _, fact := range []struct{ kind, model, mode, name string }{
		{"kvm", "host", "host-passthrough", ""}, {"kvm", "", "host-model", ""}, {"qemu", "host", "maximum", ""}, {"qemu", "", "maximum", ""},
		{"kvm", "x86-64-v3", "custom", "Haswell-noTSX"}, {"kvm", "EPYC", "custom", "EPYC"},
	} {
		got := cpu(fact.kind, fact.model)
		name := ""
		if got.Model != nil {
			name = got.Model.Value
		}
		if got.Mode != fact.mode || name != fact.name {
			t.Errorf("%s %q: %s %s", fact.kind, fact.model, got.Mode, name)
		}
	}
}

func TestIdentify(t *testing.T) {
	domains := []golibvirt.Domain{{Name: "gantry-100", UUID: golibvirt.UUID{1}}, {Name: "gantry-0100", UUID: golibvirt.UUID{2}}, {Name: "gantry-99", UUID: golibvirt.UUID{3}}, {Name: "web", UUID: golibvirt.UUID{4}}}
	got := identify(domains)
	if len(got) != 4 || got[100].Name != "gantry-100" {
		t.Errorf("ids are %v", got)
	}
	for id, domain := range got {
		if id != 100 && (id < foreignBase || id > hypervisor.MaxGuestID || id != foreignID(domain.UUID)) {
			t.Errorf("%s has id %d", domain.Name, id)
		}
	}
	twins := identify([]golibvirt.Domain{{Name: "b", UUID: golibvirt.UUID{9}}, {Name: "a", UUID: golibvirt.UUID{9}}})
	if len(twins) != 2 {
		t.Errorf("two domains on one id: %v", twins)
	}
}

func TestUsageIsWhatWasSpentBetweenInventories(t *testing.T) {
	d := &driver{}
	id := golibvirt.UUID{1}
	at := time.Unix(1000, 0)
	for i, fact := range []struct {
		spent uint64
		want  float64
	}{{5e9, 0}, {5e9, 0}, {10e9, 0.25}, {1e9, 0}, {500e9, 1}} { // the guest restarts before the fourth
		row := statsRow{"cpu.time": fact.spent, "vcpu.current": uint32(2)}
		got := d.usage(map[golibvirt.UUID]statsRow{id: row}, at.Add(time.Duration(i)*10*time.Second))[id]
		if got != fact.want {
			t.Errorf("inventory %d: %v, want %v", i, got, fact.want)
		}
	}
}

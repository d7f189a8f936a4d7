package hypervisor_test

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// disguise has every field, with values that would be read as more options were they not quoted.
func disguise() hypervisor.GuestSpec {
	return hypervisor.GuestSpec{CPUType: "qemu64", HideHypervisor: true, Hardware: broker.GuestHardware{
		CPU: &broker.CPUModel{
			Name: "12th Gen i9 @ 5.50GHz =1 -s", Family: new(6), Model: new(97), Stepping: new(2), Level: "0xEC", XLevel: "0x8000001E",
			Vendor: "GenuineIntel", L3Cache: new(true),
		},
		SMBIOS: []broker.SMBIOSModel{
			{Type: 0, Fields: map[string]string{"vendor": "AMI, Inc", "version": "1", "date": "01/02/2024", "release": "1.2"}},
			{Type: 1, Fields: map[string]string{"product": "shown by the owner's table"}},
			{Type: 2, Fields: map[string]string{"manufacturer": "ASUS,type=1", "product": "Z690", "version": "1", "serial": "2", "asset": "3", "location": "4"}},
			{Type: 3, Fields: map[string]string{"manufacturer": "a", "version": "b", "serial": "c", "asset": "d", "sku": "e"}},
			{Type: 4, Fields: map[string]string{"sock_pfx": "CPU", "manufacturer": "Intel", "version": "v", "serial": "s", "asset": "a", "part": "p"}},
			{Type: 17, Fields: map[string]string{"loc_pfx": "DIMM", "bank": "B", "manufacturer": "Kingston", "serial": "s", "asset": "a", "part": "p"}},
		},
	}}
}

func TestArguments(t *testing.T) {
	got := disguise().Arguments()
	want := []string{
		"-cpu", "qemu64,model-id=12th Gen i9 @ 5.50GHz =1 -s,family=6,model=97,stepping=2,level=0xEC,xlevel=0x8000001E,vendor=GenuineIntel,l3-cache=on,hypervisor=off,kvm=off",
		"-smbios", "type=0,vendor=AMI,, Inc,version=1,date=01/02/2024,release=1.2",
		"-smbios", "type=2,manufacturer=ASUS,,type=1,product=Z690,version=1,serial=2,asset=3,location=4",
		"-smbios", "type=3,manufacturer=a,version=b,serial=c,asset=d,sku=e",
		"-smbios", "type=4,sock_pfx=CPU,manufacturer=Intel,version=v,serial=s,asset=a,part=p",
		"-smbios", "type=17,loc_pfx=DIMM,bank=B,manufacturer=Kingston,serial=s,asset=a,part=p",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if none := (hypervisor.GuestSpec{CPUType: "host", HideHypervisor: true}).Arguments(); len(none) != 0 {
		t.Errorf("without models: %q", none)
	}
}

// TestQEMUTakesTheArguments gives them to a real QEMU, which refuses what it does not know, and asks it what it understood.
func TestQEMUTakesTheArguments(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	arguments := append([]string{"-S", "-nodefaults", "-display", "none", "-accel", "tcg", "-monitor", "stdio"}, disguise().Arguments()...)
	command := exec.CommandContext(ctx, "qemu-system-x86_64", arguments...)
	var questions, want strings.Builder
	for _, fact := range [][2]string{
		{"model-id", `"12th Gen i9 @ 5.50GHz =1 -s"`}, {"family", "6"}, {"model", "97"}, {"stepping", "2"}, {"level", "236"},
		{"xlevel", "2147483678"}, {"vendor", `"GenuineIntel"`}, {"l3-cache", "true"}, {"hypervisor", "false"},
	} {
		questions.WriteString("qom-get /machine/unattached/device[0] " + fact[0] + "\n")
		want.WriteString(fact[1] + "\n")
	}
	command.Stdin = strings.NewReader(questions.String() + "quit\n")
	var output, errors bytes.Buffer
	command.Stdout, command.Stderr = &output, &errors
	if err := command.Run(); err != nil {
		t.Fatalf("QEMU: %v: %s", err, errors.String())
	}
	var got strings.Builder
	for line := range strings.Lines(output.String()) {
		if line = strings.TrimSpace(line); line != "" && !strings.Contains(line, "(qemu)") && !strings.HasPrefix(line, "QEMU") {
			got.WriteString(line + "\n")
		}
	}
	if got.String() != want.String() {
		t.Errorf("QEMU understood\n%s\nwant\n%s\nall\n%q", got.String(), want.String(), output.String())
	}
}

func TestACommaInACPUModelIsRefused(t *testing.T) {
	spec := hypervisor.GuestSpec{
		Ref: hypervisor.GuestRef{ID: 100, Node: "pve", Owner: "8c2f4e4e-0000-4000-8000-000000000001"}, Name: "web", Sockets: 1, Cores: 1, MemoryMB: 512,
		Limits: hypervisor.Limits{CPUPercent: broker.Unlimited}, Hardware: broker.GuestHardware{CPU: &broker.CPUModel{Name: "x,+vmx"}},
	}
	if err := hypervisor.CheckSpec(spec); !broker.Is(err, broker.Invalid) || !strings.Contains(err.Error(), "hardware.cpu.name") {
		t.Errorf("%v", err)
	}
}

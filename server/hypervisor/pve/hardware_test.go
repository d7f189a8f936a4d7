package pve

import (
	"os/exec"
	"strings"
	"testing"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

const mark = "8c2f4e4e-0000-4000-8000-000000000001"

func TestTheSystemTableIsAnOptionOfPVE(t *testing.T) {
	spec := hypervisor.GuestSpec{Ref: hypervisor.GuestRef{Owner: mark}}
	if got := smbios(spec); got != "uuid="+mark {
		t.Errorf("without models: %s", got)
	}
	spec.Hardware.SMBIOS = []broker.SMBIOSModel{{Type: 1, Fields: map[string]string{"manufacturer": "ASUS,uuid=x", "product": "ROG"}}}
	if got := smbios(spec); got != "uuid="+mark+",base64=1,manufacturer=QVNVUyx1dWlkPXg=,product=Uk9H" {
		t.Errorf("with a table: %s", got)
	}
	if owner := (guestConfig{"smbios1": smbios(spec)}).owner(100); owner != mark {
		t.Errorf("owner mark %q", owner)
	}
}

// TestPerlGivesTheWordsBack asks the module that PVE splits args with.
func TestPerlGivesTheWordsBack(t *testing.T) {
	words := []string{"-cpu", `host,model-id=a 'b' "c" \d $(e) ;f`, "-smbios", `type=0,vendor=x\`, `\'a\"`, "", `a\'b`}
	script := `use Text::ParseWords; print join("\n", shellwords($ARGV[0]))`
	got, err := exec.Command("perl", "-e", script, "--", shellWords(words)).Output()
	if err != nil || string(got) != strings.Join(words, "\n") {
		t.Errorf("%v\ngot  %s\nwant %s", err, got, strings.Join(words, "\n"))
	}
}

func TestOnlyRootWithItsPasswordSetsArguments(t *testing.T) {
	for name, fact := range map[string]struct {
		given   options
		allowed bool
	}{
		"root": {options{user: "root@pam"}, true}, "root's token": {options{user: "root@pam", tokenID: "root@pam!gantry"}, false},
		"another user": {options{user: "gantry@pve"}, false}, "another realm's root": {options{user: "root@pve"}, false},
	} {
		if got := fact.given.argumentsAllowed(); got != fact.allowed {
			t.Errorf("%s: %v", name, got)
		}
	}
	d := &driver{}
	spec := hypervisor.GuestSpec{
		Ref: hypervisor.GuestRef{ID: 100, Node: "pve", Owner: mark}, Name: "web", Sockets: 1, Cores: 1, MemoryMB: 512,
		Limits: hypervisor.Limits{CPUPercent: broker.Unlimited}, Hardware: broker.GuestHardware{CPU: &broker.CPUModel{Name: "x"}},
	}
	if _, err := d.CreateGuest(t.Context(), spec); !broker.Is(err, broker.Unsupported) || !strings.Contains(broker.DetailOf(err), "root@pam") {
		t.Errorf("create: %v", err)
	}
}

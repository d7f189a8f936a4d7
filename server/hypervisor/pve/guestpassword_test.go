package pve_test

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"gantry/lab"
	"gantry/lab/machine"
	"gantry/lab/machine/memory"
	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// modest is a guest with an agent.
func modest(owner string) hypervisor.GuestSpec {
	return hypervisor.GuestSpec{
		Ref: hypervisor.GuestRef{ID: 100, Node: "pve1", Owner: owner}, Name: "modest", Sockets: 1, Cores: 1, CPUType: "kvm64", MemoryMB: 128, ACPI: true,
		OSFamily: "linux", GuestAgent: true, Limits: hypervisor.Limits{CPUPercent: broker.Unlimited},
		Disks: []hypervisor.DiskSpec{{Key: hypervisor.SystemDisk, Storage: "data", SizeBytes: 1 << 30, IO: hypervisor.UnlimitedIO()}},
	}
}

func TestAPasswordReachesTheGuestsAgent(t *testing.T) {
	var mutex sync.Mutex
	var asked []string
	agent := func(_ machine.Spec, command string, arguments any) ([]byte, error) {
		text, err := json.Marshal(arguments)
		mutex.Lock()
		defer mutex.Unlock()
		asked = append(asked, command+" "+string(text))
		return []byte("{}"), err
	}
	c := start(t, lab.Config{Backend: memory.New(memory.Options{Agent: agent})})
	d := c.byRootToken(t)
	spec := modest(marked)
	run(t, d, func() (hypervisor.Operation, error) { return d.CreateGuest(t.Context(), spec) })
	setter := d.(hypervisor.PasswordSetter)
	if err := setter.SetGuestPassword(t.Context(), spec.Ref, "root", "sesame"); err == nil {
		t.Error("a guest that is off has no agent")
	}
	run(t, d, func() (hypervisor.Operation, error) {
		return d.Power(t.Context(), spec.Ref, hypervisor.Start, hypervisor.PowerOptions{})
	})
	if err := setter.SetGuestPassword(t.Context(), spec.Ref, "root", "sesame"); err != nil {
		t.Fatal(err)
	}
	mutex.Lock()
	got := strings.Join(asked, "\n")
	mutex.Unlock()
	if !strings.Contains(got, `guest-set-user-password {"crypted":false,"password":"c2VzYW1l","username":"root"}`) {
		t.Errorf("the agent was asked %s", got)
	}
	foreign := spec.Ref
	foreign.Owner = "8c2f4e4e-0000-4000-8000-000000000002"
	if err := setter.SetGuestPassword(t.Context(), foreign, "root", "sesame"); !broker.Is(err, broker.Conflict) {
		t.Errorf("somebody else's guest: %v", err)
	}
	for user, password := range map[string]string{"a b": "sesame", "root": "a\nb"} {
		if err := setter.SetGuestPassword(t.Context(), spec.Ref, user, password); !broker.Is(err, broker.Invalid) {
			t.Errorf("%q: %v", user, err)
		}
	}
}

func TestTheProcessorOfAGuestThatExistsChanges(t *testing.T) {
	c := start(t, lab.Config{RootPassword: "root password"})
	d := c.byPassword(t, "root password")
	spec := modest(marked)
	run(t, d, func() (hypervisor.Operation, error) { return d.CreateGuest(t.Context(), spec) })
	change := func(processor hypervisor.Processor) map[string]any {
		t.Helper()
		run(t, d, func() (hypervisor.Operation, error) {
			return d.Configure(t.Context(), spec.Ref, hypervisor.GuestChange{Processor: &processor})
		})
		config, err := d.Config(t.Context(), spec.Ref)
		if err != nil {
			t.Fatal(err)
		}
		return config
	}
	// The lab has no KVM: what stands for host is max.
	config := change(hypervisor.Processor{CPUType: "host", HideHypervisor: true, Hardware: broker.GuestHardware{
		CPU: &broker.CPUModel{Name: "Example"}, SMBIOS: []broker.SMBIOSModel{{Type: 1, Fields: map[string]string{"product": "X"}}},
	}})
	if smbios := config["smbios1"].(string); config["args"] != `"-cpu" "max,model-id=Example,hypervisor=off,kvm=off"` || !strings.Contains(smbios, "uuid="+marked) || !strings.Contains(smbios, "product=WA==") {
		t.Errorf("%v", config)
	}
	config = change(hypervisor.Processor{CPUType: "kvm64"})
	if args, left := config["args"]; left || config["cpu"] != "kvm64" || !strings.Contains(config["smbios1"].(string), marked) {
		t.Errorf("taken back: args %v, %v", args, config)
	}
	if _, err := c.byRootToken(t).Configure(t.Context(), spec.Ref, hypervisor.GuestChange{Processor: &hypervisor.Processor{Hardware: broker.GuestHardware{CPU: &broker.CPUModel{Name: "X"}}}}); !broker.Is(err, broker.Unsupported) {
		t.Errorf("by a token: %v", err)
	}
}

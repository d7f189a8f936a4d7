package hypertest

import (
	"net/netip"
	"testing"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

func testConfigure(t *testing.T, s *suite) {
	d := s.open(t)
	if s.Inspect == nil {
		without(t, "Inspect")
		return
	}
	can := d.Info().Capabilities
	type fact struct {
		name   string
		change hypervisor.GuestChange
		apply  func(*hypervisor.GuestSpec)
	}
	facts := []fact{
		{"name", hypervisor.GuestChange{Name: new("renamed.example.org")}, func(spec *hypervisor.GuestSpec) { spec.Name = "renamed.example.org" }},
		{"sockets and cores", hypervisor.GuestChange{Sockets: new(1), Cores: new(4)}, func(spec *hypervisor.GuestSpec) { spec.Sockets, spec.Cores = 1, 4 }},
		{"memory", hypervisor.GuestChange{MemoryMB: new(1024)}, func(spec *hypervisor.GuestSpec) { spec.MemoryMB = 1024 }},
		{"guest agent", hypervisor.GuestChange{GuestAgent: new(true)}, func(spec *hypervisor.GuestSpec) { spec.GuestAgent = true }},
		{"family", hypervisor.GuestChange{OSFamily: new("windows")}, func(spec *hypervisor.GuestSpec) { spec.OSFamily = "windows" }},
		{"on boot", hypervisor.GuestChange{OnBoot: new(false)}, func(spec *hypervisor.GuestSpec) { spec.OnBoot = false }},
		{"cloud-init", hypervisor.GuestChange{CloudInit: otherCloudInit()}, func(spec *hypervisor.GuestSpec) { spec.CloudInit = otherCloudInit() }},
	}
	if can.CPULimit {
		facts = append(facts,
			fact{"CPU limit", hypervisor.GuestChange{Limits: &hypervisor.Limits{CPUPercent: 75}}, func(spec *hypervisor.GuestSpec) { spec.Limits.CPUPercent = 75 }},
			fact{"no CPU limit", hypervisor.GuestChange{Limits: &hypervisor.Limits{CPUPercent: broker.Unlimited}}, func(spec *hypervisor.GuestSpec) { spec.Limits.CPUPercent = broker.Unlimited }},
			fact{"the CPU limit follows the cores", hypervisor.GuestChange{Cores: new(1)}, func(spec *hypervisor.GuestSpec) { spec.Cores = 1 }})
	}
	if can.IOLimits {
		unlimited := hypervisor.UnlimitedIO()
		facts = append(facts, fact{"no IO limit", hypervisor.GuestChange{SystemDiskIO: &unlimited}, func(spec *hypervisor.GuestSpec) { spec.Disks[0].IO = unlimited }})
	}
	for _, fact := range facts {
		t.Run(fact.name+" changes, the rest stays", func(t *testing.T) {
			want := s.make(t, d, s.full(can))
			operation, err := d.Configure(s.context(t), want.Ref, fact.change)
			s.succeed(t, d, operation, err)
			fact.apply(&want)
			wantSpec(t, s.Inspect(t, want.Ref.ID), want)
		})
	}
	t.Run("NIC changes, its MAC does not", func(t *testing.T) {
		want := s.make(t, d, s.full(can))
		nic := want.NICs[0]
		nic.RateMbps = broker.Unlimited
		operation, err := d.Configure(s.context(t), want.Ref, hypervisor.GuestChange{NIC: &nic})
		s.succeed(t, d, operation, err)
		want.NICs[0] = nic
		nic.MAC = "02:11:22:33:44:55"
		operation, err = d.Configure(s.context(t), want.Ref, hypervisor.GuestChange{NIC: &nic})
		s.refused(t, d, operation, err, broker.Invalid)
		wantSpec(t, s.Inspect(t, want.Ref.ID), want)
	})
	t.Run("nothing to change is success", func(t *testing.T) {
		operation, err := d.Configure(s.context(t), s.plain(t, d), hypervisor.GuestChange{})
		done(t, operation, err)
	})
}

func otherCloudInit() *hypervisor.CloudInit {
	return &hypervisor.CloudInit{
		User: "root", Password: "another",
		Addresses:  []broker.VMAddress{{IP: netip.MustParseAddr("192.0.2.7"), Prefix: 28, Gateway: netip.MustParseAddr("192.0.2.1")}},
		Nameserver: "9.9.9.9",
	}
}

package libvirt

import (
	"cmp"
	"slices"

	"libvirt.org/go/libvirtxml"

	"gantry/server/broker"
)

// machineFacts are what the host can emulate, by architecture.
type machineFacts struct {
	native string // architecture of the host
	guests map[string]guestFacts
}

// guestFacts of one architecture.
type guestFacts struct {
	kvm      bool
	emulator string
	machines []string
}

// archNames are the names that other hypervisors have for libvirt's architectures (PVE: x86_64, aarch64).
var archNames = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}

func parseCapabilities(text string) (machineFacts, error) {
	var caps libvirtxml.Caps
	if err := caps.Unmarshal(text); err != nil {
		return machineFacts{}, &broker.Error{Kind: broker.Failed, Detail: "libvirt's capabilities can't be read", Err: err}
	}
	facts := machineFacts{native: caps.Host.CPU.Arch, guests: map[string]guestFacts{}}
	for _, guest := range caps.Guests {
		if guest.OSType != "hvm" {
			continue
		}
		each := guestFacts{emulator: guest.Arch.Emulator}
		for _, domain := range guest.Arch.Domains {
			each.kvm = each.kvm || domain.Type == "kvm"
		}
		for _, machine := range guest.Arch.Machines {
			each.machines = append(each.machines, machine.Name)
		}
		facts.guests[guest.Arch.Name] = each
	}
	if len(facts.guests) == 0 {
		return machineFacts{}, broker.Errorf(broker.Failed, "libvirt has no QEMU: install qemu-system on the host")
	}
	return facts, nil
}

// choice is the machine that a guest gets.
type choice struct {
	arch, machine, kind string // kind is the domain type: kvm, or qemu for emulation
}

// choose picks the machine for an order. A host without KVM emulates, slowly, rather than refuse: Probe tells the operator.
func (m machineFacts) choose(arch string, kvm bool) (choice, error) {
	wanted := cmp.Or(archNames[arch], arch, m.native)
	facts, found := m.guests[wanted]
	if !found {
		refused := unsupported("guests for " + wanted + " on a host without its emulator")
		refused.Field = "arch"
		return choice{}, refused
	}
	out := choice{arch: wanted, kind: "qemu"}
	if kvm && facts.kvm && wanted == m.native {
		out.kind = "kvm"
	}
	for _, machine := range []string{"q35", "virt", "pseries", "s390-ccw-virtio", "pc"} {
		if slices.Contains(facts.machines, machine) {
			out.machine = machine
			break
		}
	}
	return out, nil
}

// cpuModels are libvirt's names for models that QEMU and PVE have others for. x86-64-v2 and so on are PVE's; the models here are the
// oldest of each level (psABI's micro-architecture levels).
var cpuModels = map[string]string{
	"x86-64-v2": "Nehalem", "x86-64-v2-AES": "Westmere", "x86-64-v3": "Haswell-noTSX", "x86-64-v4": "Skylake-Server-noTSX-IBRS",
}

// cpu is the processor of a guest.
func cpu(kind, model string) *libvirtxml.DomainCPU {
	out := &libvirtxml.DomainCPU{}
	switch {
	case model == "host" && kind == "kvm":
		out.Mode, out.Check, out.Migratable = "host-passthrough", "none", "on"
	case (model == "" || model == "host-model") && kind == "kvm":
		out.Mode = "host-model"
	case model == "" || model == "max" || model == "host" || model == "host-model":
		out.Mode = "maximum" // the best that emulation has
	default:
		out.Mode, out.Match, out.Check = "custom", "exact", "none"
		out.Model = &libvirtxml.DomainCPUModel{Fallback: "allow", Value: cmp.Or(cpuModels[model], model)}
	}
	return out
}

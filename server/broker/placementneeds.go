package broker

import (
	"context"
	"slices"
)

// Capabilities that orders can ask for, beside those of Fleet.
const (
	CapabilityCPULimit       Capability = "cpu_limit"
	CapabilityIOLimits       Capability = "io_limits"
	CapabilityBandwidthLimit Capability = "bandwidth_limit"
	CapabilityNested         Capability = "nested_virtualization"
	CapabilitySMBIOS         Capability = "smbios"
	CapabilityArchitectures  Capability = "architectures"
	// NeedIPv6 and NeedCloudInit are no capabilities of hypervisors: a free IPv6 address on the node, cloud-init in the image.
	NeedIPv6      Capability = "ipv6"
	NeedCloudInit Capability = "cloud_init"
)

// PlacementNeeds lists what orders can name in Placement.Needs.
func PlacementNeeds() []Capability {
	return []Capability{
		NeedIPv6, NeedCloudInit, CapabilityConsole, CapabilitySnapshots, CapabilityGuestAgent, CapabilitySuspendToDisk, CapabilityHistory,
		CapabilityCPULimit, CapabilityIOLimits, CapabilityBandwidthLimit, CapabilityNested, CapabilitySMBIOS, CapabilityArchitectures,
		CapabilityArguments,
	}
}

// needsOf are the capabilities that the order names and those that what it orders takes.
func (b *Broker) needsOf(ctx context.Context, request *OrderRequest, spec *VMSpec, image *Image) ([]Capability, error) {
	needs := slices.Clone(request.Placement.Needs)
	for _, need := range needs {
		if !slices.Contains(PlacementNeeds(), need) {
			return nil, InvalidField("needs", "%q is none of %v", bounded(string(need)), PlacementNeeds())
		}
	}
	if slices.Contains(needs, NeedCloudInit) && !image.CloudInit {
		return nil, InvalidField("os", "image %s has no cloud-init", image.Name)
	}
	hardware, err := ReadHardware(ctx, b.store, request.CPUModel, request.ModelGroup)
	if err != nil {
		return nil, err
	}
	io := spec.IO
	unlimited := IOLimits{Unlimited, Unlimited, Unlimited, Unlimited, Unlimited, Unlimited, Unlimited, Unlimited}
	for _, each := range []struct {
		wanted bool
		need   Capability
	}{
		{spec.CPUPercent != Unlimited, CapabilityCPULimit}, {io != unlimited, CapabilityIOLimits},
		{spec.BandwidthMbps != Unlimited, CapabilityBandwidthLimit}, {spec.Nested, CapabilityNested},
		{spec.Arch != "x86_64", CapabilityArchitectures}, {len(hardware.SMBIOS) > 0, CapabilitySMBIOS},
		{hardware.NeedsArguments(), CapabilityArguments},
	} {
		if each.wanted && !slices.Contains(needs, each.need) {
			needs = append(needs, each.need)
		}
	}
	return needs, nil
}

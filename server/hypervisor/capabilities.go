package hypervisor

import "gantry/server/broker"

// Has tells whether a capability is there, by the word that the domain uses for it.
func (c Capabilities) Has(capability broker.Capability) bool {
	switch capability {
	case broker.CapabilitySuspendToDisk:
		return c.SuspendToDisk
	case broker.CapabilitySnapshots:
		return c.Snapshots
	case broker.CapabilityGuestAgent:
		return c.GuestAgent
	case broker.CapabilityHistory:
		return c.History
	case broker.CapabilityImageFetch:
		return c.ImageFetch
	case broker.CapabilityArguments:
		return c.Arguments
	case broker.CapabilityConsole:
		return c.Console
	case broker.CapabilityCPULimit:
		return c.CPULimit
	case broker.CapabilityIOLimits:
		return c.IOLimits
	case broker.CapabilityBandwidthLimit:
		return c.BandwidthLimit
	case broker.CapabilityNested:
		return c.NestedVirtualization
	case broker.CapabilitySMBIOS:
		return c.SMBIOS
	case broker.CapabilityArchitectures:
		return c.Architectures
	}
	return false
}

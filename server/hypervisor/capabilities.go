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
	}
	return false
}

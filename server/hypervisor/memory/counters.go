package memory

import "gantry/server/hypervisor"

// SetCounters sets what a guest's load and counters are while it runs: CPU, NetIn, NetOut, DiskRead and DiskWrite of counters.
func (c *Cluster) SetCounters(id int, counters hypervisor.GuestSummary) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle()
	found := c.guests[id]
	if found == nil {
		return noSuchGuest(id)
	}
	found.traffic = counters
	return nil
}

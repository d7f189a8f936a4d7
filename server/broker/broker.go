package broker

import (
	"log/slog"
	"time"
)

// Broker carries out what callers ask for: it checks, reserves and queues; the task engine does the rest.
type Broker struct {
	store Store
	fleet Fleet
	queue Queue
	rules Rules
	now   func() time.Time
	log   *slog.Logger
}

// Rules are the operator's defaults and bounds.
type Rules struct {
	// Disk sizes in GB when an order names none (peer: 40 for Linux, 60 for Windows).
	LinuxDiskGB, WindowsDiskGB int
	// VMIDFrom and VMIDTo bound the VMIDs of new clusters (100 … 899999999, see hypervisor.MaxNewGuestID).
	VMIDFrom, VMIDTo int
	// Quarantine is how long a VMID stays unused after its guest was deleted.
	Quarantine time.Duration
	// DefaultBridge is used when an order names none.
	DefaultBridge string
	// DefaultLifetime sets the expiry of orders that name none; 0 = never.
	DefaultLifetime time.Duration
	// DeleteDays is how many days deleted VMs stay in the recycle bin; 0 = none. A setting of the panel goes before it.
	DeleteDays int
	// StartAfterRenewal starts VMs that ran until they expired when they are renewed.
	StartAfterRenewal bool
}

// DefaultRules are the documented defaults.
func DefaultRules() Rules {
	return Rules{
		LinuxDiskGB: 40, WindowsDiskGB: 60,
		VMIDFrom: 100, VMIDTo: 899_999_999,
		Quarantine:      24 * time.Hour,
		DefaultBridge:   "vmbr0",
		DefaultLifetime: 10 * 365 * 24 * time.Hour,
		DeleteDays:      3, StartAfterRenewal: true,
	}
}

// New makes a Broker. now may be nil.
func New(store Store, fleet Fleet, queue Queue, rules Rules, now func() time.Time, log *slog.Logger) *Broker {
	if now == nil {
		now = time.Now
	}
	return &Broker{store: store, fleet: fleet, queue: queue, rules: rules, now: now, log: log}
}

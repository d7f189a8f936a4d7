package hypervisor

import (
	"context"
	"net/netip"
)

// Adopter is what drivers have that can take over guests which others made, and let go of guests. None of its calls does anything that
// the guest itself, its disks or who uses it could notice: what is written is the owner mark alone.
type Adopter interface {
	// InspectGuest reads a guest that may be anybody's. Its Owner is the mark that it has already: what the hypervisor gave it when it
	// was made, or Adopt; "" = none. NotFound when there is no such guest.
	InspectGuest(ctx context.Context, ref GuestRef) (ForeignGuest, error)
	// Adopt puts the owner mark ref.Owner on a guest; from then on it is that owner's to every other call. Having it already is success.
	// Locked while something works on the guest or it is half-made; Conflict for templates, and where the hypervisor allows no other mark
	// than the one that the guest has.
	Adopt(ctx context.Context, ref GuestRef) error
	// Disown takes off what Adopt put there; the mark that the guest had before holds again. A guest that is gone is success, one of
	// another owner Conflict with ReasonForeignGuest.
	Disown(ctx context.Context, ref GuestRef) error
	// ClaimDisks makes the disks of an adopted guest Gantry's, so that DeleteGuest removes them. Conflict when it can't remove one.
	ClaimDisks(ctx context.Context, ref GuestRef) error
}

// ForeignGuest is a guest read for adoption.
type ForeignGuest struct {
	Guest
	Template       bool
	Sockets, Cores int
	MemoryMB       int
	OSFamily       string // linux, windows, other; "" = unknown
	NICs           []NICSpec
	// Addresses are those that the hypervisor gives the guest by cloud-init; others it does not know.
	Addresses []netip.Prefix
}

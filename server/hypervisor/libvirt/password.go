package libvirt

import (
	"context"

	golibvirt "github.com/digitalocean/go-libvirt"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// longestPassword is what libvirt takes (REMOTE_STRING_MAX is larger, chpasswd of no distribution is).
const longestPassword = 1024

// SetGuestPassword sets a user's password inside a guest that runs, through its agent. Conflict with ReasonVMNotRunning when the guest is
// off, Unreachable when its agent does not answer, Unsupported when it has none. The driver contract does not have it: callers ask
// whether a driver has this method.
func (d *driver) SetGuestPassword(ctx context.Context, ref hypervisor.GuestRef, user, password string) error {
	if !userName.MatchString(user) {
		return broker.InvalidField("user", "is not a user name")
	}
	if password == "" || len(password) > longestPassword {
		return broker.InvalidField("password", "must have between 1 and %d bytes", longestPassword)
	}
	g, err := d.owned(ctx, ref)
	if err != nil {
		return err
	}
	switch {
	case powerOf(g.state) != hypervisor.PowerRunning:
		return notRunning(g)
	case !hasAgent(&g.config):
		return unsupported("passwords of a guest without a guest agent")
	}
	return change(ctx, d.client, func(l *rpc) error {
		return l.DomainSetUserPassword(g.domain, golibvirt.OptString{user}, golibvirt.OptString{password}, 0)
	})
}

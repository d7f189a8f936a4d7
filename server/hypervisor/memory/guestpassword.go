package memory

import (
	"context"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// SetGuestPassword sets it in a guest that runs and has an agent.
func (d *driver) SetGuestPassword(ctx context.Context, ref hypervisor.GuestRef, user, password string) error {
	if err := hypervisor.CheckGuestPassword(user, password); err != nil {
		return err
	}
	c := d.cluster
	_, err := d.change(ctx, Call{Method: "SetGuestPassword", Guest: ref.ID, Node: ref.Node}, func(Fault) (hypervisor.Operation, error) {
		found, err := c.idle(ref)
		switch {
		case err != nil:
			return hypervisor.Operation{}, err
		case found.power != hypervisor.PowerRunning:
			return hypervisor.Operation{}, broker.Because(broker.Conflict, broker.ReasonVMNotRunning, ref.ID)
		case !found.spec.GuestAgent:
			return hypervisor.Operation{}, unsupported("guest agent")
		}
		found.passwords = with(found.passwords, user, password)
		return hypervisor.Operation{}, nil
	})
	return err
}

func with(passwords map[string]string, user, password string) map[string]string {
	if passwords == nil {
		passwords = map[string]string{}
	}
	passwords[user] = password
	return passwords
}

// GuestPassword is what SetGuestPassword set for a user, "" when it did not.
func (c *Cluster) GuestPassword(id int, user string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if found := c.guests[id]; found != nil {
		return found.passwords[user]
	}
	return ""
}

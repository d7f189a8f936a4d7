package pve

import (
	"context"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// SetGuestPassword takes two requests: the owner check, and set-user-password, which PVE passes to the guest's agent and answers when the
// agent did. PVE 9 wants VM.GuestAgent.Unrestricted for it, PVE 8 VM.Monitor.
func (d *driver) SetGuestPassword(ctx context.Context, ref hypervisor.GuestRef, user, password string) error {
	if err := hypervisor.CheckGuestPassword(user, password); err != nil {
		return err
	}
	guest, err := d.own(ctx, ref)
	if err != nil {
		return err
	}
	var answer map[string]any
	parameters := map[string]any{"username": user, "password": password}
	return plain(d.client.proxmox.Post(ctx, guest.path("/agent/set-user-password"), parameters, &answer), broker.UnknownOutcome)
}

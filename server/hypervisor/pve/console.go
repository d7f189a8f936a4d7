package pve

import (
	"context"
	"net/url"
	"strconv"
	"strings"

	"github.com/luthermonson/go-proxmox"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// Console takes three requests. vncproxy listens for 10 s; the websocket to it goes through pveproxy with the same credential, a
// token as well as a ticket.
func (d *driver) Console(ctx context.Context, ref hypervisor.GuestRef) (hypervisor.ConsoleTarget, error) {
	guest, err := d.own(ctx, ref)
	if err != nil {
		return hypervisor.ConsoleTarget{}, err
	}
	status, err := d.status(ctx, guest.node, guest.id)
	if err != nil {
		return hypervisor.ConsoleTarget{}, err
	}
	if power := status.power(); power != hypervisor.PowerRunning && power != hypervisor.PowerPaused {
		// PVE would make a proxy that finds nobody to talk to.
		return hypervisor.ConsoleTarget{}, broker.Because(broker.Conflict, broker.ReasonVMNotRunning, ref.ID)
	}
	version, err := d.version(ctx)
	if err != nil {
		return hypervisor.ConsoleTarget{}, err
	}
	parameters := map[string]any{"websocket": 1}
	if !atLeast(version, 9, 0) {
		// In 8.x the screen's password is else the ticket, of which VNC uses 8 bytes that are the same for everybody ("PVEVNC:6").
		// In 9.x the ticket begins with a password of its own and the parameter is deprecated.
		parameters["generate-password"] = 1
	}
	var answer proxmox.VNC
	if err := d.client.proxmox.Post(ctx, guest.path("/vncproxy"), parameters, &answer); err != nil {
		return hypervisor.ConsoleTarget{}, lostConsole(plain(err, broker.Failed))
	}
	if answer.Port < 5900 || answer.Port > 5999 || answer.Ticket == "" {
		return hypervisor.ConsoleTarget{}, broker.Errorf(broker.Failed, "Proxmox VE's answer has no port or ticket for the screen")
	}
	header, err := d.vncHeader(ctx)
	if err != nil {
		return hypervisor.ConsoleTarget{}, err
	}
	query := url.Values{"port": {strconv.Itoa(int(answer.Port))}, "vncticket": {answer.Ticket}}
	return hypervisor.ConsoleTarget{
		Network: "websocket", Address: "wss" + strings.TrimPrefix(d.client.base, "https") + guest.path("/vncwebsocket?"+query.Encode()),
		Header: header, TLSPin: d.pin, Password: orElse(answer.Password, answer.Ticket),
	}, nil
}

// lostConsole: a proxy that nobody connects to ends by itself, so a lost reply leaves nothing behind and the call may be repeated.
func lostConsole(err error) error {
	if !broker.Is(err, broker.UnknownOutcome) {
		return err
	}
	return unreachable("the screen's proxy did not answer", err)
}

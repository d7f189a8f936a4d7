package libvirt

import (
	"context"
	"net"

	golibvirt "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// Console takes three calls. The screen is a unix socket of the host, which only this connection reaches: the target is dialled here.
func (d *driver) Console(ctx context.Context, ref hypervisor.GuestRef) (hypervisor.ConsoleTarget, error) {
	g, err := d.owned(ctx, ref)
	if err != nil {
		return hypervisor.ConsoleTarget{}, err
	}
	if !d.Info().Capabilities.Console {
		return hypervisor.ConsoleTarget{}, unsupported("screens over TLS, where only libvirtd can be reached: use ssh, or unix on the host")
	}
	if powerOf(g.state) == hypervisor.PowerStopped {
		return hypervisor.ConsoleTarget{}, notRunning(g)
	}
	text, err := read(ctx, d.client, func(l *rpc) (string, error) { return l.DomainGetXMLDesc(g.domain, golibvirt.DomainXMLSecure) })
	if err != nil {
		return hypervisor.ConsoleTarget{}, err
	}
	socket, password, err := screenOf(text)
	if err != nil {
		return hypervisor.ConsoleTarget{}, err
	}
	dial := func(ctx context.Context) (net.Conn, error) {
		conn, err := d.client.transport.dialSocket(ctx, socket)
		if err != nil {
			return nil, unreachable(err)
		}
		return d.screens.hold(conn)
	}
	return hypervisor.ConsoleTarget{Dial: dial, Password: password}, nil
}

// screenOf finds the VNC socket in the definition of a guest that runs.
func screenOf(text string) (socket, password string, err error) {
	var live libvirtxml.Domain
	if err := live.Unmarshal(text); err != nil {
		return "", "", &broker.Error{Kind: broker.Failed, Detail: "the guest's definition can't be read", Err: err}
	}
	if live.Devices != nil {
		for _, graphic := range live.Devices.Graphics {
			if graphic.VNC == nil {
				continue
			}
			if graphic.VNC.Socket != "" {
				return graphic.VNC.Socket, graphic.VNC.Passwd, nil
			}
			for _, listener := range graphic.VNC.Listeners {
				if listener.Socket != nil && listener.Socket.Socket != "" {
					return listener.Socket.Socket, graphic.VNC.Passwd, nil
				}
			}
		}
	}
	return "", "", unsupported("a guest without a VNC screen on a unix socket")
}

package libvirt

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// screenPatience is how long a way to a screen waits for its one viewer.
const screenPatience = 10 * time.Second

// screens are the ways to screens of hosts whose files are not this machine's: a ConsoleTarget can't say "through that SSH connection".
// Each is a unix socket in a folder that only this user may enter, takes one connection and is gone. A loopback port would be open to
// every user of the machine.
type screens struct {
	mu     sync.Mutex
	folder string
	open   map[io.Closer]bool
	closed bool
}

// Console takes four calls. Over unix the screen's own socket is the target; over ssh a socket of ours that leads to it.
func (d *driver) Console(ctx context.Context, ref hypervisor.GuestRef) (hypervisor.ConsoleTarget, error) {
	g, err := d.owned(ctx, ref)
	if err != nil {
		return hypervisor.ConsoleTarget{}, err
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
	if d.client.transport.local() {
		return hypervisor.ConsoleTarget{Network: "unix", Address: socket, Password: password}, nil
	}
	conn, err := d.client.transport.dialSocket(ctx, socket)
	if err != nil {
		return hypervisor.ConsoleTarget{}, unreachable(err)
	}
	address, err := d.screens.offer(conn)
	if err != nil {
		_ = conn.Close()
		return hypervisor.ConsoleTarget{}, err
	}
	return hypervisor.ConsoleTarget{Network: "unix", Address: address, Password: password}, nil
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
	return "", "", &broker.Error{Kind: broker.Unsupported, Reason: broker.ReasonUnsupported, Detail: "the guest has no VNC screen on a unix socket"}
}

// offer makes a socket that leads to a screen once.
func (s *screens) offer(screen net.Conn) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return "", broker.Errorf(broker.Unreachable, "the connection was closed")
	}
	if s.folder == "" {
		folder, err := os.MkdirTemp("", "gantry-screen-") // mode 0700
		if err != nil {
			return "", &broker.Error{Kind: broker.Failed, Detail: "no folder for the console", Err: err}
		}
		s.folder, s.open = folder, map[io.Closer]bool{}
	}
	var name [16]byte
	_, _ = rand.Read(name[:]) // never fails, see crypto/rand
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: filepath.Join(s.folder, hex.EncodeToString(name[:]))})
	if err != nil {
		return "", &broker.Error{Kind: broker.Failed, Detail: "no socket for the console", Err: err}
	}
	s.open[listener], s.open[screen] = true, true
	go s.serve(listener, screen)
	return listener.Addr().String(), nil
}

func (s *screens) serve(listener *net.UnixListener, screen net.Conn) {
	defer s.forget(screen)
	err := listener.SetDeadline(time.Now().Add(screenPatience))
	var viewer net.Conn
	if err == nil {
		viewer, err = listener.Accept()
	}
	s.forget(listener) // one viewer: the socket's file goes with the listener
	if err != nil || !s.hold(viewer) {
		return
	}
	defer s.forget(viewer)
	go func() {
		defer s.forget(screen)
		defer s.forget(viewer)
		_, _ = io.Copy(screen, viewer) // either side went away: nobody is left to tell
	}()
	_, _ = io.Copy(viewer, screen)
}

func (s *screens) hold(each io.Closer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = each.Close()
		return false
	}
	s.open[each] = true
	return true
}

func (s *screens) forget(each io.Closer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = each.Close()
	delete(s.open, each)
}

func (s *screens) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for each := range s.open {
		_ = each.Close()
	}
	if s.folder != "" {
		_ = os.RemoveAll(s.folder)
		s.folder = ""
	}
}

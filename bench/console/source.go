package main

import (
	"net"
	"os"
	"path/filepath"

	"gantry/internal/consoleapi"
	"gantry/vncproxy/vnctest"
)

// source is a VNC server for the proxy to open.
type source struct {
	target consoleapi.Target
	close  func()
}

// startSource listens on a network: "tcp", "unix", or "websocket" for PVE's console on TLS. With flood it sends without end.
func startSource(network string, flood bool) (*source, error) {
	screen := &vnctest.Screen{Flood: flood, Password: "PVEVNC:6"}
	if network == consoleapi.NetworkWebSocket {
		pve := vnctest.NewPVE(screen)
		pve.ReuseTickets()
		return &source{target: pve.Target(), close: pve.Close}, nil
	}
	screen.Password = ""
	folder, err := os.MkdirTemp("", "gantry-bench")
	if err != nil {
		return nil, err
	}
	address := "127.0.0.1:0"
	if network == consoleapi.NetworkUnix {
		address = filepath.Join(folder, "vnc.sock")
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = screen.Serve(conn) // ends when the measurement does
			}()
		}
	}()
	return &source{
		target: consoleapi.Target{Network: network, Address: listener.Addr().String()},
		close: func() {
			listener.Close()
			os.RemoveAll(folder)
		},
	}, nil
}

package libvirt

import (
	"net"
	"sync"

	"gantry/server/broker"
)

// screens are the open connections to guests' screens: they end with the driver. The zero value is ready.
type screens struct {
	mu     sync.Mutex
	open   map[*screen]bool
	closed bool
}

// screen is a connection that leaves the list when it is closed.
type screen struct {
	net.Conn
	list *screens
}

func (s *screens) hold(conn net.Conn) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = conn.Close()
		return nil, broker.Errorf(broker.Unreachable, "the connection was closed")
	}
	if s.open == nil {
		s.open = map[*screen]bool{}
	}
	held := &screen{Conn: conn, list: s}
	s.open[held] = true
	return held, nil
}

// Close ends the connection.
func (s *screen) Close() error {
	s.list.mu.Lock()
	delete(s.list.open, s)
	s.list.mu.Unlock()
	return s.Conn.Close()
}

func (s *screens) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for each := range s.open {
		_ = each.Conn.Close() // who uses it finds out
	}
}

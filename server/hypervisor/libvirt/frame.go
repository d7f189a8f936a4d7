package libvirt

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
)

// Bounds of a packet (libvirt's rpc/virnetprotocol.x: VIR_NET_MESSAGE_LEN_MAX 4 + VIR_NET_MESSAGE_MAX 33554432). go-libvirt trusts
// the length that the peer sends and makes a buffer of it.
const (
	smallestPacket = 28
	largestPacket  = 32<<20 + 4
)

// frameConn lets only packets of possible length through to go-libvirt, and tells when the connection is gone.
type frameConn struct {
	net.Conn
	head    [4]byte
	pending []byte // of the length field that was read and not handed on yet
	left    uint32 // of the packet after its length
	gone    chan struct{}
	once    sync.Once
}

func newFrameConn(conn net.Conn) *frameConn {
	return &frameConn{Conn: conn, gone: make(chan struct{})}
}

func (c *frameConn) Read(into []byte) (int, error) {
	if len(into) == 0 {
		return 0, nil
	}
	if len(c.pending) == 0 && c.left == 0 {
		if _, err := io.ReadFull(c.Conn, c.head[:]); err != nil {
			return 0, c.fail(err)
		}
		length := binary.BigEndian.Uint32(c.head[:])
		if length < smallestPacket || length > largestPacket {
			return 0, c.fail(errNotLibvirt)
		}
		c.pending, c.left = c.head[:], length-4
	}
	if len(c.pending) > 0 {
		n := copy(into, c.pending)
		c.pending = c.pending[n:]
		return n, nil
	}
	n, err := c.Conn.Read(into[:min(len(into), int(c.left))])
	c.left -= uint32(n)
	if err != nil {
		return n, c.fail(err)
	}
	return n, nil
}

// fail ends the connection for good: nobody may read on in the middle of a packet.
func (c *frameConn) fail(err error) error {
	_ = c.Close()
	return err
}

func (c *frameConn) Close() error {
	var err error
	c.once.Do(func() {
		close(c.gone)
		err = c.Conn.Close()
	})
	return err
}

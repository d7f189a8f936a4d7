package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"gantry/internal/consoleapi"
	"gantry/vncproxy/rfb"
)

// client is a viewer's end of a websocket, as cheap as can be: it shares the processors with what is measured.
type client struct {
	conn net.Conn
	in   *bufio.Reader
	left uint64 // bytes left of the present frame
}

// openClient opens a websocket and RFB up to and including ClientInit.
func openClient(address string) (*client, error) {
	conn, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return nil, err
	}
	c := &client{conn: conn, in: bufio.NewReaderSize(conn, 4096)}
	if err := c.handshake(address); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *client) handshake(address string) error {
	if err := c.conn.SetDeadline(time.Now().Add(60 * time.Second)); err != nil {
		return err
	}
	fmt.Fprintf(c.conn, "GET /console/ws?token=%s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: binary\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
		consoleapi.NewToken(), address)
	answer, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("answered %s", answer.Status)
	}
	if err := rfb.Connect(c, ""); err != nil {
		return err
	}
	if _, err := c.Write([]byte{1}); err != nil {
		return err
	}
	return c.conn.SetDeadline(time.Time{})
}

// Read gives payload; only the opening uses it.
func (c *client) Read(p []byte) (int, error) {
	for c.left == 0 {
		if err := c.nextFrame(c.in); err != nil {
			return 0, err
		}
	}
	n, err := c.in.Read(p[:min(uint64(len(p)), c.left)])
	c.left -= uint64(n)
	return n, err
}

func (c *client) nextFrame(r io.Reader) error {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:2]); err != nil {
		return err
	}
	if head[0] == 0x88 {
		return io.EOF
	}
	switch length := head[1] & 0x7f; length {
	case 126:
		if _, err := io.ReadFull(r, head[:2]); err != nil {
			return err
		}
		c.left = uint64(binary.BigEndian.Uint16(head[:2]))
	case 127:
		if _, err := io.ReadFull(r, head[:8]); err != nil {
			return err
		}
		c.left = binary.BigEndian.Uint64(head[:8])
	default:
		c.left = uint64(length)
	}
	return nil
}

// Write sends a short masked binary frame; the mask is zero.
func (c *client) Write(p []byte) (int, error) {
	frame := append([]byte{0x82, 0x80 | byte(len(p)), 0, 0, 0, 0}, p...)
	if _, err := c.conn.Write(frame); err != nil {
		return 0, err
	}
	return len(p), nil
}

// drain counts payload until the connection ends.
func (c *client) drain(total *atomic.Int64) error {
	in := bufio.NewReaderSize(io.MultiReader(io.LimitReader(c.in, int64(c.in.Buffered())), c.conn), 512<<10)
	for {
		if c.left == 0 {
			if err := c.nextFrame(in); err != nil {
				return err
			}
			continue
		}
		if _, err := in.Peek(1); err != nil {
			return err
		}
		n, err := in.Discard(int(min(c.left, uint64(in.Buffered()))))
		if err != nil {
			return err
		}
		c.left -= uint64(n)
		total.Add(int64(n))
	}
}

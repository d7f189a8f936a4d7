// Package wsframe speaks RFC 6455 frames as pveproxy does: binary messages in one frame, at most 128 KiB, no extensions, and clients
// must mask. A library would accept what pveproxy refuses, so the frames are read here.
package wsframe

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
)

// MaxPayload is pveproxy's limit for one frame.
const MaxPayload = 128 << 10

// Opcodes.
const (
	Text   = 1
	Binary = 2
	Close  = 8
	Ping   = 9
	Pong   = 10
)

// Errors for frames that pveproxy ends the connection for.
var (
	ErrFragment  = errors.New("websocket: fragmented messages are not supported")
	ErrReserved  = errors.New("websocket: reserved bits are set")
	ErrUnmasked  = errors.New("websocket: client frames must be masked")
	ErrTooLarge  = errors.New("websocket: payload too large")
	ErrBadOpcode = errors.New("websocket: unsupported opcode")
)

// AcceptKey answers a Sec-WebSocket-Key.
func AcceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Conn is the server's side of an upgraded connection.
type Conn struct {
	conn   net.Conn
	reader *bufio.Reader
	mu     sync.Mutex // guards writes
}

// New wraps a connection; reader may hold bytes that came early.
func New(conn net.Conn, reader *bufio.Reader) *Conn { return &Conn{conn: conn, reader: reader} }

// Read returns the payload of the next data frame. It answers pings, and returns io.EOF after a close frame.
func (c *Conn) Read() ([]byte, error) {
	for {
		opcode, payload, err := c.frame()
		if err != nil {
			return nil, err
		}
		switch opcode {
		case Text, Binary:
			return payload, nil
		case Ping:
			if err := c.Write(Pong, payload); err != nil {
				return nil, err
			}
		case Pong:
		case Close:
			_ = c.Write(Close, payload)
			return nil, io.EOF
		default:
			return nil, ErrBadOpcode
		}
	}
}

func (c *Conn) frame() (opcode byte, payload []byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(c.reader, head[:2]); err != nil {
		return 0, nil, err
	}
	opcode = head[0] & 0x0f
	switch {
	case head[0]&0x70 != 0:
		return 0, nil, ErrReserved
	case head[0]&0x80 == 0 || opcode == 0:
		return 0, nil, ErrFragment
	case head[1]&0x80 == 0:
		return 0, nil, ErrUnmasked
	}
	length := uint64(head[1] & 0x7f)
	switch length {
	case 126:
		if _, err := io.ReadFull(c.reader, head[:2]); err != nil {
			return 0, nil, err
		}
		length = uint64(binary.BigEndian.Uint16(head[:2]))
	case 127:
		if _, err := io.ReadFull(c.reader, head[:8]); err != nil {
			return 0, nil, err
		}
		length = binary.BigEndian.Uint64(head[:8])
	}
	if length > MaxPayload {
		return 0, nil, ErrTooLarge
	}
	var mask [4]byte
	if _, err := io.ReadFull(c.reader, mask[:]); err != nil {
		return 0, nil, err
	}
	payload = make([]byte, length)
	if _, err := io.ReadFull(c.reader, payload); err != nil {
		return 0, nil, err
	}
	for i := range payload {
		payload[i] ^= mask[i&3]
	}
	return opcode, payload, nil
}

// Write sends one frame. The payload must not be larger than MaxPayload.
func (c *Conn) Write(opcode byte, payload []byte) error {
	head := make([]byte, 0, 10+len(payload))
	head = append(head, 0x80|opcode)
	switch {
	case len(payload) < 126:
		head = append(head, byte(len(payload)))
	case len(payload) < 1<<16:
		head = binary.BigEndian.AppendUint16(append(head, 126), uint16(len(payload)))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 127), uint64(len(payload)))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.conn.Write(append(head, payload...))
	return err
}

// Close ends the connection.
func (c *Conn) Close() error { return c.conn.Close() }

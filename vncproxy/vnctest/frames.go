package vnctest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// maxFrame is pveproxy's bound on a client's frame (PVE::APIServer::AnyEvent).
const maxFrame = 128 << 10

// Websocket opcodes of RFC 6455 §5.2.
const (
	opBinary = 2
	opClose  = 8
	opPing   = 9
	opPong   = 10
)

// frameConn is the server's end of a websocket by pveproxy's rules, written out so that nothing is forgiven: client frames
// are masked, unfragmented, binary, without reserved bits, at most 128 KiB.
type frameConn struct {
	conn net.Conn
	in   *bufio.Reader
	rest []byte
}

// Read gives the bytes of the client's binary frames and answers its pings.
func (f *frameConn) Read(p []byte) (int, error) {
	for len(f.rest) == 0 {
		if err := f.frame(); err != nil {
			return 0, err
		}
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

func (f *frameConn) frame() error {
	head, err := take(f.in, 2)
	if err != nil {
		return err
	}
	final, reserved, opcode := head[0]&0x80 != 0, head[0]&0x70, head[0]&0x0f
	masked, length := head[1]&0x80 != 0, int(head[1]&0x7f)
	switch {
	case reserved != 0:
		return errors.New("reserved bits set: compression was not agreed on")
	case !final:
		return errors.New("fragmented frame")
	case !masked:
		return errors.New("unmasked frame")
	}
	switch length {
	case 126:
		extended, err := take(f.in, 2)
		if err != nil {
			return err
		}
		length = int(binary.BigEndian.Uint16(extended))
	case 127:
		extended, err := take(f.in, 8)
		if err != nil {
			return err
		}
		if announced := binary.BigEndian.Uint64(extended); announced > maxFrame {
			return fmt.Errorf("frame of %d bytes", announced)
		}
		length = int(binary.BigEndian.Uint64(extended))
	}
	mask, err := take(f.in, 4)
	if err != nil {
		return err
	}
	payload, err := take(f.in, length)
	if err != nil {
		return err
	}
	for i := range payload {
		payload[i] ^= mask[i%4]
	}
	switch opcode {
	case opBinary:
		f.rest = payload
		return nil
	case opPing:
		return f.write(opPong, payload)
	case opPong:
		return nil
	case opClose:
		return io.EOF
	}
	return fmt.Errorf("frame with opcode %d", opcode)
}

// Write sends one binary frame.
func (f *frameConn) Write(p []byte) (int, error) { return len(p), f.write(opBinary, p) }

func (f *frameConn) write(opcode byte, payload []byte) error {
	head := []byte{0x80 | opcode}
	switch length := len(payload); {
	case length < 126:
		head = append(head, byte(length))
	case length < 1<<16:
		head = binary.BigEndian.AppendUint16(append(head, 126), uint16(length))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 127), uint64(length))
	}
	buffers := net.Buffers{head, payload}
	_, err := buffers.WriteTo(f.conn)
	return err
}

// isViolation tells a breach of protocol from a connection that ended.
func isViolation(err error) bool {
	var network *net.OpError
	return !errors.As(err, &network) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF)
}

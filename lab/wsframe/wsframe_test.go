package wsframe

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
)

func TestFramesThatPveproxyRefuses(t *testing.T) {
	masked := func(first byte, payload string) []byte {
		frame := []byte{first, 0x80 | byte(len(payload)), 1, 2, 3, 4}
		for i := range len(payload) {
			frame = append(frame, payload[i]^frame[2+i&3])
		}
		return frame
	}
	for _, fact := range []struct {
		name  string
		frame []byte
		want  string
		err   error
	}{
		{"binary", masked(0x82, "hello"), "hello", nil},
		{"text is taken as bytes", masked(0x81, "hello"), "hello", nil},
		{"a ping before data", append(masked(0x89, "p"), masked(0x82, "x")...), "x", nil},
		{"first of several fragments", masked(0x02, "hello"), "", ErrFragment},
		{"continuation", masked(0x80, "hello"), "", ErrFragment},
		{"compressed", masked(0xc2, "hello"), "", ErrReserved},
		{"not masked", []byte{0x82, 1, 'x'}, "", ErrUnmasked},
		{"129 KiB", []byte{0x82, 0x80 | 127, 0, 0, 0, 0, 0, 2, 4, 0}, "", ErrTooLarge},
		{"unknown opcode", masked(0x83, "x"), "", ErrBadOpcode},
		{"close", masked(0x88, ""), "", io.EOF},
	} {
		near, far := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, far) }() // takes pongs and close frames
		conn := New(near, bufio.NewReader(bytes.NewReader(fact.frame)))
		payload, err := conn.Read()
		if string(payload) != fact.want || !errors.Is(err, fact.err) {
			t.Errorf("%s: %q %v, want %q %v", fact.name, payload, err, fact.want, fact.err)
		}
		_ = conn.Close()
		_ = far.Close()
	}
}

// The key and its answer are the example of RFC 6455, section 1.3.
func TestAcceptKey(t *testing.T) {
	if got := AcceptKey("dGhlIHNhbXBsZSBub25jZQ=="); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Error(got)
	}
}

// Package rfb speaks the opening of the Remote Framebuffer protocol (RFC 6143) in both directions: as a client that
// authenticates to a hypervisor's VNC server, and as a server that lets an already authenticated browser in. What follows the
// opening (ClientInit onwards) is the same on both sides and is passed through untouched.
//
// Nothing is read beyond what the opening needs, so the stream can be handed on as it is. Every length that the other side
// announces is bounded. Deadlines are the caller's: set them on the stream.
package rfb

import (
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Security types of RFC 6143 §7.1.2 that this package speaks.
const (
	securityInvalid = 0
	securityNone    = 1
	securityVNC     = 2
)

// SecurityResult values of RFC 6143 §7.1.3; tooMany is Tight's, which some servers send.
const (
	resultOK      = 0
	resultFailed  = 1
	resultTooMany = 2
)

const (
	versionLength = 12
	// maxReason bounds the failure text that is read from a server.
	maxReason = 4096
)

// ErrProtocol says that the other side does not speak RFB as RFC 6143 has it.
var ErrProtocol = errors.New("not the RFB protocol")

// ErrPasswordWanted says that the server wants a password and none is known.
var ErrPasswordWanted = errors.New("the VNC server wants a password")

// ErrNoSecurity says that the server offers no security type that this package speaks.
var ErrNoSecurity = errors.New("the VNC server offers no known security type")

// RefusedError is a failure that the server itself reported, in its own words (of hostile origin, at most 4096 bytes, may be empty).
type RefusedError struct {
	Reason string
	// Authentication tells that the password was refused, as opposed to the connection as such.
	Authentication bool
}

// Error is for logs; it quotes the server's words.
func (e *RefusedError) Error() string {
	what := "the VNC server refused the connection"
	if e.Authentication {
		what = "the VNC server refused the password"
	}
	if e.Reason == "" {
		return what
	}
	return what + ": " + strconv.Quote(e.Reason)
}

// version is a protocol version that has rules of its own: 3, 7 or 8 for RFB 3.3, 3.7 and 3.8.
type version int

const (
	version33 version = 3
	version37 version = 7
	version38 version = 8
)

// text is the 12 bytes of a ProtocolVersion message.
func (v version) text() []byte { return fmt.Appendf(nil, "RFB 003.%03d\n", int(v)) }

// parseVersion reads a ProtocolVersion message. By RFC 6143 §7.1.1 any unknown minor version is treated as 3.3, except that
// higher ones than 3.8 (also major 4 and 5 of RealVNC, 3.889 of Apple) can fall back to 3.8.
func parseVersion(message []byte) (version, error) {
	if len(message) != versionLength || string(message[:4]) != "RFB " || message[7] != '.' || message[11] != '\n' {
		return 0, ErrProtocol
	}
	major, majorOK := digits(message[4:7])
	minor, minorOK := digits(message[8:11])
	switch {
	case !majorOK || !minorOK || major < 3:
		return 0, ErrProtocol
	case major > 3 || minor >= 8:
		return version38, nil
	case minor == 7:
		return version37, nil
	default:
		return version33, nil
	}
}

func digits(text []byte) (int, bool) {
	value := 0
	for _, digit := range text {
		if digit < '0' || digit > '9' {
			return 0, false
		}
		value = value*10 + int(digit-'0')
	}
	return value, true
}

func readVersion(r io.Reader) (version, error) {
	var message [versionLength]byte
	if _, err := io.ReadFull(r, message[:]); err != nil {
		return 0, fmt.Errorf("read RFB version: %w", err)
	}
	return parseVersion(message[:])
}

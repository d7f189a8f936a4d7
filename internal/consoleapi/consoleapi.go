// Package consoleapi is what a console proxy and the broker say to each other: the wire types, the proxy's client and the
// broker's HTTP handler. The proxy asks, the broker answers; the broker never calls a proxy, so proxies may stand behind NAT.
package consoleapi

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"gantry/internal/tlspin"
)

// Paths of the broker that a proxy posts JSON to, with `Authorization: Bearer <the proxy's secret>`.
const (
	RedeemPath = "/internal/console/redeem"
	CheckPath  = "/internal/console/check"
	// StreamPath is a websocket that carries a screen's bytes, for targets of NetworkBroker.
	StreamPath = "/internal/console/stream"
)

// Bounds on what is read from the other side.
const (
	maxRequestBytes = 64 << 10
	maxReplyBytes   = 256 << 10
	// MaxCheckedSessions is the most session ids that one CheckRequest may hold.
	MaxCheckedSessions = 500
)

// Networks of a Target.
const (
	NetworkWebSocket = "websocket" // Address is a ws:// or wss:// URL
	NetworkUnix      = "unix"      // Address is the path of a socket on the proxy's own machine
	NetworkTCP       = "tcp"       // Address is host:port
	NetworkBroker    = "broker"    // only the broker reaches the screen and passes its bytes on, see Client.Stream; no Address
)

// RedeemRequest trades a token for a console target.
type RedeemRequest struct {
	// Token is what the console link carried.
	Token Token `json:"token"`
	// SessionKey is the cookie that the browser presented, empty at first use.
	SessionKey SessionKey `json:"sessionKey,omitempty"`
	// FreshKey is a key that the proxy just made; the broker binds an unused token to it. A key that a browser brought along
	// is never bound, so nobody can plant one.
	FreshKey SessionKey `json:"freshKey"`
	// ClientIP is the browser's address as the proxy saw it.
	ClientIP string `json:"clientIP"`
}

// RedeemReply answers a RedeemRequest that was granted.
type RedeemReply struct {
	Target Target `json:"target"`
	// Bound tells that the token was unused and now belongs to FreshKey, which the proxy hands to the browser.
	Bound bool `json:"bound"`
}

// Target is where a console is and how to get in. It holds secrets: it logs as its session and label only.
type Target struct {
	// Network is NetworkWebSocket, NetworkUnix, NetworkTCP or NetworkBroker; Address is in that network's form.
	Network string `json:"network"`
	Address string `json:"address"`
	// Header goes with the websocket's opening request, e.g. Authorization: PVEAPIToken=… or Cookie: PVEAuthCookie=….
	Header map[string]string `json:"header,omitempty"`
	// TLSPin is the SHA-256 of the leaf certificate; the zero pin means that the system's certificate authorities decide.
	TLSPin tlspin.Pin `json:"tlsPin,omitzero"`
	// Subprotocol that a websocket must agree to, "binary" for PVE. Empty asks for none.
	Subprotocol string `json:"subprotocol,omitempty"`
	// VNCPassword answers the VNC authentication challenge; only its first 8 bytes count (RFC 6143 §7.2.2).
	VNCPassword string `json:"vncPassword,omitempty"`
	// ViewerPassword is what the proxy itself asks the browser for; empty = nothing. Of it, too, only the first 8 bytes count.
	ViewerPassword string `json:"viewerPassword,omitempty"`

	// VMID is Gantry's id of the virtual machine and VMLabel its name for people.
	VMID    int64  `json:"vmID"`
	VMLabel string `json:"vmLabel"`
	// SessionID names this console session in logs and in CheckRequest; it is no secret and gives no access.
	SessionID string `json:"sessionID"`
	// ClosesAt ends the session for good, reconnects included.
	ClosesAt time.Time `json:"closesAt"`
}

// LogValue keeps addresses and credentials out of logs.
func (t Target) LogValue() slog.Value {
	return slog.GroupValue(slog.String("session", t.SessionID), slog.Int64("vm", t.VMID), slog.String("network", t.Network))
}

// String keeps addresses and credentials out of formatted text.
func (t Target) String() string {
	return fmt.Sprintf("console target of VM %d over %s", t.VMID, t.Network)
}

// GoString keeps them out of %#v as well.
func (t Target) GoString() string { return t.String() }

// ErrTarget says that a target can't be dialled as it is given. Errors that wrap it name the field and never the value.
var ErrTarget = errors.New("unusable console target")

// Check tells what is wrong with a target before it is dialled; the error wraps ErrTarget.
func (t Target) Check() error {
	switch t.Network {
	case NetworkWebSocket:
		address, err := url.Parse(t.Address)
		if err != nil || address.Host == "" || (address.Scheme != "ws" && address.Scheme != "wss") {
			return fmt.Errorf("%w: address is not a ws:// or wss:// URL", ErrTarget)
		}
	case NetworkUnix:
		if !strings.HasPrefix(t.Address, "/") {
			return fmt.Errorf("%w: address is not an absolute socket path", ErrTarget)
		}
	case NetworkTCP:
		if _, _, err := net.SplitHostPort(t.Address); err != nil {
			return fmt.Errorf("%w: address is not host:port", ErrTarget)
		}
	case NetworkBroker:
		if t.Address != "" {
			return fmt.Errorf("%w: the broker's streams have no address", ErrTarget)
		}
	default:
		return fmt.Errorf("%w: network is unknown", ErrTarget)
	}
	if t.SessionID == "" {
		return fmt.Errorf("%w: session id is missing", ErrTarget)
	}
	if t.ClosesAt.IsZero() {
		return fmt.Errorf("%w: end of session is missing", ErrTarget)
	}
	return nil
}

// CheckRequest asks which of the proxy's open sessions have to end.
type CheckRequest struct {
	Sessions []string `json:"sessions"`
}

// CheckReply lists them.
type CheckReply struct {
	Ended []Ended `json:"ended"`
}

// Ended is a session that has to end, and why.
type Ended struct {
	SessionID string `json:"sessionID"`
	Reason    Reason `json:"reason"`
}

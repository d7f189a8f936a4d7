package vnctest

import (
	"bufio"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"gantry/internal/consoleapi"
	"gantry/internal/tlspin"
)

// APIToken is what PVE wants in Authorization.
const APIToken = "PVEAPIToken=gantry@pve!console=1ee0b0e6-8a4b-4c0a-9b7e-000000000000"

// PVE is a node's vncwebsocket on TLS in front of a Screen: one-time tickets, API token, subprotocol "binary", strict frames.
type PVE struct {
	Screen *Screen
	server *httptest.Server

	mu         sync.Mutex
	status     int // answered instead of a websocket; 0 = none
	tickets    map[string]bool
	reuse      bool
	violations []string
	conns      map[*frameConn]bool
}

// NewPVE starts a node on loopback; end it with Close.
func NewPVE(screen *Screen) *PVE {
	p := &PVE{Screen: screen, tickets: map[string]bool{}, conns: map[*frameConn]bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api2/json/nodes/pve1/qemu/101/vncwebsocket", p.console)
	p.server = httptest.NewTLSServer(mux)
	return p
}

// Close ends the node and its consoles.
func (p *PVE) Close() {
	p.HangUp()
	p.server.Close()
}

// HangUp ends the open consoles, as when the guest is powered off.
func (p *PVE) HangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		_ = conn.conn.Close() // whoever reads it finds out
	}
}

// Answer makes the node answer every console with an HTTP status instead; 0 ends that.
func (p *PVE) Answer(status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status = status
}

// ReuseTickets lets one ticket open many consoles, for benchmarks.
func (p *PVE) ReuseTickets() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reuse = true
}

// Violations lists the breaches of protocol that were met.
func (p *PVE) Violations() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.violations...)
}

func (p *PVE) violation(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.violations = append(p.violations, text)
}

// Target issues a ticket, as POST vncproxy does, and gives the console's target. The caller fills in VM, session and times.
func (p *PVE) Target() consoleapi.Target {
	ticket := "PVEVNC:" + rand.Text() + "::" + rand.Text()
	p.mu.Lock()
	p.tickets[ticket] = true
	p.mu.Unlock()
	query := url.Values{"port": {"5900"}, "vncticket": {ticket}}
	return consoleapi.Target{
		Network:     consoleapi.NetworkWebSocket,
		Address:     "wss" + strings.TrimPrefix(p.server.URL, "https") + "/api2/json/nodes/pve1/qemu/101/vncwebsocket?" + query.Encode(),
		Header:      map[string]string{"Authorization": APIToken},
		TLSPin:      tlspin.Of(p.server.Certificate()),
		Subprotocol: "binary",
		VNCPassword: p.Screen.Password,
	}
}

// refusal is the status with which PVE turns a request away, or 0. The real one also says why in the status line's reason, which
// net/http can't set and nobody may rely on.
func (p *PVE) refusal(r *http.Request) (status int) {
	query := r.URL.Query()
	port, err := strconv.Atoi(query.Get("port"))
	p.mu.Lock()
	defer p.mu.Unlock()
	ticket := query.Get("vncticket")
	switch {
	case p.status != 0:
		return p.status
	case r.Header.Get("Authorization") != APIToken:
		return http.StatusUnauthorized
	case err != nil || port < 5900 || port > 5999:
		return http.StatusBadRequest
	case !p.tickets[ticket]:
		return http.StatusUnauthorized
	case r.Header.Get("Sec-WebSocket-Protocol") != "binary":
		p.violations = append(p.violations, "subprotocol "+r.Header.Get("Sec-WebSocket-Protocol"))
		return http.StatusBadRequest
	case r.Header.Get("Sec-WebSocket-Extensions") != "":
		p.violations = append(p.violations, "extensions "+r.Header.Get("Sec-WebSocket-Extensions"))
		return http.StatusBadRequest
	}
	if !p.reuse {
		delete(p.tickets, ticket)
	}
	return 0
}

func (p *PVE) console(w http.ResponseWriter, r *http.Request) {
	if status := p.refusal(r); status != 0 {
		w.WriteHeader(status)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		p.violation("hijack: " + err.Error())
		return
	}
	defer conn.Close()
	accept := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // RFC 6455 §1.3
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"+
		"Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: binary\r\n\r\n", base64.StdEncoding.EncodeToString(accept[:]))
	frames := &frameConn{conn: conn, in: bufio.NewReader(buffered.Reader)}
	p.mu.Lock()
	p.conns[frames] = true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.conns, frames)
		p.mu.Unlock()
	}()
	if err := p.Screen.Serve(frames); err != nil && isViolation(err) {
		p.violation(err.Error())
	}
}

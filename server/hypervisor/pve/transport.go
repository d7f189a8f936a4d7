package pve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"

	"gantry/internal/tlspin"
	"gantry/server/broker"
)

const (
	dialTimeout = 5 * time.Second
	tlsTimeout  = 10 * time.Second
	// replyTimeout is longer than pveproxy's own: it gives up on another node or daemon after 30 s, and delays each 401 by 3 s.
	replyTimeout = 45 * time.Second
	// requestTimeout bounds a request with its body.
	requestTimeout = 60 * time.Second
	// idleTimeout is shorter than pveproxy's keep-alive of 5 s, so that a request seldom meets a connection that is being closed.
	idleTimeout = 4 * time.Second
	// maxInFlight is a cluster's share: pvedaemon and pveproxy have 3 workers each, more requests would only wait there.
	maxInFlight  = 16
	maxReply     = 64 << 20
	maxErrorBody = 64 << 10
)

// transport carries every request to one cluster, ours and go-proxmox's. It adds the credential and turns everything but a whole
// 2xx answer into a *broker.Error, which go-proxmox passes on; so its own error handling is never reached.
//
// No request is repeated here, and net/http repeats only GETs and what it never began to write. The one exception is a 401 with
// a ticket: PVE refuses before it looks at the request, so it is sent once more after a new login.
type transport struct {
	wire       http.RoundTripper
	idle       interface{ CloseIdleConnections() }
	credential credential
	slots      chan struct{}
	closed     atomic.Bool
	// unpinned transports carry requests of a Probe only.
	unpinned bool
	// skew is the hypervisor's clock minus ours in nanoseconds, by the newest answer's Date header.
	skew atomic.Int64
	now  func() time.Time
}

// newTransport makes a transport that speaks only to the peer with the pin. A zero pin is learnt by learn at first use.
func newTransport(pin tlspin.Pin, learn func(tlspin.Pin) error, who credential, now func() time.Time) *transport {
	config := tlspin.Pinned(pin)
	if pin.IsZero() {
		config = tlspin.FirstUse(learn)
	}
	wire := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:        config, // HTTP/1.1 only: pveproxy speaks nothing else
		TLSHandshakeTimeout:    tlsTimeout,
		ResponseHeaderTimeout:  replyTimeout,
		IdleConnTimeout:        idleTimeout,
		MaxIdleConnsPerHost:    maxInFlight,
		MaxConnsPerHost:        maxInFlight,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // packing costs more than the LAN saves
	}
	return &transport{wire: wire, idle: wire, credential: who, slots: make(chan struct{}, maxInFlight), unpinned: pin.IsZero(), now: now}
}

// probing marks the context of a Probe.
type probing struct{}

func (t *transport) close() {
	t.closed.Store(true)
	t.idle.CloseIdleConnections()
}

// RoundTrip sends a request with the credential. The answer's body is in memory.
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx := request.Context()
	if t.closed.Load() {
		return nil, broker.Errorf(broker.Unreachable, "the driver is closed")
	}
	if t.unpinned && ctx.Value(probing{}) == nil {
		return nil, broker.InvalidField("tlsPin", "the hypervisor's certificate is not pinned yet: probe it first")
	}
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
	case <-ctx.Done():
		return nil, unreachable("no answer in time: too many requests are under way", context.Cause(ctx))
	}
	for again := false; ; again = true {
		proof, err := t.credential.proof(ctx, t.login)
		if err != nil {
			return nil, err
		}
		copied, err := withProof(request, proof)
		if err != nil {
			return nil, err
		}
		response, status, err := t.exchange(copied)
		if status == http.StatusUnauthorized && !again && t.credential.expire(proof) {
			continue
		}
		return response, err
	}
}

func withProof(request *http.Request, proof http.Header) (*http.Request, error) {
	copied := request.Clone(request.Context())
	for name, values := range proof {
		copied.Header[name] = values
	}
	if request.GetBody != nil {
		body, err := request.GetBody()
		if err != nil {
			return nil, fmt.Errorf("rewind the request's body: %w", err)
		}
		copied.Body = body
	}
	return copied, nil
}

// login sends a request without a credential, for credentials that need a ticket. The slot of the request that asks is used.
func (t *transport) login(request *http.Request) (*http.Response, error) {
	response, _, err := t.exchange(request)
	return response, err
}

// exchange sends a request once and reads the whole answer. The status is 0 when there was none.
func (t *transport) exchange(request *http.Request) (*http.Response, int, error) {
	ctx, cancel := context.WithTimeout(request.Context(), requestTimeout)
	defer cancel()
	var connected atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	response, err := t.wire.RoundTrip(request.WithContext(traced))
	if err != nil {
		return nil, 0, t.broken(request, connected.Load(), err)
	}
	defer response.Body.Close()
	t.measureSkew(response.Header.Get("Date"))
	limit := int64(maxReply)
	if response.StatusCode/100 != 2 {
		limit = maxErrorBody
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if response.StatusCode/100 != 2 {
		return nil, response.StatusCode, failedReply(request.Method, response.StatusCode, reasonPhrase(response.Status), body)
	}
	if err != nil {
		return nil, response.StatusCode, t.broken(request, true, err)
	}
	if int64(len(body)) > limit {
		return nil, response.StatusCode, broker.Errorf(broker.Failed, "Proxmox VE's answer is longer than %d MiB", maxReply>>20)
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	response.ContentLength = int64(len(body))
	return response, response.StatusCode, nil
}

// broken is the error of a request without a whole answer. Once there was a connection, a changing request may have arrived.
func (t *transport) broken(request *http.Request, connected bool, err error) error {
	var mismatch *tlspin.MismatchError
	if errors.As(err, &mismatch) {
		return &broker.Error{Kind: broker.HypervisorAuth, Detail: "the hypervisor's certificate is not the pinned one: " + mismatch.Error(), Err: err}
	}
	if connected && request.Method != http.MethodGet {
		return &broker.Error{Kind: broker.UnknownOutcome, Detail: "the reply of Proxmox VE was lost: " + plainCause(err), Err: err}
	}
	return unreachable(plainCause(err), err)
}

func unreachable(detail string, err error) error {
	failure := broker.Because(broker.Unreachable, broker.ReasonHypervisorUnreachable, detail)
	failure.Err = err
	return failure
}

// plainCause says in few words why a connection failed, without addresses of ours.
func plainCause(err error) string {
	var timeout interface{ Timeout() bool }
	var name *net.DNSError
	var system *net.OpError
	switch {
	case errors.Is(err, context.Canceled):
		return "the call was given up"
	case errors.As(err, &name):
		return "host name " + name.Name + " is not known"
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was cut"
	case errors.As(err, &system):
		return system.Err.Error()
	}
	return err.Error()
}

// reasonPhrase is what follows the code in a status line.
func reasonPhrase(status string) string {
	_, reason, _ := strings.Cut(status, " ")
	return reason
}

func (t *transport) measureSkew(date string) {
	theirs, err := http.ParseTime(date)
	if err == nil {
		// The header has whole seconds, cut off: half a second more is right on average.
		t.skew.Store(int64(theirs.Add(500 * time.Millisecond).Sub(t.now())))
	}
}

// onTheirClock is a time of ours as the hypervisor's clock shows it.
func (t *transport) onTheirClock(ours time.Time) time.Time {
	return ours.Add(time.Duration(t.skew.Load()))
}

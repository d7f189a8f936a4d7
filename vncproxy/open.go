package vncproxy

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/coder/websocket"

	"gantry/internal/consoleapi"
	"gantry/vncproxy/rfb"
)

// open answers GET /console/ws?token=…. Whatever can be refused without a websocket is refused before the token is spent;
// all else is told by close code, as a browser shows a page nothing of a failed HTTP answer.
func (p *Proxy) open(w http.ResponseWriter, r *http.Request) {
	if !isUpgrade(r) {
		http.Error(w, "this address is for websockets", http.StatusUpgradeRequired)
		return
	}
	if !p.originAllowed(r) {
		http.Error(w, "origin not allowed", http.StatusForbidden)
		return
	}
	began := time.Now()
	client := p.clientAddress(r)
	if reason := p.sessions.reserve(client); reason != "" {
		p.refuse(w, r, client, consoleapi.Refuse(reason))
		return
	}
	target, refusal := p.redeem(w, r, client)
	if refusal != nil {
		p.refuse(w, r, client, refusal) // holds its place meanwhile, so that bad links don't get more room than good ones
		p.sessions.release(client)
		return
	}
	browser, err := accept(w, r)
	if err != nil {
		p.sessions.release(client)
		return // Accept has answered
	}
	// The handler returns, so that the request and the server's stack don't stay in memory for the life of the console.
	go func() {
		defer p.sessions.release(client)
		p.run(browser, target, client, began)
	}()
}

// isUpgrade tells whether Accept will take the request, origin aside: a token must not be spent on anything else.
func isUpgrade(r *http.Request) bool {
	return r.ProtoAtLeast(1, 1) && r.ProtoMajor == 1 && hasWord(r.Header.Values("Connection"), "upgrade") &&
		hasWord(r.Header.Values("Upgrade"), "websocket") && r.Header.Get("Sec-WebSocket-Version") == "13" &&
		len(r.Header.Values("Sec-WebSocket-Key")) == 1 && r.Header.Get("Sec-WebSocket-Key") != ""
}

func hasWord(values []string, word string) bool {
	for _, value := range values {
		for _, part := range strings.Split(value, ",") {
			if strings.EqualFold(strings.TrimSpace(part), word) {
				return true
			}
		}
	}
	return false
}

// accept upgrades the request. The origin was checked before the token was spent, by a rule that Accept does not know.
func accept(w http.ResponseWriter, r *http.Request) (*websocket.Conn, error) {
	return websocket.Accept(slimHijacker{w}, r, &websocket.AcceptOptions{
		Subprotocols:    []string{"binary"},
		OriginPatterns:  []string{"*"},
		CompressionMode: websocket.CompressionDisabled,
	})
}

// refuse upgrades the request only to close it with the reason.
func (p *Proxy) refuse(w http.ResponseWriter, r *http.Request, client netip.Addr, refusal *consoleapi.Refusal) {
	p.metrics.closed.WithLabelValues(string(refusal.Reason)).Inc()
	p.log.Info("console refused", "client", client, "reason", refusal.Reason, "cause", refusal.Error())
	browser, err := accept(w, r)
	if err != nil {
		return // Accept has answered
	}
	sayGoodbye(browser, refusal)
}

// redeem trades the request's token and cookie for a target, and puts the cookie into the coming answer where the token now
// belongs, or may belong, to this browser.
func (p *Proxy) redeem(w http.ResponseWriter, r *http.Request, client netip.Addr) (grant, *consoleapi.Refusal) {
	token, err := consoleapi.ParseToken(r.URL.Query().Get("token"))
	if err != nil {
		return grant{}, consoleapi.Refuse(consoleapi.ReasonLinkInvalid)
	}
	presented := presentedKey(r, token)
	fresh := consoleapi.NewSessionKey()
	ctx, cancel := context.WithTimeout(p.stopping, p.config.RedeemTimeout)
	defer cancel()
	reply, err := p.broker.Redeem(ctx, consoleapi.RedeemRequest{
		Token: token, SessionKey: presented, FreshKey: fresh, ClientIP: addressText(client),
	})
	var refusal *consoleapi.Refusal
	switch {
	case err == nil:
		key := presented
		if reply.Bound {
			p.setCookie(w, r, token, fresh)
			key = fresh
		}
		return grant{Target: reply.Target, stream: consoleapi.StreamRequest{Token: token, SessionKey: key}}, nil
	case errors.As(err, &refusal):
		if refusal.Bound {
			p.setCookie(w, r, token, fresh)
		}
		return grant{}, refusal
	case p.stopping.Err() != nil:
		return grant{}, consoleapi.Refuse(consoleapi.ReasonShuttingDown)
	}
	if presented == "" {
		// The answer was lost and the token may be bound to the fresh key: with the cookie the browser can try again.
		p.setCookie(w, r, token, fresh)
	}
	return grant{}, &consoleapi.Refusal{Reason: consoleapi.ReasonBrokerUnreachable, Err: err}
}

// run opens the target, lets the browser in and moves bytes until the end.
func (p *Proxy) run(browser *websocket.Conn, to grant, client netip.Addr, began time.Time) {
	log := p.log.With("session", to.SessionID, "vm", to.VMID, "client", client)
	s := &session{
		id: to.SessionID, vm: to.VMID, client: client, closesAt: to.ClosesAt,
		browser: newFrameStream(browser), goodbyes: make(chan struct{}),
	}
	refusal := p.connect(s, to)
	if refusal == nil {
		defer p.sessions.remove(s)
		p.metrics.opening.Observe(time.Since(began).Seconds())
		log.Info("console opened", "network", to.Network)
		s.pump(p.down, p.up, p.metrics)
		refusal = s.refusal
	} else {
		sayGoodbye(browser, refusal)
	}
	p.metrics.closed.WithLabelValues(string(refusal.Reason)).Inc()
	log.Info("console closed", "reason", refusal.Reason, "cause", refusal.Error(), "seconds", int(time.Since(began).Seconds()),
		"bytes_down", s.down.out.Load(), "bytes_up", s.up.out.Load())
}

// connect opens the target and both RFB sides and enters the session into the registry. On refusal nothing stays open but the browser.
func (p *Proxy) connect(s *session, to grant) *consoleapi.Refusal {
	if err := p.openTarget(s, to); err != nil {
		if p.stopping.Err() != nil {
			return consoleapi.Refuse(consoleapi.ReasonShuttingDown)
		}
		return targetFailure(err)
	}
	letIn, patience := func() error { return rfb.Serve(s.browser) }, p.config.ConnectTimeout
	if to.ViewerPassword != "" {
		letIn, patience = func() error { return rfb.ServeAsking(s.browser, to.ViewerPassword) }, p.config.PasswordTimeout
	}
	ctx, cancel := context.WithTimeout(p.stopping, patience)
	defer cancel()
	drop := func() { _ = s.browser.conn.CloseNow() } // fails only when it is closed already
	if err := bounded(ctx, drop, letIn); err != nil {
		s.target.close()
		return browserFailure(err)
	}
	displaced, reason := p.sessions.add(s)
	if reason != "" {
		s.target.close()
		return consoleapi.Refuse(reason)
	}
	if displaced != nil {
		displaced.end(consoleapi.Refuse(consoleapi.ReasonTakenOver))
	}
	return nil
}

func (p *Proxy) openTarget(s *session, to grant) error {
	ctx, cancel := context.WithTimeout(p.stopping, p.config.ConnectTimeout)
	defer cancel()
	opened, err := p.dial(ctx, to)
	if err != nil {
		return err
	}
	if err := bounded(ctx, opened.close, func() error { return rfb.Connect(opened, to.VNCPassword) }); err != nil {
		opened.close()
		return err
	}
	s.target = opened
	return nil
}

// bounded runs talk and cuts it short with hangUp when ctx ends; the error is ctx's then.
func bounded(ctx context.Context, hangUp func(), talk func() error) error {
	stop := context.AfterFunc(ctx, hangUp)
	err := talk()
	if !stop() {
		return ctx.Err()
	}
	return err
}

package pve

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/luthermonson/go-proxmox"

	"gantry/server/broker"
)

// credential proves to PVE who we are.
type credential interface {
	// identity is how PVE names us in UPIDs: "user@realm" or "user@realm!token".
	identity() string
	// proof gives the headers to send. It may log in, with send, which sends a request without credential.
	proof(ctx context.Context, send sender) (http.Header, error)
	// expire is told that PVE refused a proof with 401. It tells whether a new one can be had.
	expire(proof http.Header) bool
}

type sender func(*http.Request) (*http.Response, error)

// apiToken is an API token: nothing to renew, no CSRF.
type apiToken struct{ id, secret string }

func (t apiToken) identity() string        { return t.id }
func (t apiToken) expire(http.Header) bool { return false }

func (t apiToken) proof(context.Context, sender) (http.Header, error) {
	return http.Header{"Authorization": {"PVEAPIToken=" + t.id + "=" + t.secret}}, nil
}

// renewAfter is half of a ticket's life of two hours.
const renewAfter = time.Hour

// passwordLogin logs in with a password and renews the ticket at half life with the ticket itself, so that second factors and
// slow realms are asked seldom. All requests that need a ticket at once wait for one login.
type passwordLogin struct {
	base, user, password string
	now                  func() time.Time

	mu      sync.Mutex
	headers http.Header
	ticket  string
	since   time.Time
	pending *loginAttempt
}

type loginAttempt struct {
	done    chan struct{}
	headers http.Header
	err     error
}

func (l *passwordLogin) identity() string { return l.user }

func (l *passwordLogin) expire(refused http.Header) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	// Another request may have logged in since: then its ticket is tried.
	if l.headers != nil && l.headers.Get("Cookie") == refused.Get("Cookie") {
		l.headers, l.ticket = nil, ""
	}
	return true
}

func (l *passwordLogin) proof(ctx context.Context, send sender) (http.Header, error) {
	l.mu.Lock()
	if l.headers != nil && l.now().Sub(l.since) < renewAfter {
		defer l.mu.Unlock()
		return l.headers, nil
	}
	attempt := l.pending
	if attempt == nil {
		attempt = &loginAttempt{done: make(chan struct{})}
		l.pending = attempt
		// The login serves all who wait, so it must not end with the one that began it.
		go l.login(context.WithoutCancel(ctx), send, attempt, l.ticket)
	}
	l.mu.Unlock()
	select {
	case <-attempt.done:
		return attempt.headers, attempt.err
	case <-ctx.Done():
		return nil, unreachable("no answer to the login in time", context.Cause(ctx))
	}
}

func (l *passwordLogin) login(ctx context.Context, send sender, attempt *loginAttempt, ticket string) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	session, err := (*proxmox.Session)(nil), error(nil)
	if ticket != "" {
		session, err = l.ask(ctx, send, ticket)
	}
	if ticket == "" || broker.Is(err, broker.HypervisorAuth) {
		session, err = l.ask(ctx, send, l.password)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending = nil
	if err == nil {
		l.ticket, l.since = session.Ticket, l.now()
		l.headers = http.Header{
			"Cookie":              {"PVEAuthCookie=" + url.QueryEscape(session.Ticket)},
			"Csrfpreventiontoken": {session.CSRFPreventionToken},
		}
		attempt.headers = l.headers
	}
	attempt.err = err
	close(attempt.done)
}

func (l *passwordLogin) ask(ctx context.Context, send sender, password string) (*proxmox.Session, error) {
	form := url.Values{"username": {l.user}, "password": {password}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, l.base+"/access/ticket", strings.NewReader(form))
	if err != nil {
		return nil, &broker.Error{Kind: broker.Internal, Err: err}
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := send(request)
	switch {
	case broker.Is(err, broker.UnknownOutcome):
		return nil, unreachable("the login was not answered", err) // a login changes nothing
	case broker.Is(err, broker.HypervisorAuth):
		return nil, &broker.Error{Kind: broker.HypervisorAuth, Detail: "Proxmox VE refused user or password", Err: err}
	case err != nil:
		return nil, err
	}
	defer response.Body.Close()
	var answer struct {
		Data struct {
			proxmox.Session
			NeedTFA json.RawMessage `json:"NeedTFA"`
		} `json:"data"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return nil, &broker.Error{Kind: broker.Failed, Detail: "Proxmox VE's answer to the login can't be read", Err: err}
	}
	if needed := string(answer.Data.NeedTFA); needed != "" && needed != "0" && needed != "null" && needed != "false" {
		return nil, broker.Errorf(broker.HypervisorAuth, "user %s has a second factor: use an API token", l.user)
	}
	if answer.Data.Ticket == "" {
		return nil, broker.Errorf(broker.HypervisorAuth, "Proxmox VE gave no ticket to %s", l.user)
	}
	return &answer.Data.Session, nil
}

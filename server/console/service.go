package console

import (
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"gantry/internal/consoleapi"
	"gantry/server/broker"
)

// Defaults of Config.
const (
	DefaultFirstUse   = 5 * time.Minute
	DefaultMaxSession = 2 * time.Hour
)

// targetTimeout bounds how long a hypervisor may take to hand out a console target.
const targetTimeout = 20 * time.Second

// maxIssuedTo bounds StoredToken.IssuedTo.
const maxIssuedTo = 100

// Config holds the lifetimes of links.
type Config struct {
	// FirstUse is how long an unopened link stays good.
	FirstUse time.Duration
	// MaxSession is how long a browser may use the console after it opened the link, reconnects included.
	MaxSession time.Duration
}

// Service issues and redeems console links. It implements consoleapi.Broker and is safe for concurrent use.
type Service struct {
	config  Config
	tokens  TokenStore
	targets TargetSource
	now     func() time.Time
}

// New makes a service. A lifetime of zero means its default.
func New(config Config, tokens TokenStore, targets TargetSource, now func() time.Time) *Service {
	if config.FirstUse <= 0 {
		config.FirstUse = DefaultFirstUse
	}
	if config.MaxSession <= 0 {
		config.MaxSession = DefaultMaxSession
	}
	return &Service{config: config, tokens: tokens, targets: targets, now: now}
}

// IssueRequest asks for a link. The caller has checked that the asker may see the VM's screen.
type IssueRequest struct {
	VMID int64
	// ProxyURL is the public base URL of the console proxy: ConsoleNode.URL.
	ProxyURL string
	// IssuedTo says who asked, for the audit.
	IssuedTo string
	// ClientIP restricts the link to one browser address. The zero value allows any: a billing system asks from its own address.
	ClientIP netip.Addr
}

// Link is a console link that was issued. URL holds the secret: show it once, never log it.
type Link struct {
	URL       string
	SessionID string
	ExpiresAt time.Time // last moment of the first use
}

// Issue makes a one-time link. broker.Invalid names a bad field; store errors pass through.
func (s *Service) Issue(ctx context.Context, request IssueRequest) (Link, error) {
	if request.VMID <= 0 {
		return Link{}, broker.InvalidField("vmID", "must be positive")
	}
	if len(request.IssuedTo) > maxIssuedTo {
		return Link{}, broker.InvalidField("issuedTo", "has more than %d characters", maxIssuedTo)
	}
	base, err := url.Parse(request.ProxyURL)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return Link{}, broker.InvalidField("proxyURL", "is not an http:// or https:// URL")
	}
	secret := consoleapi.NewToken()
	now := s.now().UTC()
	token := StoredToken{
		Hash:      secret.Hash(),
		SessionID: rand.Text(),
		VMID:      request.VMID,
		IssuedTo:  request.IssuedTo,
		IssuedAt:  now,
		ExpiresAt: now.Add(s.config.FirstUse),
	}
	if request.ClientIP.IsValid() {
		token.ClientIP = request.ClientIP.Unmap().String()
	}
	if err := s.tokens.Insert(ctx, token); err != nil {
		return Link{}, broker.Wrap(err, "store console token")
	}
	return Link{URL: linkURL(base, secret), SessionID: token.SessionID, ExpiresAt: token.ExpiresAt}, nil
}

// linkURL puts the token into the fragment, which browsers send to nobody: it can't land in an access log or a Referer.
func linkURL(base *url.URL, secret consoleapi.Token) string {
	page := url.URL{Scheme: base.Scheme, Host: base.Host, Path: strings.TrimRight(base.Path, "/") + "/console/"}
	return page.String() + "#token=" + string(secret)
}

// Redeem trades a token for a fresh target of its VM. Refusals are *consoleapi.Refusal; the token stays bound to the browser
// when only the target could not be had, so the browser may try again.
func (s *Service) Redeem(ctx context.Context, request consoleapi.RedeemRequest) (consoleapi.RedeemReply, error) {
	now := s.now().UTC()
	token, err := s.tokens.Find(ctx, request.Token.Hash())
	if broker.Is(err, broker.NotFound) {
		return consoleapi.RedeemReply{}, consoleapi.Refuse(consoleapi.ReasonLinkInvalid)
	}
	if err != nil {
		return consoleapi.RedeemReply{}, broker.Wrap(err, "find console token")
	}
	if err := admit(token, request, now); err != nil {
		return consoleapi.RedeemReply{}, err
	}
	bound := token.UsedAt == nil
	if bound {
		if token, err = s.bind(ctx, token, request.FreshKey, now); err != nil {
			return consoleapi.RedeemReply{}, err
		}
	}
	target, err := s.target(ctx, token.VMID)
	if err != nil {
		refusal := refusalOf(err)
		refusal.Bound = bound
		return consoleapi.RedeemReply{}, refusal
	}
	target.VMID, target.SessionID, target.ClosesAt = token.VMID, token.SessionID, *token.ClosesAt
	return consoleapi.RedeemReply{Target: target, Bound: bound}, nil
}

// admit tells whether the browser may open the token at all; the first use is still to be fought out in the store.
func admit(token StoredToken, request consoleapi.RedeemRequest, now time.Time) error {
	switch {
	case token.RevokedAt != nil:
		return consoleapi.Refuse(consoleapi.ReasonEndedByAdmin)
	case token.ClientIP != "" && token.ClientIP != request.ClientIP:
		return consoleapi.Refuse(consoleapi.ReasonWrongAddress)
	case token.UsedAt == nil && now.After(token.ExpiresAt):
		return consoleapi.Refuse(consoleapi.ReasonLinkExpired)
	case token.UsedAt != nil && token.SessionKeyHash != request.SessionKey.Hash():
		return consoleapi.Refuse(consoleapi.ReasonLinkUsed)
	case token.UsedAt != nil && !now.Before(*token.ClosesAt):
		return consoleapi.Refuse(consoleapi.ReasonSessionOver)
	}
	return nil
}

// bind consumes the token for the browser that gets the fresh key.
func (s *Service) bind(ctx context.Context, token StoredToken, key consoleapi.SessionKey, now time.Time) (StoredToken, error) {
	use := Use{SessionKeyHash: key.Hash(), UsedAt: now, ClosesAt: now.Add(s.config.MaxSession)}
	consumed, err := s.tokens.Consume(ctx, token.Hash, use)
	if err != nil {
		return StoredToken{}, broker.Wrap(err, "consume console token")
	}
	if !consumed { // another browser was faster, or the operator revoked it just now
		return StoredToken{}, consoleapi.Refuse(consoleapi.ReasonLinkUsed)
	}
	token.SessionKeyHash, token.UsedAt, token.ClosesAt = use.SessionKeyHash, &use.UsedAt, &use.ClosesAt
	return token, nil
}

func (s *Service) target(ctx context.Context, vmID int64) (consoleapi.Target, error) {
	ctx, cancel := context.WithTimeout(ctx, targetTimeout)
	defer cancel()
	return s.targets.ConsoleTarget(ctx, vmID)
}

// Stream opens the screen of a session for the proxy that redeemed its token. Refusals are *consoleapi.Refusal.
func (s *Service) Stream(ctx context.Context, request consoleapi.StreamRequest) (consoleapi.Stream, error) {
	token, err := s.tokens.Find(ctx, request.Token.Hash())
	switch {
	case broker.Is(err, broker.NotFound), err == nil && token.UsedAt == nil:
		return consoleapi.Stream{}, consoleapi.Refuse(consoleapi.ReasonLinkInvalid)
	case err != nil:
		return consoleapi.Stream{}, broker.Wrap(err, "find console token")
	}
	// Whether the address is the right one was decided when the token was redeemed: here the proxy asks, not the browser.
	if err := admit(token, consoleapi.RedeemRequest{SessionKey: request.SessionKey, ClientIP: token.ClientIP}, s.now().UTC()); err != nil {
		return consoleapi.Stream{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, targetTimeout)
	defer cancel()
	screen, err := s.targets.ConsoleStream(ctx, token.VMID)
	if err != nil {
		return consoleapi.Stream{}, refusalOf(err)
	}
	return consoleapi.Stream{Conn: screen, SessionID: token.SessionID, ClosesAt: *token.ClosesAt}, nil
}

// Check lists those of the sessions whose consoles have to be closed: revoked, over, or not known here.
func (s *Service) Check(ctx context.Context, sessions []string) ([]consoleapi.Ended, error) {
	tokens, err := s.tokens.FindSessions(ctx, sessions)
	if err != nil {
		return nil, broker.Wrap(err, "find console sessions")
	}
	now := s.now()
	verdicts := make(map[string]consoleapi.Reason, len(tokens))
	for _, token := range tokens {
		switch {
		case token.RevokedAt != nil:
			verdicts[token.SessionID] = consoleapi.ReasonEndedByAdmin
		case token.ClosesAt == nil || !now.Before(*token.ClosesAt):
			verdicts[token.SessionID] = consoleapi.ReasonSessionOver
		default:
			verdicts[token.SessionID] = ""
		}
	}
	ended := []consoleapi.Ended{}
	for _, session := range sessions {
		reason, found := verdicts[session]
		if !found {
			reason = consoleapi.ReasonSessionOver
		}
		if reason != "" {
			ended = append(ended, consoleapi.Ended{SessionID: session, Reason: reason})
		}
	}
	return ended, nil
}

// RevokeVM ends all links and open consoles of a VM; proxies close them at their next check. Call it when the VM is deleted,
// suspended, handed to another customer, or when an operator asks.
func (s *Service) RevokeVM(ctx context.Context, vmID int64) (int, error) {
	count, err := s.tokens.RevokeVM(ctx, vmID, s.now().UTC())
	return count, broker.Wrap(err, "revoke console tokens")
}

// DeleteExpired forgets links that can't be used any more, a day late so that a late browser still learns why it was refused.
func (s *Service) DeleteExpired(ctx context.Context) (int, error) {
	total := 0
	for {
		count, err := s.tokens.DeleteExpired(ctx, s.now().UTC().Add(-24*time.Hour))
		total += count
		if err != nil {
			return total, broker.Wrap(err, "delete expired console tokens")
		}
		if count == 0 {
			return total, nil
		}
	}
}

// refusalOf turns a driver's error into a reason that a browser may see.
func refusalOf(err error) *consoleapi.Refusal {
	var refusal *consoleapi.Refusal
	if errors.As(err, &refusal) {
		own := *refusal // the driver's may be shared
		return &own
	}
	var failure *broker.Error
	if errors.As(err, &failure) && failure.Reason == broker.ReasonVMNotRunning {
		return &consoleapi.Refusal{Reason: consoleapi.ReasonGuestOff, Err: err}
	}
	reason := consoleapi.ReasonInternal
	detail := ""
	switch broker.KindOf(err) {
	case broker.NotFound:
		reason = consoleapi.ReasonGuestGone
	case broker.Locked, broker.Conflict:
		reason = consoleapi.ReasonGuestBusy
	case broker.Busy, broker.Exhausted:
		reason = consoleapi.ReasonTooMany
	case broker.Unreachable, broker.UnknownOutcome:
		reason = consoleapi.ReasonUnreachable
	case broker.HypervisorAuth:
		reason = consoleapi.ReasonTargetRefused
	case broker.Unsupported:
		reason = consoleapi.ReasonUnsupported
	case broker.Failed:
		reason, detail = consoleapi.ReasonTargetFailed, consoleapi.PlainText(broker.DetailOf(err))
	case broker.Internal:
		if errors.Is(err, context.DeadlineExceeded) {
			reason = consoleapi.ReasonUnreachable
		}
	}
	return &consoleapi.Refusal{Reason: reason, Detail: detail, Err: err}
}

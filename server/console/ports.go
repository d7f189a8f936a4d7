// Package console issues one-time links to the screens of virtual machines and redeems them for console proxies.
//
// A link carries a random token. The first proxy that redeems it in time binds it to one browser (a session key in a cookie);
// from then on only that browser may open it again, until the session's lifetime has passed. Each opening asks the hypervisor
// for a fresh target, so a short-lived hypervisor ticket never limits the session.
package console

import (
	"context"
	"net"
	"time"

	"gantry/internal/consoleapi"
)

// StoredToken is the stored side of a link. The secrets themselves are never stored, only their SHA-256.
type StoredToken struct {
	Hash      string // consoleapi.Token.Hash; primary key, 64 characters
	SessionID string // unique; names the session in logs, 26 characters
	VMID      int64
	// IssuedTo says who asked for the link, for the audit: "admin:1", "api:3". Free text, at most 100 characters.
	IssuedTo string
	// ClientIP restricts the link to one browser address; empty = any.
	ClientIP  string
	IssuedAt  time.Time
	ExpiresAt time.Time // last moment of the first use

	// Set together by Consume; zero before.
	SessionKeyHash string // consoleapi.SessionKey.Hash
	UsedAt         *time.Time
	ClosesAt       *time.Time // end of the session, reconnects included

	RevokedAt *time.Time
}

// Use is what Consume writes.
type Use struct {
	SessionKeyHash string
	UsedAt         time.Time
	ClosesAt       time.Time
}

// TokenStore keeps tokens. consoletest.Run proves an implementation. Errors are *broker.Error; times keep at least
// millisecond precision and compare equal whatever their time zone.
type TokenStore interface {
	// Insert adds a token as given. A hash or session id that is there already is broker.Exists.
	Insert(ctx context.Context, token StoredToken) error
	// Consume sets SessionKeyHash, UsedAt and ClosesAt of the token, in one atomic statement, if and only if it is unused, not
	// revoked, and not expired: use.UsedAt <= ExpiresAt. consumed tells whether this call did it: of any number of concurrent
	// calls exactly one gets true. A token that does not exist is false without an error.
	Consume(ctx context.Context, hash string, use Use) (consumed bool, err error)
	// Find gives the token with the hash, else broker.NotFound.
	Find(ctx context.Context, hash string) (StoredToken, error)
	// FindSessions gives the tokens with these session ids, in any order; unknown ids are left out. At most
	// consoleapi.MaxCheckedSessions ids are asked for at once.
	FindSessions(ctx context.Context, sessionIDs []string) ([]StoredToken, error)
	// RevokeVM sets RevokedAt of all tokens of a VM that have none yet and counts them.
	RevokeVM(ctx context.Context, vmID int64, at time.Time) (int, error)
	// DeleteExpired removes tokens that were never used and whose ExpiresAt is before the moment, and used ones whose ClosesAt is
	// before it, and counts them. It takes at most a few thousand a call, so it never holds a lock for long: call it again
	// while it returns more than 0.
	DeleteExpired(ctx context.Context, before time.Time) (int, error)
}

// TargetSource asks the hypervisor of a VM for its console.
type TargetSource interface {
	// ConsoleTarget gives a target that is good for a connection within the next seconds. Of the result Network, Address,
	// Header, TLSPin, Subprotocol, VNCPassword and VMLabel are used. Failures are *broker.Error of any kind, whose detail is
	// shown to the user for broker.Failed only; or a *consoleapi.Refusal where the reason is known, such as a guest that is off.
	ConsoleTarget(ctx context.Context, vmID int64) (consoleapi.Target, error)
	// ConsoleStream opens the screen itself, where ConsoleTarget says consoleapi.NetworkBroker. ctx bounds the opening only.
	ConsoleStream(ctx context.Context, vmID int64) (net.Conn, error)
}

// Package account knows who may come in: panel admins (password, JWT), billing systems (API keys) and console proxies (secrets).
//
// All errors are *broker.Error. Wrong credentials are Unauthenticated and never say which part was wrong.
package account

import (
	"context"
	"log/slog"
	"time"

	"gantry/server/broker"
)

// DefaultTokenLifetime is how long an admin's token is good.
const DefaultTokenLifetime = 120 * time.Minute

// Config sets a Service up.
type Config struct {
	Store broker.Store
	// TokenLifetime of 0 means DefaultTokenLifetime.
	TokenLifetime time.Duration
	// Now is the clock; nil = time.Now.
	Now func() time.Time
	Log *slog.Logger
}

// Service checks credentials. It is safe for concurrent use.
type Service struct {
	store    broker.Store
	lifetime time.Duration
	now      func() time.Time
	log      *slog.Logger
	signing  []byte        // HMAC key of tokens
	decoy    string        // hash that a login with an unknown name is compared with
	hashing  chan struct{} // a place for each hash that may be computed at once
	throttle *throttle
	keys     *keyCache
	consoles *consoleCache
}

// New opens the service. At the very first start it makes the key that signs admin tokens and stores it.
func New(ctx context.Context, config Config) (*Service, error) {
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.TokenLifetime <= 0 {
		config.TokenLifetime = DefaultTokenLifetime
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	signing, err := signingKey(ctx, config.Store)
	if err != nil {
		return nil, err
	}
	throttle, err := newThrottle(config.Now)
	if err != nil {
		return nil, broker.Wrap(err, "make the login throttle")
	}
	keys, err := newKeyCache(config.Now)
	if err != nil {
		return nil, broker.Wrap(err, "make the API key cache")
	}
	return &Service{
		store: config.Store, lifetime: config.TokenLifetime, now: config.Now, log: config.Log,
		signing: signing, decoy: decoyHash(), hashing: make(chan struct{}, hashesAtOnce),
		throttle: throttle, keys: keys, consoles: newConsoleCache(config.Now),
	}, nil
}

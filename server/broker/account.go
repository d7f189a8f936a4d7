package broker

import "time"

// Admin may log in to the panel.
type Admin struct {
	ID           int64
	UUID         string
	Username     string // unique
	PasswordHash string // argon2id
	Name         string
	Phone        string
	Email        string
	LoginAt      *time.Time
	// TokensAfter revokes older tokens: a token issued before it is refused.
	TokensAfter time.Time
	Disabled    bool
	CreatedAt   time.Time
	// TOTPSecret is that of the second factor (RFC 6238, base32), "" = none; encrypted at rest. TOTPStep is the time step of the
	// code that was taken last: a code is taken once.
	TOTPSecret string
	TOTPStep   int64
}

// InitialPassword tells that the admin has the password that somebody else chose.
func (a *Admin) InitialPassword() bool { return a.TokensAfter.IsZero() }

// APIKey is a billing system's credential. The secret is shown once and stored as SHA-256 (it has 128+ random bits).
type APIKey struct {
	ID         int64
	AppID      string // unique, decimal digits
	SecretHash string
	Hint       string // last four characters, for lists
	Info       string
	Disabled   bool
	CreatedAt  time.Time
}

// Order remembers what an idempotency key was used for; (APIKeyID, Key) is unique.
type Order struct {
	ID          int64
	APIKeyID    int64
	Key         string
	RequestHash string // SHA-256 of the canonical request
	VMID        int64  // VM.ID
	CreatedAt   time.Time
}

// AuditEntry records one write through the API.
type AuditEntry struct {
	ID        int64
	At        time.Time
	RequestID string
	Actor     string // "admin:name", "api:appid", "public"
	Address   string // client address
	Method    string
	Path      string
	Body      string // secrets masked, bounded
	Status    int
	Code      int
	Duration  time.Duration
}

// ConsoleNode is a registered vncproxy.
type ConsoleNode struct {
	ID        int64
	Name      string // unique
	URL       string // public base URL that browsers open
	Address   string // host:port where the broker reaches it; "" = as in URL
	Secret    string // SHA-256 of the proxy's secret
	Disabled  bool
	CreatedAt time.Time
	// Observed by the fleet; Healthy is nil while it was never looked at.
	Healthy   *bool
	CheckedAt *time.Time
	LastError string
}

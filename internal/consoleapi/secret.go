package consoleapi

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"log/slog"
)

// secretBytes is the entropy of tokens and session keys; secretLength their length as text.
const (
	secretBytes  = 32
	secretLength = 43
)

// ErrMalformed says that a text is no token or session key. It does not repeat the text.
var ErrMalformed = errors.New("malformed console token")

// Token is the secret of a console link: 32 random bytes in URL-safe base64.
type Token string

// SessionKey is the secret that a browser keeps in a cookie once its token was redeemed; same form as a Token.
type SessionKey string

// NewToken makes a token from the system's random source.
func NewToken() Token { return Token(randomText()) }

// NewSessionKey makes a session key from the system's random source.
func NewSessionKey() SessionKey { return SessionKey(randomText()) }

// ParseToken accepts exactly what NewToken makes; anything else is ErrMalformed.
func ParseToken(text string) (Token, error) {
	if !wellFormed(text) {
		return "", ErrMalformed
	}
	return Token(text), nil
}

// ParseSessionKey accepts exactly what NewSessionKey makes; anything else is ErrMalformed.
func ParseSessionKey(text string) (SessionKey, error) {
	if !wellFormed(text) {
		return "", ErrMalformed
	}
	return SessionKey(text), nil
}

// Hash is what a store keeps instead of the token: SHA-256 in hex, 64 characters. The token has 256 random bits, so a
// plain hash can't be searched backwards.
func (t Token) Hash() string { return hashText(string(t)) }

// Hash is what a store keeps instead of the session key.
func (k SessionKey) Hash() string { return hashText(string(k)) }

// LogValue keeps the token out of logs.
func (Token) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// LogValue keeps the key out of logs.
func (SessionKey) LogValue() slog.Value { return slog.StringValue("[redacted]") }

func randomText() string {
	var secret [secretBytes]byte
	rand.Read(secret[:]) // never fails: crypto/rand aborts the program when the system has no randomness
	return base64.RawURLEncoding.EncodeToString(secret[:])
}

func wellFormed(text string) bool {
	if len(text) != secretLength {
		return false
	}
	var secret [secretBytes]byte
	n, err := base64.RawURLEncoding.Strict().Decode(secret[:], []byte(text))
	return err == nil && n == secretBytes
}

func hashText(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

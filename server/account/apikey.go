package account

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
	"unicode/utf8"

	"gantry/server/broker"
)

const (
	keyBytes = 20 // 40 hex digits, 160 random bits
	// maxBasic bounds the header that is decoded.
	maxBasic = 1024
	// maxInfo bounds the note of a key, in characters.
	maxInfo = 255
	// maxAppIDTries bounds the search for a free appid: one try a millisecond that others took.
	maxAppIDTries = 1000
)

// NewAPIKey makes a key. The secret is told once, here; the store keeps its SHA-256, which is enough for 160 random bits.
// The appid is the present time in milliseconds, as the original has it, or the next one that is free.
func (s *Service) NewAPIKey(ctx context.Context, info string) (*broker.APIKey, string, error) {
	if utf8.RuneCountInString(info) > maxInfo {
		return nil, "", broker.InvalidField("info", "has more than %d characters", maxInfo)
	}
	var random [keyBytes]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, "", broker.Wrap(err, "make an API key")
	}
	secret := hex.EncodeToString(random[:])
	now := s.now().UTC()
	key := &broker.APIKey{SecretHash: hashSecret(secret), Hint: secret[len(secret)-4:], Info: info, CreatedAt: now}
	for try := range int64(maxAppIDTries) {
		key.AppID = strconv.FormatInt(now.UnixMilli()+try, 10)
		err := s.store.InsertAPIKey(ctx, key)
		if err == nil {
			return key, secret, nil
		}
		if !broker.Is(err, broker.Exists) {
			return nil, "", broker.Wrap(err, "store the API key")
		}
	}
	return nil, "", broker.Errorf(broker.Busy, "too many API keys are being made at once")
}

// SetAPIKeyDisabled switches a key off or on. Off holds at once in this process and within keyCacheTTL in its replicas.
func (s *Service) SetAPIKeyDisabled(ctx context.Context, id int64, disabled bool) error {
	var appID string
	err := s.store.Transact(ctx, func(tx broker.Tx) error {
		key, err := tx.FindAPIKey(ctx, id)
		if err != nil {
			return err
		}
		key.Disabled, appID = disabled, key.AppID
		return tx.UpdateAPIKey(ctx, key)
	})
	s.keys.forget(appID)
	return broker.Wrap(err, "store the API key")
}

// DeleteAPIKey ends a key for good.
func (s *Service) DeleteAPIKey(ctx context.Context, id int64) error {
	key, err := s.store.FindAPIKey(ctx, id)
	if err != nil {
		return broker.Wrap(err, "find the API key")
	}
	err = s.store.DeleteAPIKey(ctx, id)
	s.keys.forget(key.AppID)
	return broker.Wrap(err, "delete the API key")
}

// AuthenticateKey names the key that an Authorization header "Basic base64(appid:appkey)" holds. Unauthenticated covers every
// refusal: malformed, unknown, wrong, disabled.
func (s *Service) AuthenticateKey(ctx context.Context, header string) (*broker.APIKey, error) {
	refused := broker.Errorf(broker.Unauthenticated, "wrong appid or appkey")
	appID, secret, ok := parseBasic(header)
	if !ok {
		return nil, refused
	}
	key, err := s.keys.find(ctx, appID, s.store.FindAPIKeyByAppID)
	if broker.Is(err, broker.NotFound) {
		return nil, refused
	}
	if err != nil {
		return nil, broker.Wrap(err, "find the API key")
	}
	same := subtle.ConstantTimeCompare([]byte(hashSecret(secret)), []byte(key.SecretHash)) == 1
	if !same || key.Disabled {
		return nil, refused
	}
	return key, nil
}

// parseBasic reads a Basic header (RFC 7617); an appid is 1 to 20 decimal digits.
func parseBasic(header string) (appID, secret string, ok bool) {
	scheme, encoded, found := strings.Cut(strings.TrimSpace(header), " ")
	if !found || !strings.EqualFold(scheme, "Basic") || len(encoded) > maxBasic {
		return "", "", false
	}
	decoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil {
		return "", "", false
	}
	appID, secret, found = strings.Cut(string(decoded), ":")
	if !found || secret == "" || appID == "" || len(appID) > 20 || strings.Trim(appID, "0123456789") != "" {
		return "", "", false
	}
	return appID, secret, true
}

func hashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

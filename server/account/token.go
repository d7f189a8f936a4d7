package account

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"gantry/server/broker"
)

const (
	signingKeySetting = "jwt_key"
	signingKeyBytes   = 32
	// maxToken bounds what is parsed: our own tokens have about 300 characters.
	maxToken = 2048
)

// claims of an admin's token. IssuedMillis is iat with the precision that revocation needs: two logins in one second differ.
type claims struct {
	UUID         string `json:"uuid"`
	IssuedMillis int64  `json:"iatms"`
	jwt.RegisteredClaims
}

// signingKey reads the HMAC key, or makes it at the first start. Replicas that start together agree on one.
func signingKey(ctx context.Context, store broker.SettingStore) ([]byte, error) {
	fresh := make([]byte, signingKeyBytes)
	if _, err := rand.Read(fresh); err != nil {
		return nil, broker.Wrap(err, "make the token key")
	}
	text, err := store.InsertSetting(ctx, signingKeySetting, base64.StdEncoding.EncodeToString(fresh), true)
	if err != nil {
		return nil, broker.Wrap(err, "store the token key")
	}
	key, err := base64.StdEncoding.DecodeString(text)
	if err == nil && len(key) < signingKeyBytes {
		err = errors.New("it is too short")
	}
	return key, broker.Wrap(err, "read the token key")
}

func (s *Service) issue(admin *broker.Admin, now time.Time) (Session, error) {
	expires := now.Add(s.lifetime)
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		UUID: admin.UUID, IssuedMillis: now.UnixMilli(),
		RegisteredClaims: jwt.RegisteredClaims{
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(expires), ID: rand.Text(),
		},
	})
	signed, err := token.SignedString(s.signing)
	if err != nil {
		return Session{}, broker.Wrap(err, "sign the token")
	}
	return Session{Admin: admin, Token: signed, ExpiresAt: expires}, nil
}

// AuthenticateAdmin names the admin whose token an Authorization header holds, raw (as documented) or after "Bearer ".
// Unauthenticated covers every refusal: forged, expired, revoked by Admin.TokensAfter, admin gone or disabled.
func (s *Service) AuthenticateAdmin(ctx context.Context, header string) (*broker.Admin, error) {
	refused := broker.Errorf(broker.Unauthenticated, "not logged in")
	text := strings.TrimSpace(header)
	if scheme, rest, found := strings.Cut(text, " "); found && strings.EqualFold(scheme, "Bearer") {
		text = strings.TrimSpace(rest)
	}
	if text == "" || len(text) > maxToken {
		return nil, refused
	}
	var known claims
	_, err := jwt.ParseWithClaims(text, &known, func(*jwt.Token) (any, error) { return s.signing, nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
		jwt.WithTimeFunc(s.now))
	if err != nil || known.UUID == "" {
		return nil, refused
	}
	admin, err := s.store.FindAdminByUUID(ctx, known.UUID)
	if broker.Is(err, broker.NotFound) {
		return nil, refused
	}
	if err != nil {
		return nil, broker.Wrap(err, "find the admin")
	}
	if admin.Disabled || known.IssuedMillis < admin.TokensAfter.UnixMilli() {
		return nil, refused
	}
	return admin, nil
}

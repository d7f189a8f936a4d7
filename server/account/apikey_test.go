package account_test

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"gantry/server/account"
	"gantry/server/broker"
)

func basic(appID, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(appID+":"+secret))
}

func TestAPIKeys(t *testing.T) {
	f := open(t)
	key, secret, err := f.NewAPIKey(t.Context(), "whmcs")
	if err != nil {
		t.Fatal(err)
	}
	if len(secret) < 32 || strings.Contains(key.SecretHash, secret) || !strings.HasSuffix(secret, key.Hint) {
		t.Errorf("secret of %d characters, hash %q, hint %q", len(secret), key.SecretHash, key.Hint)
	}
	for _, test := range []struct {
		name, header string
		ok           bool
	}{
		{"right", basic(key.AppID, secret), true},
		{"again, out of the cache", basic(key.AppID, secret), true},
		{"wrong secret", basic(key.AppID, secret+"0"), false},
		{"hash for secret", basic(key.AppID, key.SecretHash), false},
		{"unknown appid", basic("1", secret), false},
		{"malformed", "Basic %%%", false},
		{"empty", "", false},
	} {
		got, err := f.AuthenticateKey(t.Context(), test.header)
		if test.ok {
			if err != nil || got.ID != key.ID {
				t.Errorf("%s: %v", test.name, err)
			}
			continue
		}
		if broker.KindOf(err) != broker.Unauthenticated {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestAppIDsAreUniqueWithinAMillisecond(t *testing.T) {
	f := open(t)
	stopped, err := account.New(t.Context(), account.Config{Store: f.store, Now: func() time.Time { return time.UnixMilli(1690208651216) }})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1690208651216", "1690208651217", "1690208651218"} {
		key, _, err := stopped.NewAPIKey(t.Context(), "")
		if err != nil || key.AppID != want {
			t.Errorf("appid %s, %v, want %s", key.AppID, err, want)
		}
	}
}

func TestADisabledKeyIsRefusedAtOnceHereAndSoonElsewhere(t *testing.T) {
	for name, end := range map[string]func(ctx context.Context, f *fixture, id int64) error{
		"disabled": func(ctx context.Context, f *fixture, id int64) error { return f.SetAPIKeyDisabled(ctx, id, true) },
		"deleted":  func(ctx context.Context, f *fixture, id int64) error { return f.DeleteAPIKey(ctx, id) },
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t)
			other := replica(t, f)
			key, secret, err := f.NewAPIKey(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			header := basic(key.AppID, secret)
			for _, service := range []*account.Service{f.Service, other} {
				if _, err := service.AuthenticateKey(t.Context(), header); err != nil {
					t.Fatal(err)
				}
			}
			if err := end(t.Context(), f, key.ID); err != nil {
				t.Fatal(err)
			}
			_, err = f.AuthenticateKey(t.Context(), header)
			wantKind(t, err, broker.Unauthenticated)
			f.pass(5 * time.Second)
			_, err = other.AuthenticateKey(t.Context(), header)
			wantKind(t, err, broker.Unauthenticated)
		})
	}
}

func TestAnEnabledKeyIsTakenAgain(t *testing.T) {
	f := open(t)
	key, secret, err := f.NewAPIKey(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, disabled := range []bool{true, false} {
		if err := f.SetAPIKeyDisabled(t.Context(), key.ID, disabled); err != nil {
			t.Fatal(err)
		}
		if _, err := f.AuthenticateKey(t.Context(), basic(key.AppID, secret)); (err != nil) != disabled {
			t.Errorf("disabled %v: %v", disabled, err)
		}
	}
}

package account_test

import (
	"encoding/base64"
	"net/netip"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"gantry/internal/secrets"
	"gantry/server/account"
	"gantry/server/broker"
	"gantry/server/store"
)

var home = netip.MustParseAddr("192.0.2.1")

// fixture is an account service on a real store, with a clock that tests move.
type fixture struct {
	*account.Service
	store  broker.Store
	offset atomic.Int64
}

func (f *fixture) now() time.Time { return time.Now().Add(time.Duration(f.offset.Load())) }

func (f *fixture) pass(d time.Duration) { f.offset.Add(int64(d)) }

func open(t testing.TB) *fixture {
	t.Helper()
	folder := t.TempDir()
	keyring, err := secrets.Open(filepath.Join(folder, "keys"), "")
	if err != nil {
		t.Fatal(err)
	}
	opened, err := store.Open(t.Context(), store.Config{DSN: "sqlite:" + filepath.Join(folder, "gantry.db"), Secrets: keyring})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = opened.Close() })
	f := &fixture{store: opened}
	f.Service = replica(t, f)
	return f
}

// replica is another process on the same store.
func replica(t testing.TB, f *fixture) *account.Service {
	t.Helper()
	service, err := account.New(t.Context(), account.Config{Store: f.store, Now: f.now})
	if err != nil {
		t.Fatal(err)
	}
	return service
}

func (f *fixture) firstAdmin(t testing.TB) (username, password string) {
	t.Helper()
	username, password, created, err := f.EnsureFirstAdmin(t.Context())
	if err != nil || !created {
		t.Fatalf("first admin: created %v, %v", created, err)
	}
	return username, password
}

func (f *fixture) login(t testing.TB) (username, password, token string) {
	t.Helper()
	username, password = f.firstAdmin(t)
	session, err := f.Login(t.Context(), username, password, "", home)
	if err != nil {
		t.Fatal(err)
	}
	return username, password, session.Token
}

func (f *fixture) change(t testing.TB, username string, change func(*broker.Admin)) {
	t.Helper()
	admin, err := f.store.FindAdminByName(t.Context(), username)
	if err != nil {
		t.Fatal(err)
	}
	change(admin)
	if err := f.store.UpdateAdmin(t.Context(), admin); err != nil {
		t.Fatal(err)
	}
}

func wantKind(t testing.TB, err error, kind broker.Kind) {
	t.Helper()
	if broker.KindOf(err) != kind {
		t.Errorf("error %v, want kind %q", err, kind)
	}
}

func TestTheFirstAdminIsMadeOnce(t *testing.T) {
	f := open(t)
	username, password := f.firstAdmin(t)
	if len(password) < 16 {
		t.Errorf("password has %d characters", len(password))
	}
	if _, _, created, err := f.EnsureFirstAdmin(t.Context()); created || err != nil {
		t.Errorf("second time: created %v, %v", created, err)
	}
	admin, err := f.store.FindAdminByName(t.Context(), username)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(admin.PasswordHash, "$argon2id$") {
		t.Errorf("hash %.10q…", admin.PasswordHash)
	}
}

func TestLogin(t *testing.T) {
	f := open(t)
	username, password := f.firstAdmin(t)
	for _, test := range []struct {
		name, username, password string
		reason                   broker.Reason
	}{
		{"right", username, password, ""},
		{"wrong password", username, password + "x", broker.ReasonWrongPassword},
		{"unknown name", "nobody", password, broker.ReasonWrongPassword},
		{"empty password", username, "", broker.ReasonWrongPassword},
		{"huge password", username, strings.Repeat("x", 1<<20), broker.ReasonWrongPassword},
	} {
		t.Run(test.name, func(t *testing.T) {
			session, err := f.Login(t.Context(), test.username, test.password, "", home)
			if test.reason == "" {
				if err != nil || session.Token == "" {
					t.Fatal(err)
				}
				return
			}
			wantReason(t, err, test.reason)
		})
	}
	f.change(t, username, func(admin *broker.Admin) { admin.Disabled = true })
	_, err := f.Login(t.Context(), username, "wrong", "", home)
	wantReason(t, err, broker.ReasonWrongPassword)
	_, err = f.Login(t.Context(), username, password, "", home)
	wantReason(t, err, broker.ReasonAccountDisabled)
}

func wantReason(t *testing.T, err error, reason broker.Reason) {
	t.Helper()
	known, ok := err.(*broker.Error)
	if !ok || known.Reason != reason {
		t.Errorf("error %v, want reason %q", err, reason)
	}
}

func TestGuessingPasswordsIsThrottledEvenAtTheRightOne(t *testing.T) {
	f := open(t)
	username, password := f.firstAdmin(t)
	for range 5 {
		_, err := f.Login(t.Context(), username, "wrong", "", home)
		wantReason(t, err, broker.ReasonWrongPassword)
	}
	_, err := f.Login(t.Context(), username, password, "", home)
	wantReason(t, err, broker.ReasonTooManyAttempts)
	if _, err := f.Login(t.Context(), username, password, "", netip.MustParseAddr("192.0.2.2")); err != nil {
		t.Errorf("from another address: %v", err)
	}
	f.pass(2 * time.Second)
	if _, err := f.Login(t.Context(), username, password, "", home); err != nil {
		t.Errorf("after waiting: %v", err)
	}
}

func TestTokens(t *testing.T) {
	f := open(t)
	username, _, token := f.login(t)
	admin, err := f.store.FindAdminByName(t.Context(), username)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	forged := func(method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
		text, err := jwt.NewWithClaims(method, claims).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	honest := jwt.MapClaims{"uuid": admin.UUID, "iat": now.Unix(), "iatms": now.UnixMilli(), "exp": now.Add(time.Hour).Unix()}
	key := signingKey(t, f)
	without := func(name string) jwt.MapClaims {
		claims := jwt.MapClaims{}
		for each, value := range honest {
			if each != name {
				claims[each] = value
			}
		}
		return claims
	}
	for _, test := range []struct {
		name, header string
		ok           bool
	}{
		{"raw, as documented", token, true},
		{"Bearer", "Bearer " + token, true},
		{"bearer in lower case", "bearer " + token, true},
		{"signed with our key", forged(jwt.SigningMethodHS256, key, honest), true},
		{"empty", "", false},
		{"not a token", "abc", false},
		{"cut", token[:len(token)-2], false},
		{"Basic", "Basic " + token, false},
		{"another key", forged(jwt.SigningMethodHS256, []byte("123456"), honest), false},
		{"algorithm none", forged(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, honest), false},
		{"another algorithm", forged(jwt.SigningMethodHS512, key, honest), false},
		{"no end", forged(jwt.SigningMethodHS256, key, without("exp")), false},
		{"no admin", forged(jwt.SigningMethodHS256, key, without("uuid")), false},
		{"no time of issue", forged(jwt.SigningMethodHS256, key, without("iatms")), true}, // older than any revocation
		{"huge", strings.Repeat("a", 1<<20), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := f.AuthenticateAdmin(t.Context(), test.header)
			if test.ok {
				if err != nil || got.Username != username {
					t.Errorf("refused: %v", err)
				}
				return
			}
			wantKind(t, err, broker.Unauthenticated)
		})
	}
}

func signingKey(t *testing.T, f *fixture) []byte {
	t.Helper()
	text, err := f.store.Setting(t.Context(), "jwt_key")
	if err != nil {
		t.Fatal(err)
	}
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(key) < 32 {
		t.Fatalf("key of %d bytes, %v", len(key), err)
	}
	return key
}

func TestTokensEnd(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, f *fixture, username string){
		"by time": func(_ *testing.T, f *fixture, _ string) { f.pass(account.DefaultTokenLifetime + time.Second) },
		"by disabling": func(t *testing.T, f *fixture, username string) {
			f.change(t, username, func(admin *broker.Admin) { admin.Disabled = true })
		},
		"by revocation": func(t *testing.T, f *fixture, username string) {
			f.change(t, username, func(admin *broker.Admin) { admin.TokensAfter = time.Now().Add(time.Millisecond) })
		},
		"by a new password": func(t *testing.T, f *fixture, username string) {
			f.pass(time.Second)
			if err := f.SetPassword(t.Context(), username, "correct horse"); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t)
			username, _, token := f.login(t)
			if _, err := replica(t, f).AuthenticateAdmin(t.Context(), token); err != nil {
				t.Fatalf("a replica refuses it: %v", err)
			}
			end(t, f, username)
			_, err := f.AuthenticateAdmin(t.Context(), token)
			wantKind(t, err, broker.Unauthenticated)
		})
	}
}

func TestANewPasswordIsTaken(t *testing.T) {
	f := open(t)
	username, old := f.firstAdmin(t)
	wantKind(t, f.SetPassword(t.Context(), username, "short"), broker.Invalid)
	if err := f.SetPassword(t.Context(), username, "correct horse"); err != nil {
		t.Fatal(err)
	}
	_, err := f.Login(t.Context(), username, old, "", home)
	wantReason(t, err, broker.ReasonWrongPassword)
	f.pass(time.Millisecond)
	session, err := f.Login(t.Context(), username, "correct horse", "", home)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.AuthenticateAdmin(t.Context(), session.Token); err != nil {
		t.Errorf("the new session: %v", err)
	}
}

func TestConsoleProxies(t *testing.T) {
	f := open(t)
	secret, hash := account.NewConsoleSecret()
	node := &broker.ConsoleNode{Name: "berlin", URL: "https://console.example", Secret: hash, CreatedAt: time.Now()}
	if err := f.store.InsertConsoleNode(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, secret, proxy string
	}{
		{"right", secret, "berlin"}, {"wrong", secret + "x", ""}, {"hash", hash, ""}, {"empty", "", ""},
	} {
		proxy, accepted, err := f.AuthenticateProxy(t.Context(), test.secret)
		if err != nil || proxy != test.proxy || accepted != (test.proxy != "") {
			t.Errorf("%s: %q %v %v", test.name, proxy, accepted, err)
		}
	}
	node.Disabled = true
	if err := f.store.UpdateConsoleNode(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	f.pass(5 * time.Second)
	if _, accepted, err := f.AuthenticateProxy(t.Context(), secret); accepted || err != nil {
		t.Errorf("disabled: %v %v", accepted, err)
	}
}

func TestAdminPath(t *testing.T) {
	f := open(t)
	first, err := account.AdminPath(t.Context(), f.store, "")
	if err != nil || len(first) < 16 {
		t.Fatalf("path of %d characters, %v", len(first), err)
	}
	if again, err := account.AdminPath(t.Context(), f.store, ""); err != nil || again != first {
		t.Errorf("second start: the path changed, %v", err)
	}
	if chosen, err := account.AdminPath(t.Context(), f.store, "/secret-door/"); err != nil || chosen != "secret-door" {
		t.Errorf("chosen: %q %v", chosen, err)
	}
	for _, bad := range []string{"api", "a/b", "ä", "..", ":x", "*", strings.Repeat("a", 65), "Metrics"} {
		if _, err := account.AdminPath(t.Context(), f.store, bad); !broker.Is(err, broker.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzTokenHeader(f *testing.F) {
	fixture := open(f)
	_, _, token := fixture.login(f)
	for _, seed := range []string{token, "Bearer " + token, "eyJhbGciOiJub25lIn0.e30.", "Bearer", "..", "a.b.c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		_, err := fixture.AuthenticateAdmin(t.Context(), header)
		if err == nil {
			if !strings.HasSuffix(strings.TrimSpace(header), token) {
				t.Fatalf("accepted %q", header)
			}
			return
		}
		if !broker.Is(err, broker.Unauthenticated) {
			t.Fatalf("%q: %v", header, err)
		}
	})
}

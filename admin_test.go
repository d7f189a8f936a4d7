package main

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gantry/internal/secrets"
	"gantry/server"
	"gantry/server/account"
	"gantry/server/store"
)

// installation makes the state of a server that has run once, and gives its settings.
func installation(t *testing.T) server.Config {
	t.Helper()
	settings := server.DefaultConfig()
	settings.DataDir = t.TempDir()
	withAccounts(t, settings, func(accounts *account.Service) {
		if _, _, created, err := accounts.EnsureFirstAdmin(t.Context()); err != nil || !created {
			t.Fatalf("first admin: %v %v", created, err)
		}
	})
	return settings
}

func withAccounts(t *testing.T, settings server.Config, work func(*account.Service)) {
	t.Helper()
	keys, err := secrets.Open(settings.KeyFile(), settings.SecretKey)
	if err != nil {
		t.Fatal(err)
	}
	database, err := store.Open(t.Context(), store.Config{DSN: settings.DSN(), Secrets: keys})
	if err != nil {
		t.Fatal(err)
	}
	accounts, err := account.New(t.Context(), account.Config{Store: database})
	if err != nil {
		t.Fatal(err)
	}
	work(accounts)
	if err := database.Close(); err != nil {
		t.Fatal(err)
	}
}

func logsIn(t *testing.T, settings server.Config, password string) bool {
	t.Helper()
	ok := false
	withAccounts(t, settings, func(accounts *account.Service) {
		_, err := accounts.Login(context.WithoutCancel(t.Context()), account.FirstAdmin, password, "", netip.MustParseAddr("192.0.2.1"))
		ok = err == nil
	})
	return ok
}

func TestResetPassword(t *testing.T) {
	settings := installation(t)
	out, err := gantry(t, nil, "admin", "reset-password", "--data-dir", settings.DataDir).Output()
	if err != nil {
		t.Fatal(err)
	}
	password, found := strings.CutPrefix(strings.TrimSpace(string(out)), "new password of admin: ")
	if !found || !logsIn(t, settings, password) {
		t.Errorf("%q does not log in", out)
	}
	chosen := gantry(t, nil, "admin", "reset-password", "admin", "--password-stdin", "--data-dir", settings.DataDir)
	chosen.Stdin = strings.NewReader("correct horse battery\n")
	if out, err := chosen.CombinedOutput(); err != nil || len(out) != 0 {
		t.Errorf("%v %q", err, out)
	}
	if !logsIn(t, settings, "correct horse battery") || logsIn(t, settings, password) {
		t.Error("the chosen password is not the one that counts")
	}
}

func TestShowAdminPath(t *testing.T) {
	settings := installation(t)
	show := func(environment ...string) string {
		t.Helper()
		out, err := gantry(t, environment, "admin", "show-admin-path", "--data-dir", settings.DataDir).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	first := show()
	if len(strings.Trim(first, "/\n")) != 20 || !strings.HasPrefix(first, "/") {
		t.Errorf("%q", first)
	}
	if again := show(); again != first {
		t.Errorf("%q, then %q", first, again)
	}
	if configured := show("GANTRY_SERVER_ADMIN_PATH=hidden-door"); configured != "/hidden-door/\n" {
		t.Errorf("configured: %q", configured)
	}
}

func TestRotateKeys(t *testing.T) {
	settings := installation(t)
	before, err := secrets.Open(settings.KeyFile(), "")
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := before.Encrypt("hunter2", "test")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := gantry(t, nil, "admin", "rotate-keys", "--data-dir", settings.DataDir).CombinedOutput(); err != nil || !strings.Contains(string(out), "restart the server") {
		t.Fatalf("%v %s", err, out)
	}
	after, err := secrets.Open(settings.KeyFile(), "")
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := after.Decrypt(sealed, "test"); err != nil || plain != "hunter2" || after.Current(sealed) {
		t.Errorf("old value: %q %v, of the current key: %v", plain, err, after.Current(sealed))
	}
}

// What is not a server's folder stays as it is.
func TestAdminRefuses(t *testing.T) {
	settings := installation(t)
	empty := t.TempDir()
	for _, test := range []struct{ arguments, want string }{
		{"show-admin-path --data-dir " + empty, "the server has not run with these settings yet"},
		{"show-admin-path --data-dir /no/such", "data_dir: stat /no/such: no such file or directory"},
		{"rotate-keys --data-dir " + empty, "the server has not run with these settings yet"},
		{"reset-password nobody --data-dir " + settings.DataDir, "nobody"},
		{"reset-password admin --password-stdin --data-dir " + settings.DataDir, "password"},
	} {
		out, err := gantry(t, nil, append([]string{"admin"}, strings.Fields(test.arguments)...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), test.want) || !strings.HasPrefix(string(out), "gantry admin: ") {
			t.Errorf("%s: %v %s", test.arguments, err, out)
		}
	}
	if entries, err := os.ReadDir(empty); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v %v", entries, err)
	}
	if _, err := os.Stat(filepath.Join(settings.DataDir, "gantry.db")); err != nil {
		t.Error(err)
	}
}

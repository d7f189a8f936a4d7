package api_test

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"gantry/internal/secrets"
	"gantry/server/account"
	"gantry/server/store"
)

// installed is who may call an installation.
type installed struct {
	folder                    string
	username, password, token string
	keyID                     int64
	basic                     string
}

// first makes one installation with an administrator and an API key: hashing their secrets is meant to be slow.
var first = sync.OnceValues(func() (made installed, err error) {
	if made.folder, err = os.MkdirTemp("", "gantry-api-*"); err != nil {
		return made, err
	}
	keyring, err := secrets.Open(filepath.Join(made.folder, "keys"), "")
	if err != nil {
		return made, err
	}
	ctx := context.Background()
	opened, err := store.Open(ctx, store.Config{DSN: "sqlite:" + filepath.Join(made.folder, "gantry.db"), Secrets: keyring})
	if err != nil {
		return made, err
	}
	accounts, err := account.New(ctx, account.Config{Store: opened, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return made, err
	}
	if made.username, made.password, _, err = accounts.EnsureFirstAdmin(ctx); err != nil {
		return made, err
	}
	session, err := accounts.Login(ctx, made.username, made.password, "", netip.MustParseAddr("192.0.2.99"))
	if err != nil {
		return made, err
	}
	key, secret, err := accounts.NewAPIKey(ctx, "test")
	if err != nil {
		return made, err
	}
	made.token, made.keyID, made.basic = session.Token, key.ID, basicHeader(key.AppID, secret)
	return made, opened.Close()
})

func TestMain(m *testing.M) {
	status := m.Run()
	if made, err := first(); err == nil {
		_ = os.RemoveAll(made.folder)
	}
	os.Exit(status)
}

// installation gives a test a copy of it to itself.
func installation(t testing.TB) (folder string, made installed) {
	t.Helper()
	made, err := first()
	check(t, err)
	folder = t.TempDir()
	check(t, os.CopyFS(folder, os.DirFS(made.folder)))
	check(t, os.Chmod(filepath.Join(folder, "keys"), 0o600)) // CopyFS lets others read
	return folder, made
}

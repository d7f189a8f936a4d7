package store_test

import (
	"context"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gantry/internal/mariadbtest"
	"gantry/internal/secrets"
	"gantry/server/broker"
	"gantry/server/store"
)

var mariadb *mariadbtest.Server

func TestMain(m *testing.M) { os.Exit(mariadbtest.Main(m, &mariadb)) }

// keyring has the same key in every test.
func keyring(t testing.TB) *secrets.Keyring {
	t.Helper()
	ring, err := secrets.Open("", base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32))))
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func open(t testing.TB, dsn string) *store.Store {
	t.Helper()
	opened, err := store.Open(context.Background(), store.Config{DSN: dsn, Secrets: keyring(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := opened.Close(); err != nil {
			t.Error(err)
		}
	})
	return opened
}

// databases gives a fresh DSN of each kind.
var databases = map[string]func(t testing.TB) string{
	"sqlite":  func(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "gantry.db") },
	"mariadb": func(t testing.TB) string { return mariadb.Database(t) },
}

// each runs a test on an empty store of every kind.
func each(t *testing.T, test func(t *testing.T, s *store.Store)) {
	t.Helper()
	for name, dsn := range databases {
		t.Run(name, func(t *testing.T) { test(t, open(t, dsn(t))) })
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused wants an error of a kind.
func refused(t testing.TB, err error, kind broker.Kind, what string) {
	t.Helper()
	if !broker.Is(err, kind) {
		t.Errorf("%s: got %v, want %s", what, err, kind)
	}
}

package task_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gantry/internal/mariadbtest"
	"gantry/internal/secrets"
	"gantry/server/store"
)

var mariadb *mariadbtest.Server

func TestMain(m *testing.M) {
	if order := os.Getenv(crashVariable); order != "" {
		os.Exit(runCrashChild(order))
	}
	os.Exit(mariadbtest.Main(m, &mariadb))
}

// databases gives a fresh DSN of each kind.
var databases = map[string]func(t testing.TB) string{
	"sqlite":  func(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "gantry.db") },
	"mariadb": func(t testing.TB) string { return mariadb.Database(t) },
}

// testKeyring has the same key in every test and process.
func testKeyring() (*secrets.Keyring, error) {
	return secrets.Open("", base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32))))
}

// openStore opens a database; a second call with the same DSN is a second server.
func openStore(t testing.TB, dsn string) *store.Store {
	t.Helper()
	opened, err := openPlain(dsn)
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

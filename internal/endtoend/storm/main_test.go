// Package storm orders a thousand machines at once, each order twice, against a hypervisor that fails in all the ways it can, and
// then counts: nothing may be there twice, and nothing may be left over.
package storm

import (
	"os"
	"testing"
	"time"

	"gantry/internal/mariadbtest"
)

// mariadb is the one MariaDB server of this test process.
var mariadb *mariadbtest.Server

func TestMain(m *testing.M) { os.Exit(mariadbtest.Main(m, &mariadb)) }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually asks again and again until there is no error, for as long as patience lasts.
func eventually(t testing.TB, what string, patience time.Duration, ask func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %s: %v", what, patience, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

package store_test

import (
	"testing"

	"gantry/server/console"
	"gantry/server/console/consoletest"
)

func TestConsoleTokens(t *testing.T) {
	for name, dsn := range databases {
		t.Run(name, func(t *testing.T) {
			consoletest.Run(t, func(t *testing.T) console.TokenStore { return open(t, dsn(t)).ConsoleTokens() })
		})
	}
}

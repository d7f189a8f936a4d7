package fleet_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gantry/internal/secrets"
	"gantry/server/broker"
	"gantry/server/fleet"
	"gantry/server/store"
)

func TestConsoleProxiesAreLookedAt(t *testing.T) {
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
	var status atomic.Int64
	status.Store(http.StatusOK)
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.WriteHeader(int(status.Load()))
	})
	plain, secure, gone := httptest.NewServer(answer), httptest.NewTLSServer(answer), httptest.NewServer(answer)
	gone.Close()
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	for name, node := range map[string]broker.ConsoleNode{
		"plain":    {URL: plain.URL},
		"secure":   {URL: secure.URL},
		"gone":     {URL: gone.URL},
		"behind":   {URL: "http://vnc.invalid", Address: strings.TrimPrefix(plain.URL, "http://")},
		"disabled": {URL: gone.URL, Disabled: true},
		"mixed up": {URL: strings.Replace(plain.URL, "http://", "https://", 1)},
	} {
		node.Name, node.Secret, node.CreatedAt = name, "h", time.Now()
		if err := opened.InsertConsoleNode(t.Context(), &node); err != nil {
			t.Fatal(err)
		}
	}
	watched := fleet.New(fleet.Config{Store: opened, Log: slog.New(slog.DiscardHandler)})
	look := func() map[string]string {
		t.Helper()
		if err := watched.CheckConsoleNodes(t.Context()); err != nil {
			t.Fatal(err)
		}
		nodes, _, err := opened.ListConsoleNodes(t.Context(), broker.Page{Number: 1, Size: 9})
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]string{}
		for _, node := range nodes {
			switch {
			case node.Healthy == nil:
				seen[node.Name] = "not looked at"
			case *node.Healthy:
				seen[node.Name] = "healthy"
			default:
				seen[node.Name] = node.LastError
			}
		}
		return seen
	}
	seen := look()
	for name, want := range map[string]string{
		"plain": "healthy", "secure": "healthy", "behind": "healthy", "disabled": "not looked at", "gone": "no answer from", "mixed up": "no answer from",
	} {
		if !strings.HasPrefix(seen[name], want) {
			t.Errorf("%s: %s, want %s", name, seen[name], want)
		}
	}
	status.Store(http.StatusServiceUnavailable)
	if seen = look(); !strings.Contains(seen["plain"], "HTTP status 503") || !strings.Contains(seen["secure"], "503") {
		t.Errorf("with a proxy that says no: %v", seen)
	}
}

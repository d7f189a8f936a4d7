// Package consoletest proves implementations of console.TokenStore and offers one in memory for tests.
package consoletest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gantry/internal/consoleapi"
	"gantry/server/broker"
	"gantry/server/console"
)

// Run proves that the stores that newStore opens keep every promise of console.TokenStore. Each call of newStore gives an
// empty store; the test closes over its clean-up with t.Cleanup.
func Run(t *testing.T, newStore func(t *testing.T) console.TokenStore) {
	for _, row := range []struct {
		name string
		test func(t *testing.T, store console.TokenStore)
	}{
		{"insert and find give the same token", insertAndFind},
		{"duplicates are refused", duplicates},
		{"consume needs an unused unexpired unrevoked token", consumeRules},
		{"of many concurrent consumers one wins", consumeRace},
		{"sessions are found by id", findSessions},
		{"revoking takes the VM's tokens and no others", revokeVM},
		{"only what can't be used any more is deleted", deleteExpired},
	} {
		t.Run(row.name, func(t *testing.T) { row.test(t, newStore(t)) })
	}
}

// start is the moment that all tests count from: whole milliseconds, as stores promise no more.
var start = time.Date(2026, 3, 1, 12, 0, 0, 250_000_000, time.UTC)

// token makes an unused token whose secrets derive from its number.
func token(number int, vmID int64) console.StoredToken {
	return console.StoredToken{
		Hash:      hash("token", number),
		SessionID: fmt.Sprintf("SESSION%019d", number),
		VMID:      vmID,
		IssuedTo:  "api:7",
		ClientIP:  "2001:db8::17",
		IssuedAt:  start,
		ExpiresAt: start.Add(5 * time.Minute),
	}
}

func hash(kind string, number int) string {
	return consoleapi.Token(fmt.Sprintf("%s %d", kind, number)).Hash()
}

func use(number int, at time.Time) console.Use {
	return console.Use{SessionKeyHash: hash("key", number), UsedAt: at, ClosesAt: at.Add(2 * time.Hour)}
}

func insert(t *testing.T, store console.TokenStore, tokens ...console.StoredToken) {
	t.Helper()
	for _, token := range tokens {
		if err := store.Insert(t.Context(), token); err != nil {
			t.Fatalf("Insert: %v", err)
		}
	}
}

func find(t *testing.T, store console.TokenStore, hash string) console.StoredToken {
	t.Helper()
	found, err := store.Find(t.Context(), hash)
	if err != nil {
		t.Fatalf("Find: %v", err)
	}
	return found
}

func consume(t *testing.T, store console.TokenStore, hash string, use console.Use) bool {
	t.Helper()
	consumed, err := store.Consume(t.Context(), hash, use)
	if err != nil {
		t.Fatalf("Consume: %v", err)
	}
	return consumed
}

func insertAndFind(t *testing.T, store console.TokenStore) {
	want := token(1, 41)
	insert(t, store, want, token(2, 42))
	got := find(t, store, want.Hash)
	if got.SessionID != want.SessionID || got.VMID != 41 || got.IssuedTo != want.IssuedTo || got.ClientIP != want.ClientIP ||
		!got.IssuedAt.Equal(want.IssuedAt) || !got.ExpiresAt.Equal(want.ExpiresAt) {
		t.Errorf("found %+v, want %+v", got, want)
	}
	if got.SessionKeyHash != "" || got.UsedAt != nil || got.ClosesAt != nil || got.RevokedAt != nil {
		t.Errorf("a new token is marked used or revoked: %+v", got)
	}
	if _, err := store.Find(t.Context(), hash("token", 3)); !broker.Is(err, broker.NotFound) {
		t.Errorf("finding a missing token: %v, want broker.NotFound", err)
	}
}

func duplicates(t *testing.T, store console.TokenStore) {
	insert(t, store, token(1, 41))
	sameHash, sameSession := token(1, 42), token(2, 42)
	sameHash.SessionID = token(3, 1).SessionID
	sameSession.SessionID = token(1, 1).SessionID
	for name, duplicate := range map[string]console.StoredToken{"hash": sameHash, "session id": sameSession} {
		if err := store.Insert(t.Context(), duplicate); !broker.Is(err, broker.Exists) {
			t.Errorf("same %s: %v, want broker.Exists", name, err)
		}
	}
	if got := find(t, store, token(1, 41).Hash); got.VMID != 41 {
		t.Errorf("a refused duplicate changed the token: VM %d", got.VMID)
	}
}

func consumeRules(t *testing.T, store console.TokenStore) {
	insert(t, store, token(1, 41), token(2, 42), token(3, 43))
	if _, err := store.RevokeVM(t.Context(), 43, start); err != nil {
		t.Fatalf("RevokeVM: %v", err)
	}
	last := start.Add(5 * time.Minute)
	for _, row := range []struct {
		name   string
		number int
		at     time.Time
		want   bool
	}{
		{"after the last moment", 1, last.Add(time.Millisecond), false},
		{"at the last moment", 1, last, true},
		{"a second time", 1, last, false},
		{"in good time", 2, start.Add(time.Second), true},
		{"revoked", 3, start.Add(time.Second), false},
		{"missing", 4, start.Add(time.Second), false},
	} {
		if got := consume(t, store, hash("token", row.number), use(row.number, row.at)); got != row.want {
			t.Errorf("%s: consumed = %v, want %v", row.name, got, row.want)
		}
	}
	got, want := find(t, store, hash("token", 1)), use(1, last)
	if got.SessionKeyHash != want.SessionKeyHash || got.UsedAt == nil || !got.UsedAt.Equal(want.UsedAt) ||
		got.ClosesAt == nil || !got.ClosesAt.Equal(want.ClosesAt) {
		t.Errorf("consumed token is %+v, want %+v written", got, want)
	}
	if got := find(t, store, hash("token", 3)); got.UsedAt != nil || got.SessionKeyHash != "" {
		t.Errorf("a refused consume wrote %+v", got)
	}
}

func consumeRace(t *testing.T, store console.TokenStore) {
	insert(t, store, token(1, 41))
	const racers = 16
	var winner atomic.Int32
	var wins, failures atomic.Int32
	var group sync.WaitGroup
	for racer := 1; racer <= racers; racer++ {
		group.Go(func() {
			consumed, err := store.Consume(context.WithoutCancel(t.Context()), hash("token", 1), use(racer, start))
			if err != nil {
				failures.Add(1)
			}
			if consumed {
				wins.Add(1)
				winner.Store(int32(racer))
			}
		})
	}
	group.Wait()
	if wins.Load() != 1 || failures.Load() != 0 {
		t.Fatalf("%d of %d concurrent consumers won and %d met an error, want 1 and 0", wins.Load(), racers, failures.Load())
	}
	if got := find(t, store, hash("token", 1)); got.SessionKeyHash != hash("key", int(winner.Load())) {
		t.Error("the token is bound to another key than the winner's")
	}
}

func findSessions(t *testing.T, store console.TokenStore) {
	insert(t, store, token(1, 41), token(2, 42), token(3, 43))
	got, err := store.FindSessions(t.Context(), []string{token(1, 0).SessionID, token(3, 0).SessionID, "SESSIONUNKNOWN"})
	if err != nil {
		t.Fatalf("FindSessions: %v", err)
	}
	seen := map[int64]bool{}
	for _, token := range got {
		seen[token.VMID] = true
	}
	if len(got) != 2 || !seen[41] || !seen[43] {
		t.Errorf("found %v, want the sessions of VMs 41 and 43", seen)
	}
	if got, err := store.FindSessions(t.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("no ids: %v, %v", got, err)
	}
	many := make([]string, consoleapi.MaxCheckedSessions)
	for i := range many {
		many[i] = token(i, 0).SessionID
	}
	if got, err := store.FindSessions(t.Context(), many); err != nil || len(got) != 3 {
		t.Errorf("%d ids: found %d, %v, want 3", len(many), len(got), err)
	}
}

func revokeVM(t *testing.T, store console.TokenStore) {
	insert(t, store, token(1, 41), token(2, 41), token(3, 43))
	consume(t, store, hash("token", 2), use(2, start))
	for _, want := range []int{2, 0} {
		if got, err := store.RevokeVM(t.Context(), 41, start.Add(time.Minute)); err != nil || got != want {
			t.Errorf("RevokeVM: %d, %v, want %d", got, err, want)
		}
	}
	for _, number := range []int{1, 2} {
		if got := find(t, store, hash("token", number)); got.RevokedAt == nil || !got.RevokedAt.Equal(start.Add(time.Minute)) {
			t.Errorf("token %d: revoked at %v", number, got.RevokedAt)
		}
	}
	if got := find(t, store, hash("token", 3)); got.RevokedAt != nil {
		t.Error("the token of another VM was revoked")
	}
}

func deleteExpired(t *testing.T, store console.TokenStore) {
	insert(t, store, token(1, 41), token(2, 42))
	consume(t, store, hash("token", 2), use(2, start))
	for _, row := range []struct {
		name   string
		before time.Time
		want   int
	}{
		{"while all can be used", start.Add(5 * time.Minute), 0},
		{"after the first use expired", start.Add(6 * time.Minute), 1},
		{"at the end of the session", start.Add(2 * time.Hour), 0},
		{"after the session", start.Add(3 * time.Hour), 1},
	} {
		got, err := store.DeleteExpired(t.Context(), row.before)
		if err != nil || got != row.want {
			t.Errorf("%s: deleted %d, %v, want %d", row.name, got, err, row.want)
		}
	}
	if _, err := store.Find(t.Context(), hash("token", 2)); !broker.Is(err, broker.NotFound) {
		t.Errorf("deleted token is still found: %v", err)
	}
}

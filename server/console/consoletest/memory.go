package consoletest

import (
	"context"
	"sync"
	"time"

	"gantry/server/broker"
	"gantry/server/console"
)

// MemoryStore is a console.TokenStore for tests; its content ends with the process.
type MemoryStore struct {
	mu     sync.Mutex
	tokens map[string]console.StoredToken
}

var _ console.TokenStore = (*MemoryStore)(nil)

// NewMemoryStore opens an empty store.
func NewMemoryStore() *MemoryStore {
	return &MemoryStore{tokens: map[string]console.StoredToken{}}
}

// Insert keeps console.TokenStore's promise.
func (m *MemoryStore) Insert(_ context.Context, token console.StoredToken) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, other := range m.tokens {
		if other.Hash == token.Hash || other.SessionID == token.SessionID {
			return broker.Errorf(broker.Exists, "console token exists")
		}
	}
	m.tokens[token.Hash] = token
	return nil
}

// Consume keeps console.TokenStore's promise.
func (m *MemoryStore) Consume(_ context.Context, hash string, use console.Use) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	token, found := m.tokens[hash]
	if !found || token.UsedAt != nil || token.RevokedAt != nil || use.UsedAt.After(token.ExpiresAt) {
		return false, nil
	}
	token.SessionKeyHash, token.UsedAt, token.ClosesAt = use.SessionKeyHash, &use.UsedAt, &use.ClosesAt
	m.tokens[hash] = token
	return true, nil
}

// Find keeps console.TokenStore's promise.
func (m *MemoryStore) Find(_ context.Context, hash string) (console.StoredToken, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	token, found := m.tokens[hash]
	if !found {
		return console.StoredToken{}, broker.Errorf(broker.NotFound, "console token does not exist")
	}
	return token, nil
}

// FindSessions keeps console.TokenStore's promise.
func (m *MemoryStore) FindSessions(_ context.Context, sessionIDs []string) ([]console.StoredToken, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	wanted := make(map[string]bool, len(sessionIDs))
	for _, id := range sessionIDs {
		wanted[id] = true
	}
	var found []console.StoredToken
	for _, token := range m.tokens {
		if wanted[token.SessionID] {
			found = append(found, token)
		}
	}
	return found, nil
}

// RevokeVM keeps console.TokenStore's promise.
func (m *MemoryStore) RevokeVM(_ context.Context, vmID int64, at time.Time) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	count := 0
	for hash, token := range m.tokens {
		if token.VMID == vmID && token.RevokedAt == nil {
			token.RevokedAt = &at
			m.tokens[hash] = token
			count++
		}
	}
	return count, nil
}

// DeleteExpired keeps console.TokenStore's promise.
func (m *MemoryStore) DeleteExpired(_ context.Context, before time.Time) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	count := 0
	for hash, token := range m.tokens {
		end := token.ExpiresAt
		if token.ClosesAt != nil {
			end = *token.ClosesAt
		}
		if end.Before(before) {
			delete(m.tokens, hash)
			count++
		}
	}
	return count, nil
}

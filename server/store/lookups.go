package store

import (
	"sync"
	"sync/atomic"
	"time"

	"gantry/server/broker"
)

const (
	// lookupAge is how long another process's change of what lookups keep may go unseen; one of this process is seen at once.
	lookupAge = time.Second
	// lookupEntries bounds what is kept.
	lookupEntries = 10_000
)

// lookups keep what every order and every step of a task reads and hardly anybody changes: clusters, nodes, images, storages, bridges
// and settings. Any write of this process makes all of it void, except for session.record, whose tables no lookup reads.
type lookups struct {
	generation atomic.Int64
	mutex      sync.RWMutex
	entries    map[lookupKey]lookupEntry
}

// lookupKey is a query with its arguments.
type lookupKey struct {
	query  string
	id, of int64
	text   string
}

type lookupEntry struct {
	value      any
	err        error
	generation int64
	until      time.Time
}

// lookup reads what is kept, else by load; what was not found is kept, too. The value is shared: callers get copies of what can be
// changed through it. In a transaction nothing is kept: it sees what it has written itself.
func lookup[Value any](s *session, key lookupKey, load func() (Value, error)) (Value, error) {
	if s.tx != nil {
		return load()
	}
	kept, now := s.lookups, time.Now()
	generation := kept.generation.Load()
	kept.mutex.RLock()
	entry, known := kept.entries[key]
	kept.mutex.RUnlock()
	if known && entry.generation == generation && now.Before(entry.until) {
		value, _ := entry.value.(Value)
		return value, entry.err
	}
	value, err := load()
	if err != nil && !broker.Is(err, broker.NotFound) {
		return value, err
	}
	kept.mutex.Lock()
	defer kept.mutex.Unlock()
	if kept.entries == nil || len(kept.entries) >= lookupEntries {
		kept.entries = map[lookupKey]lookupEntry{}
	}
	// Read under the generation from before: a change in between makes it void.
	kept.entries[key] = lookupEntry{value, err, generation, now.Add(lookupAge)}
	return value, err
}

// forget makes all that is kept void.
func (l *lookups) forget() { l.generation.Add(1) }

// copied gives a noun that the caller may change.
func copied[Noun any](kept *Noun) *Noun {
	if kept == nil {
		return nil
	}
	mine := *kept
	return &mine
}

package api

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"gantry/server/broker"
)

const (
	// auditBacklog is how many entries may wait; a caller waits when there are more.
	auditBacklog = 1024
	// auditBatch is how many go into one transaction.
	auditBatch = 128
	// auditTimeout bounds one transaction.
	auditTimeout = 10 * time.Second
)

// auditor stores entries beside the calls, many in one transaction, so that audit adds nothing to the time of a call. A process
// that is killed may lose the entries of its last milliseconds; what a lost entry was about still names its actor and request
// (tasks keep both).
type auditor struct {
	store   broker.Store
	log     *slog.Logger
	mutex   sync.RWMutex // held for reading while an entry is handed over
	closed  bool
	entries chan broker.AuditEntry
	done    chan struct{}
}

func newAuditor(store broker.Store, log *slog.Logger) *auditor {
	a := &auditor{store: store, log: log, entries: make(chan broker.AuditEntry, auditBacklog), done: make(chan struct{})}
	go a.run()
	return a
}

func (a *auditor) note(entry broker.AuditEntry) {
	a.mutex.RLock()
	defer a.mutex.RUnlock()
	if a.closed {
		a.keepInLog([]broker.AuditEntry{entry}, nil)
		return
	}
	a.entries <- entry
}

func (a *auditor) run() {
	defer close(a.done)
	for entry := range a.entries {
		batch := []broker.AuditEntry{entry}
		for waiting := true; waiting && len(batch) < auditBatch; {
			select {
			case next, open := <-a.entries:
				if waiting = open; open {
					batch = append(batch, next)
				}
			default:
				waiting = false
			}
		}
		a.save(batch)
	}
}

func (a *auditor) save(batch []broker.AuditEntry) {
	ctx, cancel := context.WithTimeout(context.Background(), auditTimeout)
	defer cancel()
	err := a.store.Transact(ctx, func(tx broker.Tx) error {
		for i := range batch {
			if err := tx.InsertAudit(ctx, &batch[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		a.keepInLog(batch, err)
	}
}

// keepInLog is what remains when the store does not take entries. Their bodies are masked already.
func (a *auditor) keepInLog(batch []broker.AuditEntry, cause error) {
	for _, entry := range batch {
		a.log.Error("audit entry not stored", "error", cause, "request", entry.RequestID, "actor", entry.Actor,
			"method", entry.Method, "path", entry.Path, "code", entry.Code)
	}
}

func (a *auditor) close(ctx context.Context) error {
	a.mutex.Lock()
	if !a.closed {
		a.closed = true
		close(a.entries)
	}
	a.mutex.Unlock()
	select {
	case <-a.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

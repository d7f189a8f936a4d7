package store

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"gorm.io/gorm"

	"gantry/internal/secrets"
	"gantry/server/broker"
)

// engine is what differs between the databases.
type engine interface {
	// begin runs work in one transaction: it commits when work returns nil, else it rolls back and returns work's error.
	begin(ctx context.Context, work func(pool gorm.ConnPool) error) error
	// alone runs one statement that is a transaction of its own.
	alone(ctx context.Context, statement func(pool gorm.ConnPool) error) error
	// retryable tells whether the transaction was rolled back for a reason that goes away by itself.
	retryable(err error) bool
	// duplicate and foreign tell which constraint an error speaks of.
	duplicate(err error) bool
	foreign(err error) bool
	close() error
}

// session carries all methods of broker.Tx. Outside a transaction each call is one of its own; inside, all calls share it.
type session struct {
	engine  engine
	gorm    *gorm.DB // the pool for reads outside a transaction
	secrets *secrets.Keyring
	lookups *lookups
	tx      *transaction
}

// transaction is one attempt of a transaction.
type transaction struct {
	pool gorm.ConnPool
	// broken is an error after which the database has rolled back by itself. MySQL would carry out what follows one by one, so
	// nothing may follow.
	broken error
	// vms are those that the transaction has inserted, locked or changed.
	vms map[int64]*knownVM
	// records tells that no table was written that lookups read.
	records bool
}

// transactionAttempts bounds how often a transaction is begun again after a deadlock or a busy database.
const transactionAttempts = 12

func (s *session) transact(ctx context.Context, work func(inner *session) error) error {
	return s.repeat(ctx, s.engine.begin, work)
}

// repeat runs work by means of begin until the database has no reason any more to ask for a repetition.
func (s *session) repeat(ctx context.Context, begin func(context.Context, func(gorm.ConnPool) error) error, work func(inner *session) error) error {
	var err error
	for attempt := range transactionAttempts {
		if attempt > 0 {
			pause := min(time.Millisecond<<attempt, 250*time.Millisecond)
			select {
			case <-time.After(rand.N(pause) + time.Millisecond):
			case <-ctx.Done():
				return broker.Wrap(ctx.Err(), "wait to repeat a transaction")
			}
		}
		inner := *s
		err = begin(ctx, func(pool gorm.ConnPool) error {
			inner.tx = &transaction{pool: pool, records: true}
			if err := work(&inner); err != nil {
				return err
			}
			return inner.tx.broken
		})
		if inner.tx != nil && !inner.tx.records {
			s.lookups.forget() // also after an error: a commit whose answer was lost counts
		}
		if err == nil {
			return nil
		}
		if (inner.tx == nil || inner.tx.broken == nil) && !s.engine.retryable(err) {
			return err
		}
	}
	return &broker.Error{Kind: broker.Busy, Detail: "the database is busy", Err: err}
}

// read runs a query; doing says what for.
func (s *session) read(ctx context.Context, doing string, query func(db *gorm.DB) error) error {
	if s.tx == nil {
		return s.translate(query(s.gorm.WithContext(ctx)), doing)
	}
	return s.inside(ctx, doing, query)
}

// record runs statements in the present transaction, or in one of their own. They write nothing that lookups read: machines, tasks,
// addresses, VMIDs, orders, and what was done.
func (s *session) record(ctx context.Context, doing string, statements func(db *gorm.DB) error) error {
	if s.tx != nil {
		return s.inside(ctx, doing, statements)
	}
	return s.translate(s.transact(ctx, func(inner *session) error { return inner.inside(ctx, doing, statements) }), doing)
}

// recordOne is record for a single statement, which on MySQL needs no BEGIN and COMMIT.
func (s *session) recordOne(ctx context.Context, doing string, statement func(db *gorm.DB) error) error {
	if s.tx != nil {
		return s.inside(ctx, doing, statement)
	}
	return s.translate(s.repeat(ctx, s.engine.alone, func(inner *session) error { return statement(inner.database(ctx)) }), doing)
}

// write is record for everything else.
func (s *session) write(ctx context.Context, doing string, statements func(db *gorm.DB) error) error {
	if s.tx != nil {
		s.tx.records = false
		return s.inside(ctx, doing, statements)
	}
	defer s.lookups.forget()
	return s.record(ctx, doing, statements)
}

// writeOne is recordOne for everything else.
func (s *session) writeOne(ctx context.Context, doing string, statement func(db *gorm.DB) error) error {
	if s.tx != nil {
		s.tx.records = false
		return s.inside(ctx, doing, statement)
	}
	defer s.lookups.forget()
	return s.recordOne(ctx, doing, statement)
}

func (s *session) inside(ctx context.Context, doing string, statements func(db *gorm.DB) error) error {
	if s.tx.broken != nil {
		return s.tx.broken
	}
	err := statements(s.database(ctx))
	if err != nil && s.engine.retryable(err) {
		s.tx.broken = s.translate(err, doing)
	}
	return s.translate(err, doing)
}

// database is gorm on the connection of the present transaction.
func (s *session) database(ctx context.Context) *gorm.DB {
	db := s.gorm.Session(&gorm.Session{NewDB: true, Context: ctx})
	db.Statement.ConnPool = s.tx.pool
	return db
}

// translate makes the database's errors the broker's. What is one already stays as it is.
func (s *session) translate(err error, doing string) error {
	var known *broker.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return err
	case errors.Is(err, gorm.ErrRecordNotFound):
		return &broker.Error{Kind: broker.NotFound, Detail: doing + ": not found", Err: err}
	case s.engine.duplicate(err):
		return &broker.Error{Kind: broker.Exists, Detail: doing + ": exists already", Err: err}
	case s.engine.foreign(err):
		return &broker.Error{Kind: broker.Conflict, Detail: doing + ": it is in use, or what it belongs to is missing", Err: err}
	}
	return broker.Wrap(err, doing)
}

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"gorm.io/gorm"
)

// sqliteWriter carries out all writing transactions of this process on one connection, in one goroutine.
//
// Transactions that come while another is being written share its COMMIT, and so its fsync; each has a savepoint of its own, so
// one that fails takes nothing of the others with it. No caller hears of success before the COMMIT. That makes it affordable to
// write with synchronous=FULL: what was accepted survives a power cut.
type sqliteWriter struct {
	database   *sql.DB
	statements *statementCount
	requests   chan *writeRequest
	stopping   chan struct{}
	stopped    chan struct{}
	once       sync.Once
}

const (
	// A batch ends when it holds so many transactions or lasts so long; both bound how long the first of them waits.
	batchTransactions = 64
	batchDuration     = 5 * time.Millisecond
)

type writeRequest struct {
	ctx    context.Context
	work   func(pool gorm.ConnPool) error
	taken  atomic.Bool // by the writer, or by a caller who gave up
	result chan error
	err    error
	panics any
}

var errStoreClosed = errors.New("the store is closed")

func newSQLiteWriter(database *sql.DB, statements *statementCount) *sqliteWriter {
	w := &sqliteWriter{
		database: database, statements: statements, requests: make(chan *writeRequest, batchTransactions),
		stopping: make(chan struct{}), stopped: make(chan struct{}),
	}
	go w.serve()
	return w
}

// do runs work in a transaction and returns when that is committed or rolled back.
func (w *sqliteWriter) do(ctx context.Context, work func(pool gorm.ConnPool) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	request := &writeRequest{ctx: ctx, work: work, result: make(chan error, 1)}
	select {
	case w.requests <- request:
	case <-ctx.Done():
		return ctx.Err()
	case <-w.stopping:
		return errStoreClosed
	}
	select {
	case err := <-request.result:
		return request.end(err)
	case <-ctx.Done():
		if request.taken.CompareAndSwap(false, true) {
			return ctx.Err() // it was not begun, and will not be
		}
	case <-w.stopped:
		if request.taken.CompareAndSwap(false, true) {
			return errStoreClosed
		}
	}
	return request.end(<-request.result)
}

// end hands a panic of the caller's own work back to the caller's goroutine.
func (r *writeRequest) end(err error) error {
	if r.panics != nil {
		panic(r.panics)
	}
	return err
}

func (w *sqliteWriter) close() {
	w.once.Do(func() { close(w.stopping) })
	<-w.stopped
}

func (w *sqliteWriter) serve() {
	defer close(w.stopped)
	connection := &cachingConnection{database: w.database, count: w.statements}
	defer connection.close()
	for {
		select {
		case request := <-w.requests:
			w.batch(connection, request)
		case <-w.stopping:
			return
		}
	}
}

// batch runs first and what else comes in the meantime in one transaction.
func (w *sqliteWriter) batch(connection *cachingConnection, first *writeRequest) {
	if !first.taken.CompareAndSwap(false, true) {
		return
	}
	begun := time.Now()
	members := []*writeRequest{first}
	err := connection.execute("BEGIN IMMEDIATE")
	if err == nil {
		err = connection.run(first)
		for err == nil && len(members) < batchTransactions && time.Since(begun) < batchDuration {
			next := w.next()
			if next == nil {
				break
			}
			members = append(members, next)
			err = connection.run(next)
		}
		if err == nil {
			err = connection.execute("COMMIT")
		}
		if err != nil {
			// The connection is in an unknown state (disk full, I/O error): the next batch begins with a fresh one.
			_ = connection.execute("ROLLBACK")
			connection.close()
		}
	}
	for _, member := range members {
		if member.err == nil {
			member.err = err
		}
		member.result <- member.err
	}
}

// next gives a request that waits already, nil when there is none.
func (w *sqliteWriter) next() *writeRequest {
	for {
		select {
		case request := <-w.requests:
			if request.taken.CompareAndSwap(false, true) {
				return request
			}
		default:
			return nil
		}
	}
}

// run does one request inside the batch's transaction. The error is one that spoils the whole batch; an error of the work itself
// is kept in the request.
func (c *cachingConnection) run(request *writeRequest) error {
	if err := c.execute("SAVEPOINT member"); err != nil {
		return err
	}
	request.err = c.call(request)
	if request.err != nil || request.panics != nil {
		if err := c.execute("ROLLBACK TO member"); err != nil {
			return fmt.Errorf("take back a failed transaction: %w", err)
		}
	}
	return c.execute("RELEASE member")
}

func (c *cachingConnection) call(request *writeRequest) error {
	defer func() { request.panics = recover() }()
	return request.work(counted{&uninterrupted{c, request.ctx}, c.count})
}

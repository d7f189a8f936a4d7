package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"gorm.io/gorm"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// sqliteReaders bounds the connections that read; WAL lets them go on beside the writer.
const sqliteReaders = 8

type sqliteEngine struct {
	readers, writers *sql.DB
	writer           *sqliteWriter
	statements       *statementCount
}

// openSQLite opens a database file, which is made when it is missing, readable by its owner only, and brings its schema up to date.
func openSQLite(ctx context.Context, path string, statements *statementCount) (engine *sqliteEngine, db *gorm.DB, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, nil, fmt.Errorf("make the database's folder: %w", err)
	}
	unlock, err := lockSQLite(ctx, path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	engine, db, err = connectSQLite(path, statements)
	if err != nil {
		return nil, nil, err
	}
	if err := migrateSQLite(ctx, engine.writers); err != nil {
		return nil, nil, errors.Join(err, engine.close())
	}
	return engine, db, nil
}

func connectSQLite(path string, statements *statementCount) (*sqliteEngine, *gorm.DB, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("open database file: %w", err)
	}
	if err := file.Close(); err != nil {
		return nil, nil, fmt.Errorf("open database file: %w", err)
	}
	writers, err := sql.Open("sqlite", sqliteName(path, false))
	if err != nil {
		return nil, nil, fmt.Errorf("open database %s: %w", path, err)
	}
	writers.SetMaxOpenConns(1)
	// The first connection turns WAL on, which readers can't.
	if err := writers.Ping(); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open database %s: %w", path, err), writers.Close())
	}
	readers, err := sql.Open("sqlite", sqliteName(path, true))
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open database %s: %w", path, err), writers.Close())
	}
	readers.SetMaxOpenConns(sqliteReaders)
	readers.SetMaxIdleConns(sqliteReaders)
	db, err := gorm.Open(sqliteDialect{counted{newCachingPool(readers), statements}}, gormConfig())
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open database %s: %w", path, err), readers.Close(), writers.Close())
	}
	return &sqliteEngine{readers: readers, writers: writers, statements: statements}, db, nil
}

// start begins to take transactions; it comes after the migrations, which need the writing connection for themselves.
func (e *sqliteEngine) start() { e.writer = newSQLiteWriter(e.writers, e.statements) }

func sqliteName(path string, readOnly bool) string {
	options := url.Values{"_pragma": {
		"busy_timeout(5000)", "foreign_keys(1)", "cache_size(-16000)", "temp_store(memory)",
		// FULL: a transaction that was reported as done survives a power cut. NORMAL would lose the newest ones.
		"synchronous(full)",
	}}
	if readOnly {
		options.Add("_pragma", "query_only(1)")
	} else {
		options.Add("_pragma", "journal_mode(wal)")
		// A WAL that once grew (a big insert) is cut back after the next checkpoint.
		options.Add("_pragma", "journal_size_limit(67108864)")
		options.Set("_txlock", "immediate")
	}
	// url.PathEscape also escapes ? and #, which would end the path.
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + options.Encode()
}

func (e *sqliteEngine) begin(ctx context.Context, work func(pool gorm.ConnPool) error) error {
	return e.writer.do(ctx, work)
}

// alone has no quicker way: the writer's batches make transactions cheap.
func (e *sqliteEngine) alone(ctx context.Context, statement func(pool gorm.ConnPool) error) error {
	return e.writer.do(ctx, statement)
}

func (e *sqliteEngine) retryable(err error) bool {
	switch sqliteCode(err) & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return true
	}
	return false
}

func (e *sqliteEngine) duplicate(err error) bool {
	switch sqliteCode(err) {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return true
	}
	return false
}

func (e *sqliteEngine) foreign(err error) bool {
	return sqliteCode(err) == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY
}

func sqliteCode(err error) int {
	var known *sqlite.Error
	if !errors.As(err, &known) {
		return 0
	}
	return known.Code()
}

func (e *sqliteEngine) close() error {
	if e.writer != nil {
		e.writer.close()
	}
	return errors.Join(e.readers.Close(), e.writers.Close())
}

// Package store keeps everything that must outlive a restart, in SQLite (WAL, pure Go) or in MySQL/MariaDB, behind the ports of
// package broker. gorm models stay private here. Times are stored as microseconds since 1970 UTC on both databases.
package store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/go-sql-driver/mysql"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"gantry/internal/secrets"
	"gantry/server/broker"
)

// Config says which database to open.
type Config struct {
	// DSN is "sqlite:PATH", "mysql://USER:PASSWORD@HOST:PORT/DATABASE?option=value" or "mysql:" followed by a DSN of
	// github.com/go-sql-driver/mysql, for instance "mysql:gantry:secret@unix(/run/mysqld/mysqld.sock)/gantry".
	// MariaDB is opened as mysql.
	DSN string
	// Secrets encrypts credentials and passwords; required.
	Secrets *secrets.Keyring
}

// Store implements broker.Store. It is safe for concurrent use.
type Store struct {
	session
	statements *statementCount
}

var (
	_ broker.Store = (*Store)(nil)
	_ broker.Tx    = (*session)(nil)
)

// Open brings the schema up to date and opens the database. Replicas may do so at the same time. The error names what is wrong
// with the DSN, but never tells its password.
func Open(ctx context.Context, config Config) (*Store, error) {
	if config.Secrets == nil {
		return nil, errors.New("store: a keyring is needed")
	}
	kind, rest, _ := strings.Cut(config.DSN, ":")
	statements := &statementCount{}
	switch kind {
	case "sqlite":
		path := strings.TrimPrefix(rest, "//")
		if path == "" {
			return nil, errors.New(`database DSN: "sqlite:" needs a path`)
		}
		engine, db, err := openSQLite(ctx, path, statements)
		if err != nil {
			return nil, err
		}
		engine.start()
		return newStore(engine, db, config.Secrets, statements), nil
	case "mysql":
		settings, err := mysqlSettings(rest)
		if err != nil {
			return nil, err
		}
		engine, db, err := openMySQL(ctx, settings, statements)
		if err != nil {
			return nil, err
		}
		if err := migrateMySQL(ctx, engine.pool, settings.DBName); err != nil {
			return nil, errors.Join(err, engine.close())
		}
		return newStore(engine, db, config.Secrets, statements), nil
	}
	return nil, errors.New(`database DSN: begin it with "sqlite:" or "mysql:"`)
}

func newStore(engine engine, db *gorm.DB, keys *secrets.Keyring, statements *statementCount) *Store {
	return &Store{session{engine: engine, gorm: db, secrets: keys, lookups: &lookups{}}, statements}
}

// Transact is described at broker.Store.
func (s *Store) Transact(ctx context.Context, work func(tx broker.Tx) error) error {
	err := s.transact(ctx, func(inner *session) error { return work(inner) })
	if err == nil {
		return nil
	}
	// An error of work is returned as it is; one of the database itself is made the broker's.
	if s.engine.retryable(err) || s.engine.duplicate(err) || s.engine.foreign(err) {
		return s.translate(err, "commit a transaction")
	}
	return err
}

// Close waits for running transactions and closes the connections.
func (s *Store) Close() error { return s.engine.close() }

func mysqlSettings(rest string) (*mysql.Config, error) {
	if !strings.HasPrefix(rest, "//") {
		settings, err := mysql.ParseDSN(rest)
		if err != nil {
			return nil, errors.New("database DSN: it is not of the form user:password@tcp(host:port)/database")
		}
		return needDatabase(settings)
	}
	parsed, err := url.Parse("mysql:" + rest)
	if err != nil || parsed.Host == "" {
		return nil, errors.New("database DSN: it is not of the form mysql://user:password@host:port/database")
	}
	address := parsed.Host
	if parsed.Port() == "" {
		address = parsed.Hostname() + ":3306"
		if strings.Contains(parsed.Hostname(), ":") {
			address = "[" + parsed.Hostname() + "]:3306"
		}
	}
	// The driver's own parser understands the options.
	settings, err := mysql.ParseDSN("@tcp(" + address + ")/?" + parsed.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("database DSN: options: %w", err)
	}
	settings.User = parsed.User.Username()
	settings.Passwd, _ = parsed.User.Password()
	settings.DBName = strings.TrimPrefix(parsed.Path, "/")
	return needDatabase(settings)
}

func needDatabase(settings *mysql.Config) (*mysql.Config, error) {
	if settings.DBName == "" {
		return nil, errors.New("database DSN: it names no database")
	}
	return settings, nil
}

func gormConfig() *gorm.Config {
	return &gorm.Config{
		// Errors are returned and logged by who asked; gorm's own log would tell values.
		Logger:                 logger.Discard,
		SkipDefaultTransaction: true, // session.write opens them
		DisableAutomaticPing:   true,
	}
}

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"golang.org/x/sys/unix"

	migrations "gantry/sql"
)

// migrationPatience is how long a server waits for another one that migrates the same database.
const migrationPatience = 2 * time.Minute

// migrateSQLite brings the schema of a database file up to date. A lock file keeps a second process out meanwhile: goose looks
// for the version before it begins its transaction.
func migrateSQLite(ctx context.Context, database *sql.DB, path string) (err error) {
	file, err := os.OpenFile(path+".migrate", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("migrate database: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }() // closing gives the lock back
	ctx, cancel := context.WithTimeout(ctx, migrationPatience)
	defer cancel()
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("migrate database: lock %s: %w", file.Name(), err)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("migrate database: another process holds %s: %w", file.Name(), ctx.Err())
		}
	}
	return migrate(ctx, goose.DialectSQLite3, database, "sqlite")
}

// migrateMySQL brings the schema of a database up to date under a named lock of the database server.
func migrateMySQL(ctx context.Context, database *sql.DB, name string) error {
	ctx, cancel := context.WithTimeout(ctx, migrationPatience)
	defer cancel()
	return migrate(ctx, goose.DialectMySQL, database, "mysql", goose.WithSessionLocker(namedLock("gantry migrate "+name)))
}

func migrate(ctx context.Context, dialect goose.Dialect, database *sql.DB, folder string, options ...goose.ProviderOption) error {
	files, err := fs.Sub(migrations.Files, folder)
	if err != nil {
		return fmt.Errorf("migrate database: %w", err)
	}
	provider, err := goose.NewProvider(dialect, database, files, append(options, goose.WithDisableGlobalRegistry(true))...)
	if err != nil {
		return fmt.Errorf("migrate database: %w", err)
	}
	// The provider is not closed: that would close the database.
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate database: %w", err)
	}
	return nil
}

// namedLock is GET_LOCK of MySQL and MariaDB, held by one connection and given back when that ends.
type namedLock string

var _ lock.SessionLocker = namedLock("")

func (n namedLock) SessionLock(ctx context.Context, connection *sql.Conn) error {
	var got sql.NullInt64
	// Lock names have up to 64 characters.
	row := connection.QueryRowContext(ctx, "SELECT GET_LOCK(LEFT(?, 64), ?)", string(n), int(migrationPatience.Seconds())-1)
	if err := row.Scan(&got); err != nil {
		return err
	}
	if got.Int64 != 1 {
		return errors.New("another server is migrating the database and does not come to an end")
	}
	return nil
}

func (n namedLock) SessionUnlock(ctx context.Context, connection *sql.Conn) error {
	_, err := connection.ExecContext(ctx, "DO RELEASE_LOCK(LEFT(?, 64))", string(n))
	return err
}

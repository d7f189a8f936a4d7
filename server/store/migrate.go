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
	"golang.org/x/sys/unix"

	migrations "gantry/sql"
)

// migrationPatience is how long a server waits for another one that migrates the same database.
const migrationPatience = 2 * time.Minute

// lockSQLite keeps other processes from opening a database file for the first time: switching to WAL is not tried again when the
// file is busy, and goose looks for the version before it begins its transaction.
func lockSQLite(ctx context.Context, path string) (unlock func() error, err error) {
	file, err := os.OpenFile(path+".migrate", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("migrate database: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, migrationPatience)
	defer cancel()
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return file.Close, nil // which gives the lock back
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("migrate database: lock %s: %w", file.Name(), err), file.Close())
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("migrate database: another process holds %s: %w", file.Name(), ctx.Err()), file.Close())
		}
	}
}

func migrateSQLite(ctx context.Context, database *sql.DB) error {
	return migrate(ctx, goose.DialectSQLite3, database, "sqlite")
}

// migrateMySQL brings the schema of a database up to date under a named lock of the database server, which a connection of its own
// holds and whose end gives it back. goose's own lock comes too late: it makes its table of versions before it takes that.
func migrateMySQL(ctx context.Context, database *sql.DB, name string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, migrationPatience)
	defer cancel()
	connection, err := database.Conn(ctx)
	if err != nil {
		return fmt.Errorf("migrate database: %w", err)
	}
	defer func() { err = errors.Join(err, connection.Close()) }()
	name = "gantry migrate " + name
	var got sql.NullInt64
	// Lock names have up to 64 characters.
	row := connection.QueryRowContext(ctx, "SELECT GET_LOCK(LEFT(?, 64), ?)", name, int(migrationPatience.Seconds())-1)
	if err := row.Scan(&got); err != nil {
		return fmt.Errorf("migrate database: take lock: %w", err)
	}
	if got.Int64 != 1 {
		return errors.New("migrate database: another server is at it and does not come to an end")
	}
	if err := migrate(ctx, goose.DialectMySQL, database, "mysql"); err != nil {
		return err
	}
	if _, err := connection.ExecContext(ctx, "DO RELEASE_LOCK(LEFT(?, 64))", name); err != nil {
		return fmt.Errorf("migrate database: release lock: %w", err)
	}
	return nil
}

func migrate(ctx context.Context, dialect goose.Dialect, database *sql.DB, folder string) error {
	files, err := fs.Sub(migrations.Files, folder)
	if err != nil {
		return fmt.Errorf("migrate database: %w", err)
	}
	provider, err := goose.NewProvider(dialect, database, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("migrate database: %w", err)
	}
	// The provider is not closed: that would close the database.
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate database: %w", err)
	}
	return nil
}

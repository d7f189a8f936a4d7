package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	gormmysql "gorm.io/driver/mysql"
	"gorm.io/gorm"
)

// mysqlConnections bounds the connections of one server program: enough for two cores' worth of work at a round trip each.
const mysqlConnections = 32

// Error numbers of MySQL and MariaDB.
const (
	mysqlDuplicate      = 1062
	mysqlLockTimeout    = 1205
	mysqlDeadlock       = 1213
	mysqlRecordChanged  = 1020 // MariaDB with innodb_snapshot_isolation
	mysqlParentMissing  = 1452
	mysqlParentReferred = 1451
)

type mysqlEngine struct {
	pool       *sql.DB
	statements *statementCount
}

// openMySQL opens a MySQL 8 or MariaDB 10.11 database.
func openMySQL(ctx context.Context, config *mysql.Config, statements *statementCount) (*mysqlEngine, *gorm.DB, error) {
	isolation, err := isolationVariable(ctx, config)
	if err != nil {
		return nil, nil, err
	}
	config = config.Clone()
	if config.Params == nil {
		config.Params = map[string]string{}
	}
	// READ COMMITTED takes no gap locks, which are what concurrent reservations would deadlock on.
	config.Params[isolation] = "'READ-COMMITTED'"
	config.Params["innodb_lock_wait_timeout"] = "10"
	// Strict: a value that does not fit is an error and never cut.
	config.Params["sql_mode"] = "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO'"
	config.Collation = "utf8mb4_bin"
	config.ClientFoundRows = true      // an update that changes nothing still says that the row is there
	config.InterpolateParams = true    // one round trip a statement
	config.Logger = &mysql.NopLogger{} // all errors are returned, too
	if config.Timeout == 0 {
		config.Timeout = 5 * time.Second
	}
	if config.ReadTimeout == 0 {
		config.ReadTimeout = time.Minute
	}
	if config.WriteTimeout == 0 {
		config.WriteTimeout = time.Minute
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, nil, fmt.Errorf("database DSN: %w", err)
	}
	pool := sql.OpenDB(connector)
	pool.SetMaxOpenConns(mysqlConnections)
	pool.SetMaxIdleConns(mysqlConnections)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	pool.SetConnMaxLifetime(time.Hour)
	db, err := gorm.Open(gormmysql.New(gormmysql.Config{Conn: counted{pool, statements}, SkipInitializeWithVersion: true}), gormConfig())
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open database: %w", err), pool.Close())
	}
	return &mysqlEngine{pool, statements}, db, nil
}

// isolationVariable is transaction_isolation on MySQL; MariaDB before 11.1 knows only tx_isolation, which MySQL 8 has dropped.
func isolationVariable(ctx context.Context, config *mysql.Config) (string, error) {
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return "", fmt.Errorf("database DSN: %w", err)
	}
	pool := sql.OpenDB(connector)
	defer pool.Close()
	var version string
	if err := pool.QueryRowContext(ctx, "SELECT VERSION()").Scan(&version); err != nil {
		return "", fmt.Errorf("connect to the database at %s: %w", config.Addr, err)
	}
	if strings.Contains(version, "MariaDB") {
		return "tx_isolation", nil
	}
	return "transaction_isolation", nil
}

func (e *mysqlEngine) begin(ctx context.Context, work func(pool gorm.ConnPool) error) error {
	tx, err := e.pool.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	e.statements.sent.Add(2) // BEGIN, and COMMIT or ROLLBACK
	committed := false
	defer func() {
		if !committed {
			_ = tx.Rollback() // also when work panics
		}
	}()
	if err := work(counted{tx, e.statements}); err != nil {
		return err
	}
	committed = true
	if err := tx.Commit(); err != nil {
		// A connection that broke now leaves the outcome open: repeating could do the work twice.
		if connectionLost(err) {
			return lostAtCommit(err)
		}
		return err
	}
	return nil
}

func (e *mysqlEngine) alone(ctx context.Context, statement func(pool gorm.ConnPool) error) error {
	err := statement(counted{e.pool, e.statements})
	if connectionLost(err) {
		return lostAtCommit(err)
	}
	return err
}

// lostAtCommit hides from retryable what must not be repeated: the outcome is open.
func lostAtCommit(err error) error {
	return fmt.Errorf("connection lost while committing: %v", err)
}

func (e *mysqlEngine) retryable(err error) bool {
	switch mysqlNumber(err) {
	case mysqlDeadlock, mysqlLockTimeout, mysqlRecordChanged:
		return true
	}
	// Before the commit a lost connection has rolled everything back.
	return connectionLost(err)
}

func connectionLost(err error) bool {
	return errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, driver.ErrBadConn)
}

func (e *mysqlEngine) duplicate(err error) bool { return mysqlNumber(err) == mysqlDuplicate }

func (e *mysqlEngine) foreign(err error) bool {
	number := mysqlNumber(err)
	return number == mysqlParentMissing || number == mysqlParentReferred
}

func mysqlNumber(err error) uint16 {
	var known *mysql.MySQLError
	if !errors.As(err, &known) {
		return 0
	}
	return known.Number
}

func (e *mysqlEngine) close() error { return e.pool.Close() }

package store

import (
	"context"
	"database/sql"
	"sync/atomic"

	"gorm.io/gorm"
)

// statementCount counts what is sent to the database.
type statementCount struct{ sent atomic.Int64 }

// counted counts what goes through a connection. Statements that begin and end transactions don't: the engines count them.
type counted struct {
	gorm.ConnPool
	count *statementCount
}

func (c counted) ExecContext(ctx context.Context, statement string, arguments ...any) (sql.Result, error) {
	c.count.sent.Add(1)
	return c.ConnPool.ExecContext(ctx, statement, arguments...)
}

func (c counted) QueryContext(ctx context.Context, statement string, arguments ...any) (*sql.Rows, error) {
	c.count.sent.Add(1)
	return c.ConnPool.QueryContext(ctx, statement, arguments...)
}

func (c counted) QueryRowContext(ctx context.Context, statement string, arguments ...any) *sql.Row {
	c.count.sent.Add(1)
	return c.ConnPool.QueryRowContext(ctx, statement, arguments...)
}

// Statements tells how many SQL statements this Store has sent since it was opened, those that begin, save and end transactions
// among them, migrations not.
func (s *Store) Statements() int64 { return s.statements.sent.Load() }

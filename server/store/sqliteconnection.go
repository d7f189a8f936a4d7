package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
)

// cachingConnection is one connection that keeps its statements compiled. It is used by one goroutine.
type cachingConnection struct {
	database   *sql.DB
	connection *sql.Conn
	statements map[string]*sql.Stmt
	count      *statementCount
}

const (
	cachedStatements      = 300
	cachedStatementLength = 4000 // longer ones are bulk statements of many shapes
)

func (c *cachingConnection) open(ctx context.Context) error {
	if c.connection != nil {
		return nil
	}
	connection, err := c.database.Conn(ctx)
	if err != nil {
		return err
	}
	c.connection, c.statements = connection, map[string]*sql.Stmt{}
	return nil
}

func (c *cachingConnection) close() {
	if c.connection == nil {
		return
	}
	for _, statement := range c.statements {
		_ = statement.Close()
	}
	// ErrBadConn makes database/sql close the connection itself instead of giving it back to the pool.
	_ = c.connection.Raw(func(any) error { return driver.ErrBadConn })
	_ = c.connection.Close()
	c.connection = nil
}

// prepare gives a compiled statement, nil when the query is not worth keeping.
func (c *cachingConnection) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if err := c.open(ctx); err != nil {
		return nil, err
	}
	if statement := c.statements[query]; statement != nil || len(query) > cachedStatementLength {
		return statement, nil
	}
	if len(c.statements) >= cachedStatements {
		for _, statement := range c.statements {
			_ = statement.Close()
		}
		clear(c.statements)
	}
	statement, err := c.connection.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	c.statements[query] = statement
	return statement, nil
}

func (c *cachingConnection) execute(query string) error {
	ctx := context.Background()
	statement, err := c.prepare(ctx, query)
	if err != nil {
		return err
	}
	c.count.sent.Add(1)
	_, err = statement.ExecContext(ctx)
	return err
}

// uninterrupted is the connection as one transaction of a batch sees it. A caller who goes away stops its own transaction at
// the next statement; the running one is finished, because interrupting a write makes SQLite roll back all of the batch.
type uninterrupted struct {
	*cachingConnection
	caller context.Context
}

func (u *uninterrupted) enter(ctx context.Context, query string) (context.Context, *sql.Stmt, error) {
	if err := errors.Join(u.caller.Err(), ctx.Err()); err != nil {
		return nil, nil, err
	}
	ctx = context.WithoutCancel(ctx)
	statement, err := u.prepare(ctx, query)
	return ctx, statement, err
}

func (u *uninterrupted) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	return u.connection.PrepareContext(context.WithoutCancel(ctx), query)
}

func (u *uninterrupted) ExecContext(ctx context.Context, query string, arguments ...any) (sql.Result, error) {
	ctx, statement, err := u.enter(ctx, query)
	if err != nil {
		return nil, err
	}
	if statement == nil {
		return u.connection.ExecContext(ctx, query, arguments...)
	}
	return statement.ExecContext(ctx, arguments...)
}

func (u *uninterrupted) QueryContext(ctx context.Context, query string, arguments ...any) (*sql.Rows, error) {
	ctx, statement, err := u.enter(ctx, query)
	if err != nil {
		return nil, err
	}
	if statement == nil {
		return u.connection.QueryContext(ctx, query, arguments...)
	}
	return statement.QueryContext(ctx, arguments...)
}

// QueryRowContext is part of gorm's interface, for its Row method.
func (u *uninterrupted) QueryRowContext(ctx context.Context, query string, arguments ...any) *sql.Row {
	return u.connection.QueryRowContext(context.WithoutCancel(ctx), query, arguments...)
}

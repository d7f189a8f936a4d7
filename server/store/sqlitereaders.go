package store

import (
	"context"
	"database/sql"
	"sync"
)

// cachingPool keeps the statements of reading connections compiled: that takes SQLite several times as long as a look at a few rows
// (23 % of all processor time of an order's answer). gorm's own cache is not used: the first caller of a statement compiles it for
// all who wait for it, and when he goes away, all of them fail.
type cachingPool struct {
	*sql.DB
	mutex      sync.RWMutex // held for reading while a statement is begun, so that none is closed under it
	statements map[string]*sql.Stmt
}

func newCachingPool(database *sql.DB) *cachingPool {
	return &cachingPool{DB: database, statements: map[string]*sql.Stmt{}}
}

// QueryContext compiles a statement when it is new.
func (p *cachingPool) QueryContext(ctx context.Context, query string, arguments ...any) (*sql.Rows, error) {
	if len(query) > cachedStatementLength {
		return p.DB.QueryContext(ctx, query, arguments...)
	}
	if rows, known, err := p.query(ctx, query, arguments); known {
		return rows, err
	}
	if err := p.keep(ctx, query); err != nil {
		return nil, err
	}
	if rows, known, err := p.query(ctx, query, arguments); known {
		return rows, err
	}
	return p.DB.QueryContext(ctx, query, arguments...) // it was thrown out at once
}

func (p *cachingPool) query(ctx context.Context, query string, arguments []any) (rows *sql.Rows, known bool, err error) {
	p.mutex.RLock()
	defer p.mutex.RUnlock()
	statement := p.statements[query]
	if statement == nil {
		return nil, false, nil
	}
	rows, err = statement.QueryContext(ctx, arguments...)
	return rows, true, err
}

// keep compiles a statement. When there are too many, of lists of many lengths say, it begins anew.
func (p *cachingPool) keep(ctx context.Context, query string) error {
	statement, err := p.PrepareContext(ctx, query)
	if err != nil {
		return err
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.statements[query] != nil {
		return statement.Close()
	}
	if len(p.statements) >= cachedStatements {
		for _, each := range p.statements {
			_ = each.Close() // rows that are still read keep theirs
		}
		clear(p.statements)
	}
	p.statements[query] = statement
	return nil
}

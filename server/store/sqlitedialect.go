package store

import (
	"errors"
	"strconv"

	"gorm.io/gorm"
	"gorm.io/gorm/callbacks"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"
	"gorm.io/gorm/schema"
)

// sqliteDialect lets gorm speak SQLite over modernc.org/sqlite.
//
// Why not a dialector from elsewhere: gorm.io/driver/sqlite links the cgo driver; github.com/glebarez/sqlite brings its own
// fork of modernc's driver of 2023, which compiles each statement at every call and can't be linked beside modernc's;
// github.com/ncruces/go-sqlite3/gormlite runs on WebAssembly. Measured on 2 cores (insert + update a transaction, WAL, NORMAL):
// modernc 1.61.1 prepared 19,300 tx/s and 137,000 inserts/s, glebarez 12,200 and 64,000, ncruces 0.30 11,100; ncruces needs 1.2 s
// and 84 MB to start, the others 2 ms and 13 MB. The schema is goose's, so there is no migrator here.
type sqliteDialect struct{ pool gorm.ConnPool }

func (d sqliteDialect) Name() string { return "sqlite" }

func (d sqliteDialect) Initialize(db *gorm.DB) error {
	db.ConnPool = d.pool
	callbacks.RegisterDefaultCallbacks(db, &callbacks.Config{LastInsertIDReversed: true})
	db.ClauseBuilders["LIMIT"] = func(c clause.Clause, builder clause.Builder) {
		limit, ok := c.Expression.(clause.Limit)
		if !ok {
			return
		}
		count := -1 // SQLite: no limit; OFFSET needs one
		if limit.Limit != nil && *limit.Limit >= 0 {
			count = *limit.Limit
		}
		_, _ = builder.WriteString("LIMIT " + strconv.Itoa(count))
		if limit.Offset > 0 {
			_, _ = builder.WriteString(" OFFSET " + strconv.Itoa(limit.Offset))
		}
	}
	// A writing transaction has the whole database to itself: there are no rows to lock.
	db.ClauseBuilders["FOR"] = func(clause.Clause, clause.Builder) {}
	return nil
}

func (d sqliteDialect) DefaultValueOf(field *schema.Field) clause.Expression {
	return clause.Expr{SQL: "NULL"} // asked for auto-increment keys only: no model has defaults
}

func (d sqliteDialect) Migrator(*gorm.DB) gorm.Migrator { return nil }

func (d sqliteDialect) BindVarTo(writer clause.Writer, _ *gorm.Statement, _ any) {
	_ = writer.WriteByte('?')
}

// QuoteTo quotes a name of the models' or this package's own; none holds a quote.
func (d sqliteDialect) QuoteTo(writer clause.Writer, name string) {
	_ = writer.WriteByte('"')
	for i := range len(name) {
		if name[i] == '.' {
			_, _ = writer.WriteString(`"."`)
			continue
		}
		_ = writer.WriteByte(name[i])
	}
	_ = writer.WriteByte('"')
}

func (d sqliteDialect) Explain(sql string, variables ...any) string {
	return logger.ExplainSQL(sql, nil, `'`, variables...)
}

func (d sqliteDialect) DataTypeOf(field *schema.Field) string { return string(field.DataType) }

// SavePoint and RollbackTo are what gorm asks of a dialect for nested transactions, which this package does not use.
func (d sqliteDialect) SavePoint(*gorm.DB, string) error  { return errNested }
func (d sqliteDialect) RollbackTo(*gorm.DB, string) error { return errNested }

var errNested = errors.New("nested transactions are not used")

package store

import (
	"database/sql"
	"reflect"
	"slices"
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/schema"
)

// table writes and reads rows of one model with statements that are put together once. gorm works each out anew, which costs more
// than SQLite takes to carry it out: what every order and every step of a task does goes through here. All else is gorm's.
type table[Row any] struct {
	name    string
	columns []column
	insert  string // of one row, up to VALUES
	values  string // the parameters of one row
	list    string // SELECT … FROM the table
}

// column is a column with the field of the model that it is kept in.
type column struct {
	name     string
	field    []int
	numbered bool // by the database, at the insert
}

// tableOf reads the model as gorm does.
func tableOf[Row schema.Tabler]() table[Row] {
	var row Row
	t := table[Row]{name: row.TableName(), columns: columnsOf(reflect.TypeFor[Row](), nil)}
	var all, inserted []string
	for _, each := range t.columns {
		all = append(all, each.name)
		if !each.numbered {
			inserted = append(inserted, each.name)
		}
	}
	t.insert = "INSERT INTO " + t.name + " (" + strings.Join(inserted, ", ") + ") VALUES "
	t.values = "(?" + strings.Repeat(", ?", len(inserted)-1) + ")"
	t.list = "SELECT " + strings.Join(all, ", ") + " FROM " + t.name + " "
	return t
}

// columnsOf gives the columns of a model, or of the part of one that is embedded in its field at place.
func columnsOf(model reflect.Type, place []int) (columns []column) {
	for i := range model.NumField() {
		field := model.Field(i)
		index := append(slices.Clone(place), i)
		settings := schema.ParseTagSetting(field.Tag.Get("gorm"), ";")
		if _, embedded := settings["EMBEDDED"]; embedded {
			columns = append(columns, columnsOf(field.Type, index)...)
			continue
		}
		name := settings["COLUMN"]
		if name == "" {
			name = schema.NamingStrategy{}.ColumnName("", field.Name)
		}
		columns = append(columns, column{name: name, field: index, numbered: field.Name == "ID"})
	}
	return columns
}

// add inserts rows and gives the id of the only one.
func (t table[Row]) add(db *gorm.DB, rows ...*Row) (id int64, err error) {
	values := t.values
	if len(rows) > 1 {
		values += strings.Repeat(", "+t.values, len(rows)-1)
	}
	arguments := make([]any, 0, len(rows)*len(t.columns))
	for _, row := range rows {
		fields := reflect.ValueOf(row).Elem()
		for _, each := range t.columns {
			if !each.numbered {
				arguments = append(arguments, fields.FieldByIndex(each.field).Interface())
			}
		}
	}
	result, err := execute(db, t.insert+values, arguments...)
	if err != nil || len(rows) > 1 {
		return 0, err
	}
	return result.LastInsertId()
}

// find reads the rows that a condition, with what follows it, is true for.
func (t table[Row]) find(db *gorm.DB, condition string, arguments ...any) (found []Row, err error) {
	err = query(db, func(rows *sql.Rows) error {
		var row Row
		fields := reflect.ValueOf(&row).Elem()
		targets := make([]any, len(t.columns))
		for i, each := range t.columns {
			targets[i] = fields.FieldByIndex(each.field).Addr().Interface()
		}
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		found = append(found, row)
		return nil
	}, t.list+condition, arguments...)
	return found, err
}

// first reads one row; NotFound names subject and key.
func (t table[Row]) first(db *gorm.DB, subject string, key any, condition string, arguments ...any) (*Row, error) {
	rows, err := t.find(db, condition+" LIMIT 1", arguments...)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, notFound(subject, key)
	}
	return &rows[0], nil
}

// execute sends a statement past gorm.
func execute(db *gorm.DB, statement string, arguments ...any) (sql.Result, error) {
	return db.Statement.ConnPool.ExecContext(db.Statement.Context, statement, arguments...)
}

// affect is execute for a statement of which it matters how many rows it met.
func affect(db *gorm.DB, statement string, arguments ...any) (rows int64, err error) {
	result, err := execute(db, statement, arguments...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// query sends a query past gorm and gives each row to read.
func query(db *gorm.DB, read func(rows *sql.Rows) error, statement string, arguments ...any) error {
	rows, err := db.Statement.ConnPool.QueryContext(db.Statement.Context, statement, arguments...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := read(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// parameters is a list of count parameters, for IN.
func parameters(count int) string { return "(?" + strings.Repeat(", ?", count-1) + ")" }

// anyOf gives values as a statement's arguments.
func anyOf[Value any](values []Value) []any {
	arguments := make([]any, len(values))
	for i, value := range values {
		arguments[i] = value
	}
	return arguments
}

// onlyColumn reads the only column of a query's rows.
func onlyColumn[Value any](db *gorm.DB, statement string, arguments ...any) (values []Value, err error) {
	err = query(db, func(rows *sql.Rows) error {
		var value Value
		err := rows.Scan(&value)
		values = append(values, value)
		return err
	}, statement, arguments...)
	return values, err
}

// forUpdate locks the rows that a query reads; it ends the query. On SQLite a writing transaction has the whole database to itself.
func forUpdate(db *gorm.DB) string {
	if db.Name() == "mysql" {
		return " FOR UPDATE"
	}
	return ""
}

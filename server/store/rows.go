package store

import (
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"gorm.io/gorm"

	"gantry/server/broker"
)

// micros is a time as it is stored: microseconds since 1970 UTC. The zero time.Time is 0.
type micros int64

func fromTime(t time.Time) micros {
	if t.IsZero() {
		return 0
	}
	return micros(t.UnixMicro())
}

func (m micros) time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(m)).UTC()
}

func fromTimePointer(t *time.Time) *micros {
	if t == nil {
		return nil
	}
	stored := fromTime(*t)
	return &stored
}

func (m *micros) timePointer() *time.Time {
	if m == nil {
		return nil
	}
	t := m.time()
	return &t
}

// document is a value kept as JSON text.
type document[T any] struct{ value T }

func (d document[T]) Value() (driver.Value, error) {
	text, err := json.Marshal(d.value)
	return string(text), err
}

func (d *document[T]) Scan(source any) error {
	switch text := source.(type) {
	case string:
		return json.Unmarshal([]byte(text), &d.value)
	case []byte:
		return json.Unmarshal(text, &d.value)
	}
	return fmt.Errorf("JSON column holds %T", source)
}

func (document[T]) GormDataType() string { return "text" }

// present makes "" NULL, for unique columns that may be empty.
func present(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func notFound(subject string, key any) error {
	return broker.Errorf(broker.NotFound, "%s %v does not exist", subject, key)
}

// first reads the first row of a query into row; NotFound names subject and key.
func first(query *gorm.DB, row any, subject string, key any) error {
	result := query.Limit(1).Find(row)
	if result.Error != nil {
		return result.Error
	}
	if result.RowsAffected == 0 {
		return notFound(subject, key)
	}
	return nil
}

// changed is NotFound when a statement met no row.
func changed(result *gorm.DB, subject string, key any) error {
	// gorm refuses to update a row of id 0.
	if errors.Is(result.Error, gorm.ErrMissingWhereClause) || result.Error == nil && result.RowsAffected == 0 {
		return notFound(subject, key)
	}
	return result.Error
}

// paged narrows a query to a page.
func paged(query *gorm.DB, page broker.Page) *gorm.DB {
	return query.Limit(max(page.Size, 1)).Offset(max(page.Number-1, 0) * max(page.Size, 1))
}

// listPage reads one page of rows and counts all of them.
func listPage[Row any](db *gorm.DB, page broker.Page, order string) (rows []Row, total int64, err error) {
	if err := db.Model(new(Row)).Count(&total).Error; err != nil || total == 0 {
		return nil, 0, err
	}
	err = paged(db.Model(new(Row)).Order(order), page).Find(&rows).Error
	return rows, total, err
}

// nouns converts all rows.
func nouns[Row, Noun any](rows []Row, convert func(*Row) Noun) []Noun {
	converted := make([]Noun, len(rows))
	for i := range rows {
		converted[i] = convert(&rows[i])
	}
	return converted
}

// violates tells whether a duplicate is one of a table's column: SQLite names the column ("vms.mac"), MySQL the key
// ("vms_mac", which the migrations call table_column).
func violates(err error, table, column string) bool {
	text := err.Error()
	return strings.Contains(text, table+"."+column) || strings.Contains(text, table+"_"+column)
}

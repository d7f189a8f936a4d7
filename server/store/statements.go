package store

import (
	"sync/atomic"

	"gorm.io/gorm"
)

// statementCount counts what is sent to the database.
type statementCount struct{ sent atomic.Int64 }

// register counts what goes through gorm. Statements that begin and end transactions don't: the engines count them.
func (c *statementCount) register(db *gorm.DB) error {
	callbacks := db.Callback()
	for _, each := range []interface {
		Register(name string, callback func(*gorm.DB)) error
	}{callbacks.Create(), callbacks.Query(), callbacks.Update(), callbacks.Delete(), callbacks.Row(), callbacks.Raw()} {
		if err := each.Register("gantry:count", func(*gorm.DB) { c.sent.Add(1) }); err != nil {
			return err
		}
	}
	return nil
}

// Statements tells how many SQL statements this Store has sent since it was opened, those that begin, save and end transactions
// among them, migrations not.
func (s *Store) Statements() int64 { return s.statements.sent.Load() }

package store_test

import (
	"context"
	"testing"

	"gantry/server/broker"
	"gantry/server/store"
)

// The count holds what the database gets: what is asked, what is changed, and what is around a transaction.
func TestStatements(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		check(t, s.SaveSetting(t.Context(), "colour", "red", false))
		read := func(tx broker.Tx) {
			_, err := tx.Setting(t.Context(), "colour")
			check(t, err)
		}
		sent := func(work func()) int64 {
			before := s.Statements()
			work()
			return s.Statements() - before
		}
		if got := sent(func() { read(s) }); got != 1 {
			t.Errorf("a look counts %d", got)
		}
		transaction := func(looks int) int64 {
			return sent(func() {
				check(t, s.Transact(t.Context(), func(tx broker.Tx) error {
					for range looks {
						read(tx)
					}
					return nil
				}))
			})
		}
		none, three := transaction(0), transaction(3)
		if none < 2 || three != none+3 {
			t.Errorf("an empty transaction counts %d, one with three looks %d", none, three)
		}
		if got := sent(func() { _ = s.Transact(t.Context(), func(broker.Tx) error { return context.Canceled }) }); got < 2 {
			t.Errorf("a transaction that is rolled back counts %d", got)
		}
	})
}

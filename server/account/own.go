package account

import (
	"context"
	"net/netip"
	"time"

	"gantry/server/broker"
)

// ChangePassword gives an admin who knows the present password a new one. All other sessions end; the new one is for who asked.
// Guesses count as failed logins.
func (s *Service) ChangePassword(ctx context.Context, admin int64, old, fresh string, address netip.Addr) (Session, error) {
	if err := CheckPassword("newPassword", fresh); err != nil {
		return Session{}, err
	}
	if old == fresh {
		return Session{}, broker.InvalidField("newPassword", "must differ from the present one")
	}
	hash, err := s.hash(ctx, fresh)
	if err != nil {
		return Session{}, err
	}
	now := s.now().UTC()
	var changed *broker.Admin
	err = s.changeOwn(ctx, admin, old, address, func(row *broker.Admin) {
		row.PasswordHash, row.TokensAfter = hash, now
		changed = row
	})
	if err != nil {
		return Session{}, err
	}
	return s.issue(changed, now)
}

// changeOwn changes an admin's own account once the password was proved.
func (s *Service) changeOwn(ctx context.Context, id int64, password string, address netip.Addr, change func(admin *broker.Admin)) error {
	admin, err := s.store.FindAdmin(ctx, id)
	if err != nil {
		return broker.Wrap(err, "find the admin")
	}
	attempt, wait := s.throttle.begin(admin.Username, address)
	if wait > 0 {
		return broker.Because(broker.Busy, broker.ReasonTooManyAttempts, int64((wait+time.Second-1)/time.Second))
	}
	same, err := s.samePassword(ctx, password[:min(len(password), maxPassword)], admin.PasswordHash)
	if err != nil {
		return err
	}
	if !same {
		failure := broker.Because(broker.Invalid, broker.ReasonWrongPassword)
		failure.Field = "password"
		return failure
	}
	attempt.succeeded()
	err = s.store.Transact(ctx, func(tx broker.Tx) error {
		row, err := tx.FindAdmin(ctx, id)
		if err != nil {
			return err
		}
		if row.PasswordHash != admin.PasswordHash {
			return broker.Because(broker.Invalid, broker.ReasonWrongPassword)
		}
		change(row)
		return tx.UpdateAdmin(ctx, row)
	})
	return broker.Wrap(err, "store the account")
}

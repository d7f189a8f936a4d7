package account

import (
	"context"
	"net/netip"
	"time"

	"github.com/google/uuid"

	"gantry/server/broker"
)

// FirstAdmin is the name of the admin that is made at first start.
const FirstAdmin = "admin"

// EnsureFirstAdmin makes an admin with a random password when there is none at all. The password is told once, here.
func (s *Service) EnsureFirstAdmin(ctx context.Context) (username, password string, created bool, err error) {
	_, total, err := s.store.ListAdmins(ctx, broker.Page{Number: 1, Size: 1})
	if err != nil || total > 0 {
		return "", "", false, broker.Wrap(err, "look for an admin")
	}
	password = randomPassword()
	hash, err := hashPassword(password)
	if err != nil {
		return "", "", false, err
	}
	err = s.store.InsertAdmin(ctx, &broker.Admin{
		UUID: uuid.NewString(), Username: FirstAdmin, PasswordHash: hash, Name: FirstAdmin, CreatedAt: s.now().UTC(),
	})
	if broker.Is(err, broker.Exists) { // another replica was faster and has told its password
		return "", "", false, nil
	}
	if err != nil {
		return "", "", false, broker.Wrap(err, "store the first admin")
	}
	return FirstAdmin, password, true, nil
}

// SetPassword gives an admin a new password, ends all of the admin's sessions and takes the second factor away: it is for who
// lost one or the other.
func (s *Service) SetPassword(ctx context.Context, username, password string) error {
	if err := CheckPassword("password", password); err != nil {
		return err
	}
	hash, err := hashPassword(password)
	if err != nil {
		return err
	}
	err = s.store.Transact(ctx, func(tx broker.Tx) error {
		admin, err := tx.FindAdminByName(ctx, username)
		if err != nil {
			return err
		}
		admin.PasswordHash, admin.TokensAfter = hash, s.now().UTC()
		admin.TOTPSecret, admin.TOTPStep = "", 0
		return tx.UpdateAdmin(ctx, admin)
	})
	return broker.Wrap(err, "store the password")
}

// Session is what a login gives.
type Session struct {
	Admin     *broker.Admin
	Token     string // JWT
	ExpiresAt time.Time
}

// Login checks a password, and the code of the second factor where the admin has one: Invalid with ReasonCodeRequired or
// ReasonWrongCode and Field "code" to who knows the password. After several failures for the same name and address, or from one address, it is Busy with
// ReasonTooManyAttempts for a while, whatever the password. An unknown name and a wrong password are told apart neither by the
// error nor by the time taken; a disabled account is told only to who knows its password.
func (s *Service) Login(ctx context.Context, username, password, code string, address netip.Addr) (Session, error) {
	attempt, wait := s.throttle.begin(username, address)
	if wait > 0 {
		return Session{}, broker.Because(broker.Busy, broker.ReasonTooManyAttempts, int64((wait+time.Second-1)/time.Second))
	}
	admin, err := s.store.FindAdminByName(ctx, username)
	if err != nil && !broker.Is(err, broker.NotFound) {
		return Session{}, broker.Wrap(err, "find the admin")
	}
	hash := s.decoy
	if err == nil {
		hash = admin.PasswordHash
	}
	if len(password) > maxPassword {
		password = password[:maxPassword]
	}
	same, compareErr := s.samePassword(ctx, password, hash)
	if compareErr != nil {
		return Session{}, compareErr
	}
	if err != nil || !same {
		s.log.Warn("login refused", "address", address.String())
		return Session{}, broker.Because(broker.Unauthenticated, broker.ReasonWrongPassword)
	}
	step, err := s.checkCode(admin, code)
	if err != nil {
		return Session{}, err
	}
	attempt.succeeded()
	if admin.Disabled {
		return Session{}, broker.Because(broker.Forbidden, broker.ReasonAccountDisabled)
	}
	now := s.now().UTC()
	if err := s.noteLogin(ctx, admin, now, step); err != nil {
		return Session{}, err
	}
	return s.issue(admin, now)
}

// noteLogin stores the time of the login. It reads the row anew: comparing took a while, and what an operator changed meanwhile
// must stay, and count.
func (s *Service) noteLogin(ctx context.Context, admin *broker.Admin, now time.Time, step int64) error {
	err := s.store.Transact(ctx, func(tx broker.Tx) error {
		fresh, err := tx.FindAdmin(ctx, admin.ID)
		if err != nil {
			return err
		}
		if fresh.Disabled || fresh.PasswordHash != admin.PasswordHash {
			return broker.Because(broker.Unauthenticated, broker.ReasonWrongPassword)
		}
		if fresh.TOTPSecret != admin.TOTPSecret || step != 0 && step <= fresh.TOTPStep { // two logins with one code
			return wrongCode(broker.ReasonWrongCode)
		}
		if step != 0 {
			fresh.TOTPStep = step
		}
		fresh.LoginAt = &now
		return tx.UpdateAdmin(ctx, fresh)
	})
	return broker.Wrap(err, "store the login time")
}

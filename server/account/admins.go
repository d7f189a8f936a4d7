package account

import (
	"context"
	"net/mail"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"gantry/server/broker"
)

var usernamePattern = regexp.MustCompile(`^[\p{L}\p{N}][\p{L}\p{N}._@-]{0,63}$`)

// Profile is what an admin is known by. Username is unique, the others may be empty.
type Profile struct {
	Username, Name, Phone, Email string
}

func (p *Profile) check() error {
	for _, field := range []struct {
		name string
		text *string
		most int
	}{{"username", &p.Username, 64}, {"name", &p.Name, 100}, {"phone", &p.Phone, 40}, {"email", &p.Email, 254}} {
		*field.text = strings.TrimSpace(*field.text)
		if utf8.RuneCountInString(*field.text) > field.most {
			return broker.InvalidField(field.name, "has more than %d characters", field.most)
		}
	}
	if !usernamePattern.MatchString(p.Username) {
		return broker.InvalidField("username", "must begin with a letter or digit; . _ @ - may follow")
	}
	if strings.Contains(p.Email, "@") {
		if _, err := mail.ParseAddress(p.Email); err != nil {
			return broker.InvalidField("email", "is not an e-mail address")
		}
	}
	return nil
}

// Register makes another admin. Exists when the user name is taken.
func (s *Service) Register(ctx context.Context, profile Profile, password string) (*broker.Admin, error) {
	if err := profile.check(); err != nil {
		return nil, err
	}
	if err := CheckPassword("password", password); err != nil {
		return nil, err
	}
	hash, err := s.hash(ctx, password)
	if err != nil {
		return nil, err
	}
	admin := &broker.Admin{
		UUID: uuid.NewString(), Username: profile.Username, PasswordHash: hash, Name: profile.Name, Phone: profile.Phone,
		Email: profile.Email, CreatedAt: s.now().UTC(),
	}
	if err := s.store.InsertAdmin(ctx, admin); err != nil {
		return nil, broker.Wrap(err, "store the administrator")
	}
	return admin, nil
}

// UpdateAdmin changes an admin; password "" stays. A new password ends all of the admin's sessions.
func (s *Service) UpdateAdmin(ctx context.Context, id int64, profile Profile, password string) error {
	if err := profile.check(); err != nil {
		return err
	}
	hash := ""
	if password != "" {
		if err := CheckPassword("password", password); err != nil {
			return err
		}
		var err error
		if hash, err = s.hash(ctx, password); err != nil {
			return err
		}
	}
	err := s.store.Transact(ctx, func(tx broker.Tx) error {
		admin, err := tx.FindAdmin(ctx, id)
		if err != nil {
			return noSuchAdmin(err, id)
		}
		admin.Username, admin.Name, admin.Phone, admin.Email = profile.Username, profile.Name, profile.Phone, profile.Email
		if hash != "" {
			admin.PasswordHash, admin.TokensAfter = hash, s.now().UTC()
		}
		return tx.UpdateAdmin(ctx, admin)
	})
	return broker.Wrap(err, "store the administrator")
}

// DeleteAdmin ends an account and its sessions. Conflict with ReasonLastAdmin when nobody could log in afterwards.
func (s *Service) DeleteAdmin(ctx context.Context, id int64) error {
	return broker.Wrap(noSuchAdmin(s.store.DeleteAdmin(ctx, id), id), "delete the administrator")
}

func noSuchAdmin(err error, id int64) error {
	if !broker.Is(err, broker.NotFound) {
		return err
	}
	failure := broker.Because(broker.NotFound, broker.ReasonAdminNotFound, id)
	failure.Field = "id"
	return failure
}

// hash takes one of the places that bound memory.
func (s *Service) hash(ctx context.Context, password string) (string, error) {
	select {
	case s.hashing <- struct{}{}:
	case <-ctx.Done():
		return "", broker.Errorf(broker.Busy, "too many logins at once")
	}
	defer func() { <-s.hashing }()
	return hashPassword(password)
}

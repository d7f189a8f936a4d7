package store

import (
	"context"
	"fmt"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"gantry/server/broker"
)

type adminRow struct {
	ID           int64
	UUID         string `gorm:"column:uuid"`
	Username     string
	PasswordHash string
	Name         string
	Phone        string
	Email        string
	LoginAt      *micros
	TokensAfter  micros
	Disabled     bool
	TOTPSecret   string `gorm:"column:totp_secret"`
	TOTPStep     int64  `gorm:"column:totp_step"`
	CreatedAt    micros `gorm:"autoCreateTime:false"`
}

func (adminRow) TableName() string { return "admins" }

func totpContext(id int64) string { return fmt.Sprintf("admins/totp_secret/%d", id) }

// adminRow leaves the secret empty while the id it is bound to is not known.
func (s *session) adminRow(admin *broker.Admin) (row *adminRow, err error) {
	row = &adminRow{
		ID: admin.ID, UUID: admin.UUID, Username: admin.Username, PasswordHash: admin.PasswordHash, Name: admin.Name,
		Phone: admin.Phone, Email: admin.Email, LoginAt: fromTimePointer(admin.LoginAt), TokensAfter: fromTime(admin.TokensAfter),
		Disabled: admin.Disabled, TOTPStep: admin.TOTPStep, CreatedAt: fromTime(admin.CreatedAt),
	}
	if row.ID != 0 && admin.TOTPSecret != "" {
		row.TOTPSecret, err = s.secrets.Encrypt(admin.TOTPSecret, totpContext(row.ID))
	}
	return row, err
}

func (s *session) admin(r *adminRow) (admin *broker.Admin, err error) {
	admin = &broker.Admin{
		ID: r.ID, UUID: r.UUID, Username: r.Username, PasswordHash: r.PasswordHash, Name: r.Name, Phone: r.Phone, Email: r.Email,
		LoginAt: r.LoginAt.timePointer(), TokensAfter: r.TokensAfter.time(), Disabled: r.Disabled, TOTPStep: r.TOTPStep, CreatedAt: r.CreatedAt.time(),
	}
	if r.TOTPSecret != "" {
		admin.TOTPSecret, err = s.secrets.Decrypt(r.TOTPSecret, totpContext(r.ID))
	}
	return admin, err
}

func (s *session) adminTaken(err error, admin *broker.Admin) error {
	if err == nil || !s.engine.duplicate(err) {
		return err
	}
	return &broker.Error{Kind: broker.Exists, Field: "username", Detail: fmt.Sprintf("user name %q is taken", admin.Username), Err: err}
}

func (s *session) InsertAdmin(ctx context.Context, admin *broker.Admin) error {
	return s.write(ctx, "add administrator", func(db *gorm.DB) error {
		fresh := *admin
		fresh.ID, fresh.TOTPSecret = 0, "" // a second factor comes later
		row, err := s.adminRow(&fresh)
		if err != nil {
			return err
		}
		if err := db.Create(row).Error; err != nil {
			return s.adminTaken(err, admin)
		}
		admin.ID = row.ID
		return nil
	})
}

func (s *session) UpdateAdmin(ctx context.Context, admin *broker.Admin) error {
	return s.write(ctx, "change administrator", func(db *gorm.DB) error {
		row, err := s.adminRow(admin)
		if err != nil {
			return err
		}
		result := db.Select("*").Omit("id", "created_at").Updates(row)
		return s.adminTaken(changed(result, "administrator", admin.ID), admin)
	})
}

func (s *session) DeleteAdmin(ctx context.Context, id int64) error {
	return s.write(ctx, "remove administrator", func(db *gorm.DB) error {
		// All rows are locked: two admins who delete each other take turns, and the second one is refused.
		var rows []adminRow
		if err := db.Clauses(clause.Locking{Strength: "UPDATE"}).Select("id", "disabled").Order("id").Find(&rows).Error; err != nil {
			return err
		}
		found, others := false, 0
		for _, row := range rows {
			found = found || row.ID == id
			if row.ID != id && !row.Disabled {
				others++
			}
		}
		if !found {
			return broker.Because(broker.NotFound, broker.ReasonAdminNotFound, id)
		}
		if others == 0 {
			return broker.Because(broker.Conflict, broker.ReasonLastAdmin)
		}
		return changed(db.Delete(&adminRow{}, id), "administrator", id)
	})
}

func (s *session) FindAdmin(ctx context.Context, id int64) (*broker.Admin, error) {
	return s.findAdmin(ctx, "id = ?", id)
}

func (s *session) FindAdminByName(ctx context.Context, username string) (*broker.Admin, error) {
	return s.findAdmin(ctx, "username = ?", username)
}

func (s *session) FindAdminByUUID(ctx context.Context, uuid string) (*broker.Admin, error) {
	return s.findAdmin(ctx, "uuid = ?", uuid)
}

func (s *session) findAdmin(ctx context.Context, where string, key any) (found *broker.Admin, err error) {
	err = s.read(ctx, "find administrator", func(db *gorm.DB) error {
		var row adminRow
		if err := first(db.Where(where, key), &row, "administrator", key); err != nil {
			return err
		}
		admin, err := s.admin(&row)
		found = admin
		return err
	})
	return found, err
}

func (s *session) ListAdmins(ctx context.Context, page broker.Page) (admins []broker.Admin, total int64, err error) {
	err = s.read(ctx, "list administrators", func(db *gorm.DB) error {
		rows, count, err := listPage[adminRow](db, page, "id")
		if err != nil {
			return err
		}
		admins, total = make([]broker.Admin, len(rows)), count
		for i := range rows {
			admin, err := s.admin(&rows[i])
			if err != nil {
				return err
			}
			admins[i] = *admin
		}
		return nil
	})
	return admins, total, err
}

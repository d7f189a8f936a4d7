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
	CreatedAt    micros `gorm:"autoCreateTime:false"`
}

func (adminRow) TableName() string { return "admins" }

func newAdminRow(admin *broker.Admin) *adminRow {
	return &adminRow{
		ID: admin.ID, UUID: admin.UUID, Username: admin.Username, PasswordHash: admin.PasswordHash, Name: admin.Name,
		Phone: admin.Phone, Email: admin.Email, LoginAt: fromTimePointer(admin.LoginAt), TokensAfter: fromTime(admin.TokensAfter),
		Disabled: admin.Disabled, CreatedAt: fromTime(admin.CreatedAt),
	}
}

func (r *adminRow) noun() broker.Admin {
	return broker.Admin{
		ID: r.ID, UUID: r.UUID, Username: r.Username, PasswordHash: r.PasswordHash, Name: r.Name, Phone: r.Phone, Email: r.Email,
		LoginAt: r.LoginAt.timePointer(), TokensAfter: r.TokensAfter.time(), Disabled: r.Disabled, CreatedAt: r.CreatedAt.time(),
	}
}

func (s *session) adminTaken(err error, admin *broker.Admin) error {
	if err == nil || !s.engine.duplicate(err) {
		return err
	}
	return &broker.Error{Kind: broker.Exists, Field: "username", Detail: fmt.Sprintf("user name %q is taken", admin.Username), Err: err}
}

func (s *session) InsertAdmin(ctx context.Context, admin *broker.Admin) error {
	return s.write(ctx, "add administrator", func(db *gorm.DB) error {
		row := newAdminRow(admin)
		row.ID = 0
		if err := db.Create(row).Error; err != nil {
			return s.adminTaken(err, admin)
		}
		admin.ID = row.ID
		return nil
	})
}

func (s *session) UpdateAdmin(ctx context.Context, admin *broker.Admin) error {
	return s.write(ctx, "change administrator", func(db *gorm.DB) error {
		result := db.Select("*").Omit("id", "created_at").Updates(newAdminRow(admin))
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
		admin := row.noun()
		found = &admin
		return nil
	})
	return found, err
}

func (s *session) ListAdmins(ctx context.Context, page broker.Page) (admins []broker.Admin, total int64, err error) {
	err = s.read(ctx, "list administrators", func(db *gorm.DB) error {
		rows, count, err := listPage[adminRow](db, page, "id")
		admins, total = nouns(rows, (*adminRow).noun), count
		return err
	})
	return admins, total, err
}

package store

import (
	"context"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

type settingRow struct {
	Name   string `gorm:"primaryKey"`
	Value  string
	Secret bool
}

func (settingRow) TableName() string { return "settings" }

func (s *session) settingRow(name, value string, secret bool) (row *settingRow, err error) {
	row = &settingRow{Name: name, Value: value, Secret: secret}
	if secret {
		row.Value, err = s.secrets.Encrypt(value, settingContext(name))
	}
	return row, err
}

func (s *session) Setting(ctx context.Context, name string) (string, error) {
	return lookup(s, lookupKey{query: "setting", text: name}, func() (value string, err error) {
		err = s.read(ctx, "read setting", func(db *gorm.DB) error {
			value, err = s.setting(db, name)
			return err
		})
		return value, err
	})
}

func (s *session) setting(db *gorm.DB, name string) (string, error) {
	var row settingRow
	if err := first(db.Where("name = ?", name), &row, "setting", name); err != nil {
		return "", err
	}
	if !row.Secret {
		return row.Value, nil
	}
	return s.secrets.Decrypt(row.Value, settingContext(name))
}

func (s *session) SaveSetting(ctx context.Context, name, value string, secret bool) error {
	return s.writeOne(ctx, "store setting", func(db *gorm.DB) error {
		row, err := s.settingRow(name, value, secret)
		if err != nil {
			return err
		}
		return db.Clauses(clause.OnConflict{
			Columns: []clause.Column{{Name: "name"}}, DoUpdates: clause.AssignmentColumns([]string{"value", "secret"}),
		}).Create(row).Error
	})
}

func (s *session) InsertSetting(ctx context.Context, name, value string, secret bool) (holds string, err error) {
	err = s.write(ctx, "store setting", func(db *gorm.DB) error {
		row, err := s.settingRow(name, value, secret)
		if err != nil {
			return err
		}
		if err := db.Clauses(clause.OnConflict{DoNothing: true}).Create(row).Error; err != nil {
			return err
		}
		holds, err = s.setting(db, name)
		return err
	})
	return holds, err
}

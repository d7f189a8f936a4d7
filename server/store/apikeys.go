package store

import (
	"context"
	"fmt"

	"gorm.io/gorm"

	"gantry/server/broker"
)

type apiKeyRow struct {
	ID         int64
	AppID      string
	SecretHash string
	Hint       string
	Info       string
	Disabled   bool
	CreatedAt  micros `gorm:"autoCreateTime:false"`
}

func (apiKeyRow) TableName() string { return "api_keys" }

func newAPIKeyRow(key *broker.APIKey) *apiKeyRow {
	return &apiKeyRow{
		ID: key.ID, AppID: key.AppID, SecretHash: key.SecretHash, Hint: key.Hint, Info: key.Info, Disabled: key.Disabled,
		CreatedAt: fromTime(key.CreatedAt),
	}
}

func (r *apiKeyRow) noun() broker.APIKey {
	return broker.APIKey{
		ID: r.ID, AppID: r.AppID, SecretHash: r.SecretHash, Hint: r.Hint, Info: r.Info, Disabled: r.Disabled,
		CreatedAt: r.CreatedAt.time(),
	}
}

func (s *session) apiKeyTaken(err error, key *broker.APIKey) error {
	if err == nil || !s.engine.duplicate(err) {
		return err
	}
	return &broker.Error{Kind: broker.Exists, Field: "appid", Detail: fmt.Sprintf("application id %s is taken", key.AppID), Err: err}
}

func (s *session) InsertAPIKey(ctx context.Context, key *broker.APIKey) error {
	return s.write(ctx, "add API key", func(db *gorm.DB) error {
		row := newAPIKeyRow(key)
		row.ID = 0
		if err := db.Create(row).Error; err != nil {
			return s.apiKeyTaken(err, key)
		}
		key.ID = row.ID
		return nil
	})
}

func (s *session) UpdateAPIKey(ctx context.Context, key *broker.APIKey) error {
	return s.write(ctx, "change API key", func(db *gorm.DB) error {
		result := db.Select("*").Omit("id", "created_at").Updates(newAPIKeyRow(key))
		return s.apiKeyTaken(changed(result, "API key", key.ID), key)
	})
}

func (s *session) DeleteAPIKey(ctx context.Context, id int64) error {
	return s.write(ctx, "remove API key", func(db *gorm.DB) error {
		return changed(db.Delete(&apiKeyRow{}, id), "API key", id)
	})
}

func (s *session) FindAPIKey(ctx context.Context, id int64) (*broker.APIKey, error) {
	return s.findAPIKey(ctx, "id = ?", id)
}

func (s *session) FindAPIKeyByAppID(ctx context.Context, appID string) (*broker.APIKey, error) {
	return s.findAPIKey(ctx, "app_id = ?", appID)
}

func (s *session) findAPIKey(ctx context.Context, where string, key any) (found *broker.APIKey, err error) {
	err = s.read(ctx, "find API key", func(db *gorm.DB) error {
		var row apiKeyRow
		if err := first(db.Where(where, key), &row, "API key", key); err != nil {
			return err
		}
		apiKey := row.noun()
		found = &apiKey
		return nil
	})
	return found, err
}

func (s *session) ListAPIKeys(ctx context.Context, page broker.Page) (keys []broker.APIKey, total int64, err error) {
	err = s.read(ctx, "list API keys", func(db *gorm.DB) error {
		rows, count, err := listPage[apiKeyRow](db, page, "id")
		keys, total = nouns(rows, (*apiKeyRow).noun), count
		return err
	})
	return keys, total, err
}

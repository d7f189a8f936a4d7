package store

import (
	"context"
	"time"

	"gorm.io/gorm"

	"gantry/server/broker"
	"gantry/server/console"
)

// ConsoleTokens keeps console links; see console.TokenStore.
type ConsoleTokens struct{ session *session }

var _ console.TokenStore = (*ConsoleTokens)(nil)

// ConsoleTokens gives the store's table of console links.
func (s *Store) ConsoleTokens() *ConsoleTokens { return &ConsoleTokens{&s.session} }

// deletedTokens bounds how many links one DeleteExpired removes.
const deletedTokens = 2000

type consoleTokenRow struct {
	Hash           string `gorm:"primaryKey"`
	SessionID      string
	VM             int64 `gorm:"column:vm_id"`
	IssuedTo       string
	ClientIP       string `gorm:"column:client_ip"`
	IssuedAt       micros
	ExpiresAt      micros
	SessionKeyHash string
	UsedAt         *micros
	ClosesAt       *micros
	RevokedAt      *micros
}

func (consoleTokenRow) TableName() string { return "console_tokens" }

func (r *consoleTokenRow) noun() console.StoredToken {
	return console.StoredToken{
		Hash: r.Hash, SessionID: r.SessionID, VMID: r.VM, IssuedTo: r.IssuedTo, ClientIP: r.ClientIP, IssuedAt: r.IssuedAt.time(),
		ExpiresAt: r.ExpiresAt.time(), SessionKeyHash: r.SessionKeyHash, UsedAt: r.UsedAt.timePointer(),
		ClosesAt: r.ClosesAt.timePointer(), RevokedAt: r.RevokedAt.timePointer(),
	}
}

// Insert is described at console.TokenStore, as are the other methods.
func (c *ConsoleTokens) Insert(ctx context.Context, token console.StoredToken) error {
	return c.session.recordOne(ctx, "add console link", func(db *gorm.DB) error {
		return db.Create(&consoleTokenRow{
			Hash: token.Hash, SessionID: token.SessionID, VM: token.VMID, IssuedTo: token.IssuedTo, ClientIP: token.ClientIP,
			IssuedAt: fromTime(token.IssuedAt), ExpiresAt: fromTime(token.ExpiresAt), SessionKeyHash: token.SessionKeyHash,
			UsedAt: fromTimePointer(token.UsedAt), ClosesAt: fromTimePointer(token.ClosesAt),
			RevokedAt: fromTimePointer(token.RevokedAt),
		}).Error
	})
}

func (c *ConsoleTokens) Consume(ctx context.Context, hash string, use console.Use) (consumed bool, err error) {
	err = c.session.recordOne(ctx, "use console link", func(db *gorm.DB) error {
		result := db.Exec(`UPDATE console_tokens SET session_key_hash = ?, used_at = ?, closes_at = ?
			WHERE hash = ? AND used_at IS NULL AND revoked_at IS NULL AND expires_at >= ?`,
			use.SessionKeyHash, fromTime(use.UsedAt), fromTime(use.ClosesAt), hash, fromTime(use.UsedAt))
		consumed = result.RowsAffected > 0
		return result.Error
	})
	return consumed && err == nil, err
}

func (c *ConsoleTokens) Find(ctx context.Context, hash string) (token console.StoredToken, err error) {
	err = c.session.read(ctx, "find console link", func(db *gorm.DB) error {
		var row consoleTokenRow
		result := db.Where("hash = ?", hash).Limit(1).Find(&row)
		if result.Error == nil && result.RowsAffected == 0 {
			return broker.Errorf(broker.NotFound, "the console link does not exist")
		}
		token = row.noun()
		return result.Error
	})
	if err != nil {
		return console.StoredToken{}, err
	}
	return token, nil
}

func (c *ConsoleTokens) FindSessions(ctx context.Context, sessionIDs []string) (tokens []console.StoredToken, err error) {
	if len(sessionIDs) == 0 {
		return nil, nil
	}
	err = c.session.read(ctx, "find console sessions", func(db *gorm.DB) error {
		var rows []consoleTokenRow
		err := db.Where("session_id IN ?", sessionIDs).Find(&rows).Error
		tokens = nouns(rows, (*consoleTokenRow).noun)
		return err
	})
	return tokens, err
}

func (c *ConsoleTokens) RevokeVM(ctx context.Context, vmID int64, at time.Time) (revoked int, err error) {
	err = c.session.recordOne(ctx, "revoke console links", func(db *gorm.DB) error {
		result := db.Exec("UPDATE console_tokens SET revoked_at = ? WHERE vm_id = ? AND revoked_at IS NULL", fromTime(at), vmID)
		revoked = int(result.RowsAffected)
		return result.Error
	})
	return revoked, err
}

func (c *ConsoleTokens) DeleteExpired(ctx context.Context, before time.Time) (deleted int, err error) {
	err = c.session.record(ctx, "remove old console links", func(db *gorm.DB) error {
		var hashes []string
		err := db.Raw(`SELECT hash FROM console_tokens WHERE used_at IS NULL AND expires_at < ?
			UNION ALL SELECT hash FROM console_tokens WHERE closes_at < ? LIMIT ?`, fromTime(before), fromTime(before), deletedTokens).
			Scan(&hashes).Error
		if err != nil || len(hashes) == 0 {
			deleted = 0
			return err
		}
		// A link may have been used since it was read.
		result := db.Exec(`DELETE FROM console_tokens WHERE hash IN ? AND ((used_at IS NULL AND expires_at < ?) OR closes_at < ?)`,
			hashes, fromTime(before), fromTime(before))
		deleted = int(result.RowsAffected)
		return result.Error
	})
	return deleted, err
}

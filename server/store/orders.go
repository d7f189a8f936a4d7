package store

import (
	"context"
	"time"

	"gorm.io/gorm"

	"gantry/server/broker"
)

type orderRow struct {
	ID             int64
	APIKeyID       int64 `gorm:"column:api_key_id"`
	IdempotencyKey string
	RequestHash    string
	VM             int64  `gorm:"column:vm_id"`
	CreatedAt      micros `gorm:"autoCreateTime:false"`
}

func (orderRow) TableName() string { return "orders" }

var orderTable = tableOf[orderRow]()

func (s *session) InsertOrder(ctx context.Context, order *broker.Order) error {
	return s.record(ctx, "add order", func(db *gorm.DB) error {
		row := &orderRow{
			APIKeyID: order.APIKeyID, IdempotencyKey: order.Key, RequestHash: order.RequestHash, VM: order.VMID,
			CreatedAt: fromTime(order.CreatedAt),
		}
		id, err := orderTable.add(db, row)
		if err != nil {
			if s.engine.duplicate(err) {
				return &broker.Error{Kind: broker.Exists, Detail: "the idempotency key was used already", Err: err}
			}
			return err
		}
		order.ID = id
		return nil
	})
}

func (s *session) FindOrder(ctx context.Context, apiKey int64, key string) (found *broker.Order, err error) {
	err = s.read(ctx, "find order", func(db *gorm.DB) error {
		row, err := orderTable.first(db, "order", key, "WHERE api_key_id = ? AND idempotency_key = ?", apiKey, key)
		if err != nil {
			return err
		}
		found = &broker.Order{
			ID: row.ID, APIKeyID: row.APIKeyID, Key: row.IdempotencyKey, RequestHash: row.RequestHash, VMID: row.VM,
			CreatedAt: row.CreatedAt.time(),
		}
		return nil
	})
	return found, err
}

func (s *session) DeleteOrders(ctx context.Context, vm int64) error {
	return s.record(ctx, "forget orders", func(db *gorm.DB) error {
		return db.Where("vm_id = ?", vm).Delete(&orderRow{}).Error
	})
}

type auditRow struct {
	ID        int64
	At        micros
	RequestID string
	Actor     string
	Address   string
	Method    string
	Path      string
	Body      string
	Status    int
	Code      int
	Duration  int64 // microseconds
}

func (auditRow) TableName() string { return "audit" }

var auditTable = tableOf[auditRow]()

func (r *auditRow) noun() broker.AuditEntry {
	return broker.AuditEntry{
		ID: r.ID, At: r.At.time(), RequestID: r.RequestID, Actor: r.Actor, Address: r.Address, Method: r.Method, Path: r.Path,
		Body: r.Body, Status: r.Status, Code: r.Code, Duration: time.Duration(r.Duration) * time.Microsecond,
	}
}

func (s *session) InsertAudit(ctx context.Context, entry *broker.AuditEntry) error {
	return s.recordOne(ctx, "add audit entry", func(db *gorm.DB) error {
		row := &auditRow{
			At: fromTime(entry.At), RequestID: entry.RequestID, Actor: entry.Actor, Address: entry.Address, Method: entry.Method,
			Path: entry.Path, Body: entry.Body, Status: entry.Status, Code: entry.Code, Duration: entry.Duration.Microseconds(),
		}
		id, err := auditTable.add(db, row)
		entry.ID = id
		return err
	})
}

// ListAudit gives the newest first.
func (s *session) ListAudit(ctx context.Context, page broker.Page) (entries []broker.AuditEntry, total int64, err error) {
	err = s.read(ctx, "list audit entries", func(db *gorm.DB) error {
		rows, count, err := listPage[auditRow](db, page, "id DESC")
		entries, total = nouns(rows, (*auditRow).noun), count
		return err
	})
	return entries, total, err
}

package store

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"

	"gantry/server/broker"
)

type consoleNodeRow struct {
	ID        int64
	Name      string
	URL       string `gorm:"column:url"`
	Address   string
	Secret    string
	Disabled  bool
	CreatedAt micros `gorm:"autoCreateTime:false"`
	Healthy   *bool
	CheckedAt *micros
	LastError string
}

func (consoleNodeRow) TableName() string { return "console_nodes" }

func newConsoleNodeRow(node *broker.ConsoleNode) *consoleNodeRow {
	return &consoleNodeRow{
		ID: node.ID, Name: node.Name, URL: node.URL, Address: node.Address, Secret: node.Secret, Disabled: node.Disabled,
		CreatedAt: fromTime(node.CreatedAt), Healthy: node.Healthy, CheckedAt: fromTimePointer(node.CheckedAt), LastError: node.LastError,
	}
}

func (r *consoleNodeRow) noun() broker.ConsoleNode {
	return broker.ConsoleNode{
		ID: r.ID, Name: r.Name, URL: r.URL, Address: r.Address, Secret: r.Secret, Disabled: r.Disabled, CreatedAt: r.CreatedAt.time(),
		Healthy: r.Healthy, CheckedAt: r.CheckedAt.timePointer(), LastError: r.LastError,
	}
}

func (s *session) consoleNodeTaken(err error, node *broker.ConsoleNode) error {
	if err == nil || !s.engine.duplicate(err) {
		return err
	}
	return &broker.Error{Kind: broker.Exists, Field: "name", Detail: fmt.Sprintf("a console proxy named %q exists already", node.Name), Err: err}
}

func (s *session) InsertConsoleNode(ctx context.Context, node *broker.ConsoleNode) error {
	return s.write(ctx, "add console proxy", func(db *gorm.DB) error {
		row := newConsoleNodeRow(node)
		row.ID = 0
		if err := db.Create(row).Error; err != nil {
			return s.consoleNodeTaken(err, node)
		}
		node.ID = row.ID
		return nil
	})
}

func (s *session) UpdateConsoleNode(ctx context.Context, node *broker.ConsoleNode) error {
	return s.write(ctx, "change console proxy", func(db *gorm.DB) error {
		observed := []string{"id", "created_at", "checked_at"}
		if node.Healthy != nil {
			observed = append(observed, "healthy", "last_error")
		}
		result := db.Select("*").Omit(observed...).Updates(newConsoleNodeRow(node))
		return s.consoleNodeTaken(changed(result, "console proxy", node.ID), node)
	})
}

func (s *session) SaveConsoleHealth(ctx context.Context, id int64, healthy bool, cause string, at time.Time) error {
	return s.writeOne(ctx, "store a console proxy's health", func(db *gorm.DB) error {
		row := &consoleNodeRow{ID: id, Healthy: &healthy, LastError: cause, CheckedAt: fromTimePointer(&at)}
		return changed(db.Select("healthy", "last_error", "checked_at").Updates(row), "console proxy", id)
	})
}

func (s *session) FindConsoleNode(ctx context.Context, id int64) (found *broker.ConsoleNode, err error) {
	err = s.read(ctx, "find console proxy", func(db *gorm.DB) error {
		var row consoleNodeRow
		result := db.Where("id = ?", id).Limit(1).Find(&row)
		if result.Error == nil && result.RowsAffected == 0 {
			return broker.Because(broker.NotFound, broker.ReasonConsoleNodeNotFound, id)
		}
		node := row.noun()
		found = &node
		return result.Error
	})
	return found, err
}

func (s *session) DeleteConsoleNode(ctx context.Context, id int64) error {
	return s.write(ctx, "remove console proxy", func(db *gorm.DB) error {
		return changed(db.Delete(&consoleNodeRow{}, id), "console proxy", id)
	})
}

func (s *session) FindConsoleNodeByName(ctx context.Context, name string) (found *broker.ConsoleNode, err error) {
	err = s.read(ctx, "find console proxy", func(db *gorm.DB) error {
		var row consoleNodeRow
		if err := first(db.Where("name = ?", name), &row, "console proxy", name); err != nil {
			return err
		}
		node := row.noun()
		found = &node
		return nil
	})
	return found, err
}

func (s *session) ListConsoleNodes(ctx context.Context, page broker.Page) (nodes []broker.ConsoleNode, total int64, err error) {
	err = s.read(ctx, "list console proxies", func(db *gorm.DB) error {
		rows, count, err := listPage[consoleNodeRow](db, page, "id")
		nodes, total = nouns(rows, (*consoleNodeRow).noun), count
		return err
	})
	return nodes, total, err
}

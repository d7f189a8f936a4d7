package store

import (
	"context"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"gantry/server/broker"
)

type storageRow struct {
	ID        int64
	ClusterID int64
	NodeID    int64
	Name      string
	Type      string
	Content   document[[]string]
	Shared    bool
	Enabled   bool
	Active    bool
	Total     int64
	Available int64
	SeenAt    *micros
}

func (storageRow) TableName() string { return "storages" }

func (r *storageRow) noun() broker.Storage {
	return broker.Storage{
		ID: r.ID, ClusterID: r.ClusterID, NodeID: r.NodeID, Name: r.Name, Type: r.Type, Content: r.Content.value, Shared: r.Shared,
		Enabled: r.Enabled, Active: r.Active, Total: r.Total, Available: r.Available, SeenAt: r.SeenAt.timePointer(),
	}
}

type bridgeRow struct {
	ID     int64
	NodeID int64
	Name   string
	Active bool
	CIDR   string `gorm:"column:cidr"`
}

func (bridgeRow) TableName() string { return "bridges" }

func (r *bridgeRow) noun() broker.Bridge {
	return broker.Bridge{ID: r.ID, NodeID: r.NodeID, Name: r.Name, Active: r.Active, CIDR: r.CIDR}
}

// ReplaceStorages keeps the ids of storages that were known already.
func (s *session) ReplaceStorages(ctx context.Context, cluster, node int64, storages []broker.Storage) error {
	rows := make([]storageRow, 0, len(storages))
	names := []string{""} // no storage has it, and an empty IN list is no SQL
	for _, storage := range storages {
		content := storage.Content
		if content == nil {
			content = []string{}
		}
		rows = append(rows, storageRow{
			ClusterID: cluster, NodeID: node, Name: storage.Name, Type: storage.Type, Content: document[[]string]{content},
			Shared: storage.Shared, Enabled: storage.Enabled, Active: storage.Active, Total: storage.Total,
			Available: storage.Available, SeenAt: fromTimePointer(storage.SeenAt),
		})
		names = append(names, storage.Name)
	}
	return s.write(ctx, "store storages", func(db *gorm.DB) error {
		if err := db.Where("node_id = ? AND name NOT IN ?", node, names).Delete(&storageRow{}).Error; err != nil {
			return err
		}
		if len(rows) == 0 {
			return nil
		}
		return db.Clauses(clause.OnConflict{
			Columns: []clause.Column{{Name: "node_id"}, {Name: "name"}},
			DoUpdates: clause.AssignmentColumns([]string{
				"cluster_id", "type", "content", "shared", "enabled", "active", "total", "available", "seen_at"}),
		}).Create(slices.Clone(rows)).Error
	})
}

func (s *session) ListStorages(ctx context.Context, node int64) ([]broker.Storage, error) {
	storages, err := lookup(s, lookupKey{query: "storages", id: node}, func() ([]broker.Storage, error) { return s.listStorages(ctx, node) })
	return slices.Clone(storages), err
}

func (s *session) listStorages(ctx context.Context, node int64) (storages []broker.Storage, err error) {
	err = s.read(ctx, "list storages", func(db *gorm.DB) error {
		var rows []storageRow
		err := db.Where("node_id = ?", node).Order("name").Find(&rows).Error
		storages = nouns(rows, (*storageRow).noun)
		return err
	})
	return storages, err
}

// ReplaceBridges keeps the ids of bridges that were known already.
func (s *session) ReplaceBridges(ctx context.Context, node int64, bridges []broker.Bridge) error {
	rows := make([]bridgeRow, 0, len(bridges))
	names := []string{""}
	for _, bridge := range bridges {
		rows = append(rows, bridgeRow{NodeID: node, Name: bridge.Name, Active: bridge.Active, CIDR: bridge.CIDR})
		names = append(names, bridge.Name)
	}
	return s.write(ctx, "store bridges", func(db *gorm.DB) error {
		if err := db.Where("node_id = ? AND name NOT IN ?", node, names).Delete(&bridgeRow{}).Error; err != nil {
			return err
		}
		if len(rows) == 0 {
			return nil
		}
		return db.Clauses(clause.OnConflict{
			Columns:   []clause.Column{{Name: "node_id"}, {Name: "name"}},
			DoUpdates: clause.AssignmentColumns([]string{"active", "cidr"}),
		}).Create(slices.Clone(rows)).Error
	})
}

func (s *session) ListBridges(ctx context.Context, node int64) ([]broker.Bridge, error) {
	bridges, err := lookup(s, lookupKey{query: "bridges", id: node}, func() ([]broker.Bridge, error) { return s.listBridges(ctx, node) })
	return slices.Clone(bridges), err
}

func (s *session) listBridges(ctx context.Context, node int64) (bridges []broker.Bridge, err error) {
	err = s.read(ctx, "list bridges", func(db *gorm.DB) error {
		var rows []bridgeRow
		err := db.Where("node_id = ?", node).Order("name").Find(&rows).Error
		bridges = nouns(rows, (*bridgeRow).noun)
		return err
	})
	return bridges, err
}

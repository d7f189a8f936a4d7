package store

import (
	"context"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

type removedNodeRow struct {
	ClusterID int64  `gorm:"primaryKey;autoIncrement:false"`
	Name      string `gorm:"primaryKey"`
}

func (removedNodeRow) TableName() string { return "removed_nodes" }

func (s *session) SetNodeRemoved(ctx context.Context, cluster int64, name string, removed bool) error {
	return s.write(ctx, "note a removed node", func(db *gorm.DB) error {
		row := &removedNodeRow{ClusterID: cluster, Name: name}
		if removed {
			return db.Clauses(clause.OnConflict{DoNothing: true}).Create(row).Error
		}
		return db.Where("cluster_id = ? AND name = ?", cluster, name).Delete(&removedNodeRow{}).Error
	})
}

func (s *session) RemovedNodes(ctx context.Context, cluster int64) (names []string, err error) {
	err = s.read(ctx, "list removed nodes", func(db *gorm.DB) error {
		return db.Model(&removedNodeRow{}).Where("cluster_id = ?", cluster).Order("name").Pluck("name", &names).Error
	})
	return names, err
}

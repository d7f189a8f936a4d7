package store

import (
	"context"
	"net/netip"

	"gorm.io/gorm"

	"gantry/server/broker"
)

type poolRow struct {
	ID        int64
	Name      string
	ClusterID int64
	NodeID    int64
	Gateway   string
	Prefix    int
	DNS1      string `gorm:"column:dns1"`
	DNS2      string `gorm:"column:dns2"`
	CreatedAt micros `gorm:"autoCreateTime:false"`
}

func (poolRow) TableName() string { return "pools" }

func newPoolRow(pool *broker.AddressPool) *poolRow {
	return &poolRow{
		ID: pool.ID, Name: pool.Name, NodeID: pool.NodeID, Gateway: pool.Gateway.String(), Prefix: pool.Prefix,
		DNS1: pool.DNS1, DNS2: pool.DNS2, CreatedAt: fromTime(pool.CreatedAt),
	}
}

func (r *poolRow) noun() (broker.AddressPool, error) {
	gateway, err := netip.ParseAddr(r.Gateway)
	return broker.AddressPool{
		ID: r.ID, Name: r.Name, NodeID: r.NodeID, Gateway: gateway, Prefix: r.Prefix, DNS1: r.DNS1, DNS2: r.DNS2,
		CreatedAt: r.CreatedAt.time(),
	}, err
}

func (s *session) InsertPool(ctx context.Context, pool *broker.AddressPool) error {
	return s.write(ctx, "add address pool", func(db *gorm.DB) error {
		row := newPoolRow(pool)
		row.ID = 0
		cluster, err := clusterOfNode(db, pool.NodeID)
		if err != nil {
			return err
		}
		row.ClusterID = cluster
		if err := db.Create(row).Error; err != nil {
			return err
		}
		pool.ID = row.ID
		return nil
	})
}

func clusterOfNode(db *gorm.DB, node int64) (int64, error) {
	var row nodeRow
	result := db.Select("cluster_id").Where("id = ?", node).Limit(1).Find(&row)
	if result.Error == nil && result.RowsAffected == 0 {
		return 0, broker.Because(broker.NotFound, broker.ReasonNodeNotFound, node)
	}
	return row.ClusterID, result.Error
}

func findPool(db *gorm.DB, id int64) (*poolRow, error) {
	var row poolRow
	result := db.Where("id = ?", id).Limit(1).Find(&row)
	if result.Error == nil && result.RowsAffected == 0 {
		return nil, broker.Because(broker.NotFound, broker.ReasonPoolNotFound, id)
	}
	return &row, result.Error
}

func (s *session) FindPool(ctx context.Context, id int64) (found *broker.AddressPool, err error) {
	err = s.read(ctx, "find address pool", func(db *gorm.DB) error {
		row, err := findPool(db, id)
		if err != nil {
			return err
		}
		pool, err := row.noun()
		found = &pool
		return err
	})
	return found, err
}

// UpdatePool changes all but the pool's node, see MovePool.
func (s *session) UpdatePool(ctx context.Context, pool *broker.AddressPool) error {
	return s.write(ctx, "change address pool", func(db *gorm.DB) error {
		result := db.Select("*").Omit("id", "cluster_id", "node_id", "created_at").Where("id = ?", pool.ID).Updates(newPoolRow(pool))
		if result.Error == nil && result.RowsAffected == 0 {
			return broker.Because(broker.NotFound, broker.ReasonPoolNotFound, pool.ID)
		}
		return result.Error
	})
}

func (s *session) MovePool(ctx context.Context, id, node int64) error {
	return s.write(ctx, "move address pool", func(db *gorm.DB) error {
		cluster, err := clusterOfNode(db, node)
		if err != nil {
			return err
		}
		where := map[string]any{"cluster_id": cluster, "node_id": node}
		result := db.Model(&poolRow{}).Where("id = ?", id).Updates(where)
		if result.Error == nil && result.RowsAffected == 0 {
			return broker.Because(broker.NotFound, broker.ReasonPoolNotFound, id)
		}
		if result.Error != nil {
			return result.Error
		}
		if err := db.Model(&addressRow{}).Where("pool_id = ?", id).Updates(where).Error; err != nil {
			if s.engine.duplicate(err) {
				return &broker.Error{Kind: broker.Exists, Field: "nodeid",
					Detail: "the node's cluster has one of the addresses already", Err: err}
			}
			return err
		}
		// The update waited for reservations that were under way; what they took is seen now.
		var used int64
		err = db.Model(&addressRow{}).Where("pool_id = ? AND state = ?", id, broker.AddressUsed).Count(&used).Error
		if err == nil && used > 0 {
			return broker.Because(broker.Conflict, broker.ReasonPoolInUse, id)
		}
		return err
	})
}

// DeletePool also forgets the pool's addresses.
func (s *session) DeletePool(ctx context.Context, id int64) error {
	return s.write(ctx, "remove address pool", func(db *gorm.DB) error {
		if _, err := findPool(db, id); err != nil {
			return err
		}
		used := func() error {
			var count int64
			err := db.Model(&addressRow{}).Where("pool_id = ? AND state = ?", id, broker.AddressUsed).Count(&count).Error
			if err == nil && count > 0 {
				return broker.Because(broker.Conflict, broker.ReasonPoolInUse, id)
			}
			return err
		}
		if err := used(); err != nil {
			return err
		}
		err := db.Where("pool_id = ? AND state <> ?", id, broker.AddressUsed).Delete(&addressRow{}).Error
		if err != nil {
			return err
		}
		// The delete waited for reservations that were under way; what they took is still there.
		if err := used(); err != nil {
			return err
		}
		return db.Delete(&poolRow{}, id).Error
	})
}

func (s *session) ListPools(ctx context.Context, page broker.Page) (pools []broker.AddressPool, total int64, err error) {
	err = s.read(ctx, "list address pools", func(db *gorm.DB) error {
		rows, count, err := listPage[poolRow](db, page, "id")
		if err != nil {
			return err
		}
		total = count
		for i := range rows {
			pool, err := rows[i].noun()
			if err != nil {
				return err
			}
			pools = append(pools, pool)
		}
		return nil
	})
	return pools, total, err
}

func (s *session) CountPool(ctx context.Context, id int64) (counts broker.PoolCounts, err error) {
	err = s.read(ctx, "count address pool", func(db *gorm.DB) error {
		var rows []struct {
			State broker.AddressState
			Count int64
		}
		err := db.Raw("SELECT state, COUNT(*) AS count FROM addresses WHERE pool_id = ? GROUP BY state", id).Scan(&rows).Error
		for _, row := range rows {
			switch row.State {
			case broker.AddressFree:
				counts.Free = row.Count
			case broker.AddressUsed:
				counts.Used = row.Count
			case broker.AddressReserved:
				counts.Disabled = row.Count
			}
		}
		return err
	})
	return counts, err
}

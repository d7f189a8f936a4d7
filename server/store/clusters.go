package store

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	"gorm.io/gorm"

	"gantry/server/broker"
)

type clusterRow struct {
	ID        int64
	Kind      string
	Endpoint  string
	Name      string
	Options   string
	TLSPin    string `gorm:"column:tls_pin"`
	Version   string
	VMIDFrom  int `gorm:"column:vmid_from"`
	VMIDTo    int `gorm:"column:vmid_to"`
	Disabled  bool
	SeenAt    *micros
	LastError string
	CreatedAt micros `gorm:"autoCreateTime:false"`
}

func (clusterRow) TableName() string { return "clusters" }

func clusterOptionsContext(id int64) string { return fmt.Sprintf("clusters/options/%d", id) }

func (s *session) clusterRow(cluster *broker.Cluster) (*clusterRow, error) {
	row := &clusterRow{
		ID: cluster.ID, Kind: cluster.Kind, Endpoint: cluster.Endpoint, Name: cluster.Name, TLSPin: cluster.TLSPin,
		Version: cluster.Version, VMIDFrom: cluster.VMIDFrom, VMIDTo: cluster.VMIDTo, Disabled: cluster.Disabled,
		SeenAt: fromTimePointer(cluster.SeenAt), LastError: cluster.LastError, CreatedAt: fromTime(cluster.CreatedAt),
	}
	if row.ID == 0 {
		return row, nil // the options are bound to the id: they follow the insert
	}
	options, err := json.Marshal(cluster.Options)
	if err != nil {
		return nil, err
	}
	row.Options, err = s.secrets.Encrypt(string(options), clusterOptionsContext(row.ID))
	return row, err
}

func (s *session) cluster(row *clusterRow) (*broker.Cluster, error) {
	cluster := &broker.Cluster{
		ID: row.ID, Kind: row.Kind, Endpoint: row.Endpoint, Name: row.Name, TLSPin: row.TLSPin, Version: row.Version, VMIDFrom: row.VMIDFrom,
		VMIDTo: row.VMIDTo, Disabled: row.Disabled, SeenAt: row.SeenAt.timePointer(), LastError: row.LastError,
		CreatedAt: row.CreatedAt.time(),
	}
	options, err := s.secrets.Decrypt(row.Options, clusterOptionsContext(row.ID))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(options), &cluster.Options); err != nil {
		return nil, fmt.Errorf("options of cluster %d: %w", row.ID, err)
	}
	return cluster, nil
}

func (s *session) InsertCluster(ctx context.Context, cluster *broker.Cluster) error {
	return s.write(ctx, "add cluster", func(db *gorm.DB) error {
		inserted := *cluster
		inserted.ID = 0
		row, err := s.clusterRow(&inserted)
		if err != nil {
			return err
		}
		if err := db.Create(row).Error; err != nil {
			if s.engine.duplicate(err) {
				return &broker.Error{Kind: broker.Exists, Field: "host",
					Detail: fmt.Sprintf("a %s cluster at %s is known already", row.Kind, row.Endpoint), Err: err}
			}
			return err
		}
		inserted.ID = row.ID
		if row, err = s.clusterRow(&inserted); err != nil {
			return err
		}
		if err := db.Model(row).Update("options", row.Options).Error; err != nil {
			return err
		}
		cluster.ID = row.ID
		return nil
	})
}

func (s *session) UpdateCluster(ctx context.Context, cluster *broker.Cluster) error {
	return s.write(ctx, "change cluster", func(db *gorm.DB) error {
		row, err := s.clusterRow(cluster)
		if err != nil {
			return err
		}
		return changed(db.Select("*").Omit("id", "created_at").Updates(row), "cluster", cluster.ID)
	})
}

// DeleteCluster also forgets the cluster's nodes, storages, bridges and guest ids. Conflict while it has VMs or address pools.
func (s *session) DeleteCluster(ctx context.Context, id int64) error {
	return s.write(ctx, "remove cluster", func(db *gorm.DB) error {
		if err := unused(db, "cluster_id", id); err != nil {
			return err
		}
		for _, table := range []string{"vmids", "vmid_cursors", "guests"} {
			if err := db.Exec("DELETE FROM "+table+" WHERE cluster_id = ?", id).Error; err != nil {
				return err
			}
		}
		return changed(db.Delete(&clusterRow{}, id), "cluster", id)
	})
}

// unused is Conflict while VMs or pools belong to the cluster or node that column names.
func unused(db *gorm.DB, column string, id int64) error {
	var machines, pools int64
	if err := db.Model(&vmRow{}).Where(column+" = ? AND deleted_at <= 0", id).Count(&machines).Error; err != nil {
		return err
	}
	if err := db.Model(&poolRow{}).Where(column+" = ?", id).Count(&pools).Error; err != nil {
		return err
	}
	if machines > 0 && column == "node_id" {
		return broker.Because(broker.Conflict, broker.ReasonNodeInUse, id, machines, pools)
	}
	if machines > 0 || pools > 0 {
		return broker.Errorf(broker.Conflict, "it still has %d virtual machines and %d address pools", machines, pools)
	}
	return nil
}

func (s *session) FindCluster(ctx context.Context, id int64) (*broker.Cluster, error) {
	found, err := lookup(s, lookupKey{query: "cluster", id: id}, func() (*broker.Cluster, error) {
		return s.findCluster(ctx, id, "id = ?", id)
	})
	cluster := copied(found)
	if cluster != nil {
		cluster.Options = maps.Clone(cluster.Options)
	}
	return cluster, err
}

func (s *session) FindClusterByEndpoint(ctx context.Context, kind, endpoint string) (*broker.Cluster, error) {
	return s.findCluster(ctx, endpoint, "kind = ? AND endpoint = ?", kind, endpoint)
}

func (s *session) findCluster(ctx context.Context, key any, where string, arguments ...any) (found *broker.Cluster, err error) {
	err = s.read(ctx, "find cluster", func(db *gorm.DB) error {
		var row clusterRow
		if err := first(db.Where(where, arguments...), &row, "cluster", key); err != nil {
			return err
		}
		found, err = s.cluster(&row)
		return err
	})
	return found, err
}

func (s *session) ListClusters(ctx context.Context) (clusters []broker.Cluster, err error) {
	err = s.read(ctx, "list clusters", func(db *gorm.DB) error {
		var rows []clusterRow
		if err := db.Order("id").Find(&rows).Error; err != nil {
			return err
		}
		clusters = make([]broker.Cluster, 0, len(rows))
		for i := range rows {
			cluster, err := s.cluster(&rows[i])
			if err != nil {
				return err
			}
			clusters = append(clusters, *cluster)
		}
		return nil
	})
	return clusters, err
}

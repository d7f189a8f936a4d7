package store

import (
	"context"
	"fmt"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"gantry/server/broker"
)

type nodeRow struct {
	ID             int64
	ClusterID      int64
	Name           string
	Label          string
	AreaID         *int64
	Status         int
	DefaultStorage string
	CPUs           int `gorm:"column:cpus"`
	MemoryBytes    int64
	SeenAt         *micros
	LastError      string
	SSHPort        int    `gorm:"column:ssh_port"`
	SSHUsername    string `gorm:"column:ssh_username"`
	SSHPassword    string `gorm:"column:ssh_password"`
	SSHHostKey     string `gorm:"column:ssh_host_key"`
	DaemonURL      string `gorm:"column:daemon_url"`
	DaemonSecret   string
	DaemonTLSPin   string `gorm:"column:daemon_tls_pin"`
	DaemonStatus   *int
	CreatedAt      micros `gorm:"autoCreateTime:false"`
}

func (nodeRow) TableName() string { return "nodes" }

func sshPasswordContext(id int64) string  { return fmt.Sprintf("nodes/ssh_password/%d", id) }
func daemonSecretContext(id int64) string { return fmt.Sprintf("nodes/daemon_secret/%d", id) }

// nodeRow leaves the secrets empty while the id they are bound to is not known.
func (s *session) nodeRow(node *broker.Node) (row *nodeRow, err error) {
	row = &nodeRow{
		ID: node.ID, ClusterID: node.ClusterID, Name: node.Name, Label: node.Label, AreaID: node.AreaID, Status: int(node.Status),
		DefaultStorage: node.DefaultStorage, CPUs: node.CPUs, MemoryBytes: node.MemoryBytes, SeenAt: fromTimePointer(node.SeenAt),
		LastError: node.LastError, SSHPort: node.SSHPort, SSHUsername: node.SSHUsername, SSHHostKey: node.SSHHostKey, DaemonURL: node.Daemon.URL,
		DaemonTLSPin: node.Daemon.TLSPin, DaemonStatus: node.Daemon.Status, CreatedAt: fromTime(node.CreatedAt),
	}
	if row.ID == 0 {
		return row, nil
	}
	if row.SSHPassword, err = s.secrets.Encrypt(node.SSHPassword, sshPasswordContext(row.ID)); err != nil {
		return nil, err
	}
	row.DaemonSecret, err = s.secrets.Encrypt(node.Daemon.Secret, daemonSecretContext(row.ID))
	return row, err
}

func (s *session) node(row *nodeRow) (node *broker.Node, err error) {
	node = &broker.Node{
		ID: row.ID, ClusterID: row.ClusterID, Name: row.Name, Label: row.Label, AreaID: row.AreaID,
		Status: broker.NodeStatus(row.Status), DefaultStorage: row.DefaultStorage, CPUs: row.CPUs, MemoryBytes: row.MemoryBytes,
		SeenAt: row.SeenAt.timePointer(), LastError: row.LastError, SSHPort: row.SSHPort, SSHUsername: row.SSHUsername, SSHHostKey: row.SSHHostKey,
		Daemon:    broker.Daemon{URL: row.DaemonURL, TLSPin: row.DaemonTLSPin, Status: row.DaemonStatus},
		CreatedAt: row.CreatedAt.time(),
	}
	if node.SSHPassword, err = s.secrets.Decrypt(row.SSHPassword, sshPasswordContext(row.ID)); err != nil {
		return nil, err
	}
	node.Daemon.Secret, err = s.secrets.Decrypt(row.DaemonSecret, daemonSecretContext(row.ID))
	return node, err
}

func (s *session) nodes(rows []nodeRow) ([]broker.Node, error) {
	nodes := make([]broker.Node, 0, len(rows))
	for i := range rows {
		node, err := s.node(&rows[i])
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, *node)
	}
	return nodes, nil
}

// UpsertNode is described at broker.ClusterStore. Afterwards *node is the whole row. What was observed are CPUs, memory (0 =
// not seen now: the last value stays), SeenAt (nil likewise), LastError, and Status unless the operator disabled the node.
func (s *session) UpsertNode(ctx context.Context, node *broker.Node) error {
	return s.write(ctx, "store node", func(db *gorm.DB) error {
		var known nodeRow
		result := db.Clauses(clause.Locking{Strength: "UPDATE"}).Where("cluster_id = ? AND name = ?", node.ClusterID, node.Name).
			Limit(1).Find(&known)
		if result.Error != nil {
			return result.Error
		}
		if result.RowsAffected == 0 {
			return s.insertNode(db, node)
		}
		if known.Status != int(broker.NodeDisabled) {
			known.Status = int(node.Status)
		}
		if node.CPUs > 0 {
			known.CPUs = node.CPUs
		}
		if node.MemoryBytes > 0 {
			known.MemoryBytes = node.MemoryBytes
		}
		if node.SeenAt != nil {
			known.SeenAt = fromTimePointer(node.SeenAt)
		}
		known.LastError = node.LastError
		if err := db.Select("status", "cpus", "memory_bytes", "seen_at", "last_error").Updates(&known).Error; err != nil {
			return err
		}
		stored, err := s.node(&known)
		if err != nil {
			return err
		}
		*node = *stored
		return nil
	})
}

func (s *session) insertNode(db *gorm.DB, node *broker.Node) error {
	inserted := *node
	inserted.ID = 0
	row, err := s.nodeRow(&inserted)
	if err != nil {
		return err
	}
	if err := db.Create(row).Error; err != nil {
		return err
	}
	inserted.ID = row.ID
	if node.SSHPassword != "" || node.Daemon.Secret != "" {
		if row, err = s.nodeRow(&inserted); err != nil {
			return err
		}
		if err := db.Select("ssh_password", "daemon_secret").Updates(row).Error; err != nil {
			return err
		}
	}
	node.ID = row.ID
	return nil
}

func (s *session) UpdateNode(ctx context.Context, node *broker.Node) error {
	return s.write(ctx, "change node", func(db *gorm.DB) error {
		row, err := s.nodeRow(node)
		if err != nil {
			return err
		}
		return changed(db.Select("*").Omit("id", "created_at").Updates(row), "node", node.ID)
	})
}

// DeleteNode also forgets the node's storages, bridges and image copies. Conflict while it has VMs or address pools.
func (s *session) DeleteNode(ctx context.Context, id int64) error {
	return s.write(ctx, "remove node", func(db *gorm.DB) error {
		if err := unused(db, "node_id", id); err != nil {
			return err
		}
		return changed(db.Delete(&nodeRow{}, id), "node", id)
	})
}

func (s *session) FindNode(ctx context.Context, id int64) (*broker.Node, error) {
	node, err := lookup(s, lookupKey{query: "node", id: id}, func() (*broker.Node, error) { return s.findNode(ctx, id, "id = ?", id) })
	return copied(node), err
}

func (s *session) FindNodeByName(ctx context.Context, cluster int64, name string) (*broker.Node, error) {
	return s.findNode(ctx, name, "cluster_id = ? AND name = ?", cluster, name)
}

func (s *session) findNode(ctx context.Context, key any, where string, arguments ...any) (found *broker.Node, err error) {
	err = s.read(ctx, "find node", func(db *gorm.DB) error {
		var row nodeRow
		result := db.Where(where, arguments...).Limit(1).Find(&row)
		if result.Error != nil {
			return result.Error
		}
		if result.RowsAffected == 0 {
			return broker.Because(broker.NotFound, broker.ReasonNodeNotFound, key)
		}
		found, err = s.node(&row)
		return err
	})
	return found, err
}

func (s *session) ListNodes(ctx context.Context, page broker.Page) (nodes []broker.Node, total int64, err error) {
	err = s.read(ctx, "list nodes", func(db *gorm.DB) error {
		rows, count, err := listPage[nodeRow](db, page, "id")
		if err != nil {
			return err
		}
		total = count
		nodes, err = s.nodes(rows)
		return err
	})
	return nodes, total, err
}

func (s *session) ListClusterNodes(ctx context.Context, cluster int64) (nodes []broker.Node, err error) {
	err = s.read(ctx, "list nodes", func(db *gorm.DB) error {
		var rows []nodeRow
		if err := db.Where("cluster_id = ?", cluster).Order("id").Find(&rows).Error; err != nil {
			return err
		}
		nodes, err = s.nodes(rows)
		return err
	})
	return nodes, err
}

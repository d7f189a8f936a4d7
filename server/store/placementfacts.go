package store

import (
	"context"

	"gorm.io/gorm"

	"gantry/server/broker"
)

// PlacementFacts is described at broker.PlacementStore: at most nine queries.
func (s *session) PlacementFacts(ctx context.Context, question broker.PlacementQuestion) (facts *broker.PlacementFacts, err error) {
	err = s.read(ctx, "read what orders are placed by", func(db *gorm.DB) error {
		facts, err = placementFacts(db, question)
		return err
	})
	return facts, err
}

type placementNodeRow struct {
	ID, ClusterID  int64
	Kind           string
	Name, Label    string
	AreaID         *int64
	Status         int
	CPUs           int `gorm:"column:cpus"`
	MemoryBytes    int64
	DefaultStorage string
	DaemonURL      string `gorm:"column:daemon_url"`
	IPv4           *int64 `gorm:"column:ipv4"`
	IPv6           *int64 `gorm:"column:ipv6"`
}

func placementFacts(db *gorm.DB, question broker.PlacementQuestion) (*broker.PlacementFacts, error) {
	// The n-th free address of a node tells, by addresses_free alone, that there are n.
	const free = `(SELECT a.id FROM addresses a WHERE a.node_id = nodes.id AND a.version = ? AND a.state = 0 ORDER BY a.id LIMIT 1 OFFSET ?)`
	var rows []placementNodeRow
	err := db.Raw(`SELECT nodes.id, nodes.cluster_id, clusters.kind, nodes.name, nodes.label, nodes.area_id, nodes.status, nodes.cpus,
			nodes.memory_bytes, nodes.default_storage, nodes.daemon_url, `+free+" AS ipv4, "+free+` AS ipv6
		FROM nodes JOIN clusters ON clusters.id = nodes.cluster_id WHERE NOT clusters.disabled ORDER BY nodes.id`,
		4, max(question.IPv4-1, 0), 6, max(question.IPv6-1, 0)).Scan(&rows).Error
	if err != nil {
		return nil, err
	}
	facts := &broker.PlacementFacts{Nodes: make([]broker.PlacementNode, len(rows))}
	byID := make(map[int64]*broker.PlacementNode, len(rows))
	for i, row := range rows {
		facts.Nodes[i] = broker.PlacementNode{
			ID: row.ID, ClusterID: row.ClusterID, Kind: row.Kind, Name: row.Name, Label: row.Label, AreaID: row.AreaID,
			Status: broker.NodeStatus(row.Status), CPUs: row.CPUs, MemoryBytes: row.MemoryBytes, DefaultStorage: row.DefaultStorage,
			HasDaemon: row.DaemonURL != "", HasIPv4: question.IPv4 == 0 || row.IPv4 != nil, HasIPv6: question.IPv6 == 0 || row.IPv6 != nil,
		}
		byID[row.ID] = &facts.Nodes[i]
	}
	for _, part := range []func(*gorm.DB, broker.PlacementQuestion, map[int64]*broker.PlacementNode) error{
		readNamedAddresses, readPlacementStorages, readBridgeAndImage, readPromises, readLoads,
	} {
		if err := part(db, question, byID); err != nil {
			return nil, err
		}
	}
	return facts, nil
}

func readNamedAddresses(db *gorm.DB, question broker.PlacementQuestion, nodes map[int64]*broker.PlacementNode) error {
	counts := map[int64]int{}
	if len(question.Named) > 0 {
		var holders []int64
		err := db.Model(&addressRow{}).Where("ip IN ? AND state = ?", question.Named, broker.AddressFree).Pluck("node_id", &holders).Error
		if err != nil {
			return err
		}
		for _, node := range holders {
			counts[node]++
		}
	}
	for id, node := range nodes {
		node.HasNamed = counts[id] == len(question.Named)
	}
	return nil
}

func readPlacementStorages(db *gorm.DB, _ broker.PlacementQuestion, nodes map[int64]*broker.PlacementNode) error {
	var rows []storageRow
	if err := db.Where("enabled = ? AND active = ?", true, true).Order("node_id, name").Find(&rows).Error; err != nil {
		return err
	}
	for i := range rows {
		storage := rows[i].noun()
		if node := nodes[storage.NodeID]; node != nil && storage.Holds("images") {
			node.Storages = append(node.Storages, storage)
		}
	}
	return nil
}

func readBridgeAndImage(db *gorm.DB, question broker.PlacementQuestion, nodes map[int64]*broker.PlacementNode) error {
	var bridges []bridgeRow
	query := db.Select("node_id", "name", "active")
	if !question.AnyBridge {
		query = query.Where("name = ?", question.Bridge)
	}
	if err := query.Find(&bridges).Error; err != nil {
		return err
	}
	active := map[int64]int{}
	for _, bridge := range bridges {
		node := nodes[bridge.NodeID]
		if node != nil && bridge.Name == question.Bridge {
			node.HasBridge = true
		}
		if bridge.Active {
			active[bridge.NodeID]++
		}
	}
	for id, count := range active {
		if nodes[id] != nil && question.AnyBridge && count == 1 {
			nodes[id].HasBridge = true
		}
	}
	var copies []imageCopyRow
	if err := db.Where("image_id = ?", question.Image).Find(&copies).Error; err != nil {
		return err
	}
	for _, each := range copies {
		if nodes[each.NodeID] != nil {
			nodes[each.NodeID].Image = broker.ImageCopyState(each.State)
		}
	}
	return nil
}

func readPromises(db *gorm.DB, question broker.PlacementQuestion, nodes map[int64]*broker.PlacementNode) error {
	promises, err := promisesOf(db, question, nil)
	for _, each := range promises {
		if node := nodes[each.NodeID]; node != nil {
			node.Promises = append(node.Promises, each)
		}
	}
	return err
}

func readLoads(db *gorm.DB, _ broker.PlacementQuestion, nodes map[int64]*broker.PlacementNode) error {
	var rows []nodeLoadRow
	if err := db.Find(&rows).Error; err != nil {
		return err
	}
	for i := range rows {
		if node := nodes[rows[i].NodeID]; node != nil {
			node.Load = rows[i].noun()
		}
	}
	return nil
}

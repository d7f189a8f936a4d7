package store

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"gantry/server/broker"
)

// promisedColumns repeat a part of a VM's specification for vms_placement, which sums it up without a look at the rows.
type promisedColumns struct {
	CPUs           int `gorm:"column:cpus"`
	MemoryMB       int `gorm:"column:memory_mb"`
	Storage        string
	DiskGB         int64 `gorm:"column:disk_gb"`
	DisksElsewhere bool
	PlacementGroup string
	TrafficLimit   int64
}

func promisedTo(spec *broker.VMSpec) promisedColumns {
	columns := promisedColumns{
		CPUs: spec.CPUs(), MemoryMB: spec.MemoryMB, Storage: spec.Storage, DiskGB: int64(spec.SystemDiskGB), PlacementGroup: spec.AntiAffinity,
		TrafficLimit: spec.TrafficBytes,
	}
	for _, disk := range spec.DataDisks {
		columns.DisksElsewhere = columns.DisksElsewhere || disk.Storage != spec.Storage
		columns.DiskGB += int64(disk.SizeGB)
	}
	return columns
}

type placeRow struct {
	Name string `gorm:"primaryKey"`
}

func (placeRow) TableName() string { return "placement_locks" }

// LockPlaces is described at broker.PlacementStore. Rows are never removed: there is one for each node and shared storage.
func (s *session) LockPlaces(ctx context.Context, places ...string) error {
	if s.tx == nil {
		return broker.Errorf(broker.Internal, "places are locked inside a transaction")
	}
	return s.record(ctx, "lock places", func(db *gorm.DB) error {
		for _, place := range places {
			for found := false; !found; {
				var row placeRow
				result := db.Clauses(clause.Locking{Strength: "UPDATE"}).Where("name = ?", place).Limit(1).Find(&row)
				if result.Error != nil {
					return result.Error
				}
				if found = result.RowsAffected == 1; found {
					break
				}
				// Its first order. When another one is quicker, its row is the one to lock.
				err := db.Clauses(clause.OnConflict{DoNothing: true}).Create(&placeRow{Name: place}).Error
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (s *session) NodePromises(ctx context.Context, question broker.PlacementQuestion, nodes ...int64) (promises []broker.Promise, err error) {
	err = s.read(ctx, "sum up what was promised", func(db *gorm.DB) error {
		promises, err = promisesOf(db, question, nodes)
		return err
	})
	return promises, err
}

// heldBy are the values of deleted_at of machines that hold what they were promised.
var heldBy = []micros{0, recycled}

type promiseRow struct {
	NodeID                      int64
	Storage                     string
	Machines, OfTenant, OfGroup int
	CPUs                        int64 `gorm:"column:cpus"`
	MemoryMB                    int64 `gorm:"column:memory_mb"`
	DiskGB                      int64 `gorm:"column:disk_gb"`
}

// sumsOf walks over four parts of vms_placement, in each of which the groups stand in order.
func sumsOf(db *gorm.DB, question broker.PlacementQuestion, nodes []int64) (sums []promiseRow, err error) {
	const part = `SELECT node_id, storage, COUNT(*) AS machines, SUM(cpus) AS cpus, SUM(memory_mb) AS memory_mb,
		SUM(CASE WHEN disks_elsewhere THEN 0 ELSE disk_gb END) AS disk_gb, SUM(CASE WHEN tenant = ? THEN 1 ELSE 0 END) AS of_tenant,
		SUM(CASE WHEN tenant = ? AND placement_group = ? AND placement_group <> '' THEN 1 ELSE 0 END) AS of_group
		FROM vms WHERE deleted_at = ? AND disks_elsewhere = ?`
	var parts []string
	var arguments []any
	for _, held := range heldBy {
		for _, elsewhere := range []bool{false, true} {
			text := part
			arguments = append(arguments, question.Tenant, question.Tenant, question.Group, held, elsewhere)
			if len(nodes) > 0 {
				text += " AND node_id IN ?"
				arguments = append(arguments, nodes)
			}
			parts = append(parts, text+" GROUP BY node_id, storage")
		}
	}
	err = db.Raw(strings.Join(parts, " UNION ALL "), arguments...).Scan(&sums).Error
	return sums, err
}

func promisesOf(db *gorm.DB, question broker.PlacementQuestion, nodes []int64) ([]broker.Promise, error) {
	narrow := func(query *gorm.DB) *gorm.DB {
		if len(nodes) > 0 {
			query = query.Where("node_id IN ?", nodes)
		}
		return query
	}
	sums, err := sumsOf(db, question, nodes)
	if err != nil {
		return nil, err
	}
	byPlace := map[[2]any]*broker.Promise{}
	at := func(node int64, storage string) *broker.Promise {
		key := [2]any{node, storage}
		if byPlace[key] == nil {
			byPlace[key] = &broker.Promise{NodeID: node, Storage: storage}
		}
		return byPlace[key]
	}
	for _, row := range sums {
		place := at(row.NodeID, row.Storage)
		place.VMs, place.OfTenant, place.OfGroup = place.VMs+row.Machines, place.OfTenant+row.OfTenant, place.OfGroup+row.OfGroup
		place.CPUs, place.MemoryMB, place.DiskGB = place.CPUs+row.CPUs, place.MemoryMB+row.MemoryMB, place.DiskGB+row.DiskGB
	}
	var spread []struct {
		NodeID int64
		Status int
		Spec   document[broker.VMSpec]
	}
	err = narrow(db.Table("vms").Where("deleted_at IN ? AND disks_elsewhere = ?", heldBy, true)).Select("node_id, status, spec").Scan(&spread).Error
	if err != nil {
		return nil, err
	}
	for i := range spread {
		spec := &spread[i].Spec.value
		add := func(storage string, size int) {
			place := at(spread[i].NodeID, storage)
			place.DiskGB += int64(size)
			if broker.VMStatus(spread[i].Status) == broker.VMCreating {
				place.CreatingDiskGB += int64(size)
			}
		}
		add(spec.Storage, spec.SystemDiskGB)
		for _, disk := range spec.DataDisks {
			add(disk.Storage, disk.SizeGB)
		}
	}
	var creating []promiseRow
	err = narrow(db.Table("vms").Where("deleted_at = 0 AND status = ?", broker.VMCreating)).
		Select("node_id, storage, SUM(CASE WHEN disks_elsewhere THEN 0 ELSE disk_gb END) AS disk_gb").Group("node_id, storage").Scan(&creating).Error
	for _, each := range creating {
		at(each.NodeID, each.Storage).CreatingDiskGB += each.DiskGB
	}
	promises := make([]broker.Promise, 0, len(byPlace))
	for _, each := range byPlace {
		promises = append(promises, *each)
	}
	slices.SortFunc(promises, func(a, b broker.Promise) int {
		return cmp.Or(cmp.Compare(a.NodeID, b.NodeID), strings.Compare(a.Storage, b.Storage))
	})
	return promises, err
}

type nodeLoadRow struct {
	NodeID             int64 `gorm:"primaryKey;autoIncrement:false"`
	At                 micros
	CPU                float64 `gorm:"column:cpu"`
	MemoryBytes        int64
	ForeignCPUs        int `gorm:"column:foreign_cpus"`
	ForeignMemoryBytes int64
}

func (nodeLoadRow) TableName() string { return "node_loads" }

func (r *nodeLoadRow) noun() *broker.NodeLoad {
	return &broker.NodeLoad{
		NodeID: r.NodeID, At: r.At.time(), CPU: r.CPU, MemoryBytes: r.MemoryBytes, ForeignCPUs: r.ForeignCPUs,
		ForeignMemoryBytes: r.ForeignMemoryBytes,
	}
}

func (s *session) SaveNodeLoads(ctx context.Context, loads []broker.NodeLoad) error {
	if len(loads) == 0 {
		return nil
	}
	rows := make([]nodeLoadRow, len(loads))
	for i, load := range loads {
		rows[i] = nodeLoadRow{
			NodeID: load.NodeID, At: fromTime(load.At), CPU: load.CPU, MemoryBytes: load.MemoryBytes, ForeignCPUs: load.ForeignCPUs,
			ForeignMemoryBytes: load.ForeignMemoryBytes,
		}
	}
	slices.SortFunc(rows, func(a, b nodeLoadRow) int { return cmp.Compare(a.NodeID, b.NodeID) })
	return s.recordOne(ctx, "store node loads", func(db *gorm.DB) error {
		return db.Clauses(clause.OnConflict{
			Columns:   []clause.Column{{Name: "node_id"}},
			DoUpdates: clause.AssignmentColumns([]string{"at", "cpu", "memory_bytes", "foreign_cpus", "foreign_memory_bytes"}),
		}).Create(&rows).Error
	})
}

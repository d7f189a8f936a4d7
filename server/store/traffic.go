package store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"gantry/server/broker"
)

type counterRow struct {
	VM     int64 `gorm:"column:vm_id;primaryKey;autoIncrement:false"`
	At     micros
	NetIn  int64
	NetOut int64
}

func (counterRow) TableName() string { return "traffic_counters" }

type trafficRow struct {
	Period   int   `gorm:"primaryKey;autoIncrement:false"`
	VM       int64 `gorm:"column:vm_id;primaryKey;autoIncrement:false"`
	BytesIn  int64
	BytesOut int64
}

func (trafficRow) TableName() string { return "vm_traffic" }

func (r *trafficRow) noun() broker.Traffic {
	return broker.Traffic{VM: r.VM, Period: r.Period, In: r.BytesIn, Out: r.BytesOut}
}

// CountTraffic is one transaction for each thousand points.
func (s *session) CountTraffic(ctx context.Context, points []broker.TrafficPoint) error {
	// In order of id, so that two writers do not meet in a deadlock; stable, so that a VM's points stay in order.
	sorted := slices.Clone(points)
	slices.SortStableFunc(sorted, func(a, b broker.TrafficPoint) int { return cmp.Compare(a.VM, b.VM) })
	for chunk := range slices.Chunk(sorted, chunkLength) {
		if err := s.record(ctx, "count traffic", func(db *gorm.DB) error { return countTraffic(db, chunk) }); err != nil {
			return err
		}
	}
	return nil
}

func countTraffic(db *gorm.DB, points []broker.TrafficPoint) error {
	ids := make([]int64, 0, len(points))
	for _, point := range points {
		ids = append(ids, point.VM)
	}
	var known []counterRow
	if err := db.Clauses(clause.Locking{Strength: "UPDATE"}).Where("vm_id IN ?", slices.Compact(ids)).Order("vm_id").Find(&known).Error; err != nil {
		return err
	}
	counters, grown := make(map[int64]counterRow, len(known)), map[[2]int64]*trafficRow{}
	for _, row := range known {
		counters[row.VM] = row
	}
	changed := map[int64]bool{}
	for _, point := range points {
		now := counterRow{VM: point.VM, At: fromTime(point.At), NetIn: point.NetIn, NetOut: point.NetOut}
		before, counted := counters[point.VM]
		if counted && now.At <= before.At {
			continue
		}
		counters[point.VM], changed[point.VM] = now, true
		if !counted {
			continue
		}
		if now.NetIn < before.NetIn || now.NetOut < before.NetOut { // both begin anew when the guest does
			before.NetIn, before.NetOut = 0, 0
		}
		period := broker.TrafficPeriod(point.At)
		row := grown[[2]int64{int64(period), point.VM}]
		if row == nil {
			row = &trafficRow{Period: period, VM: point.VM}
			grown[[2]int64{int64(period), point.VM}] = row
		}
		row.BytesIn, row.BytesOut = row.BytesIn+now.NetIn-before.NetIn, row.BytesOut+now.NetOut-before.NetOut
	}
	return storeTraffic(db, counters, changed, grown)
}

func storeTraffic(db *gorm.DB, counters map[int64]counterRow, changed map[int64]bool, grown map[[2]int64]*trafficRow) error {
	var fresh []counterRow
	for vm := range changed {
		fresh = append(fresh, counters[vm])
	}
	if len(fresh) == 0 {
		return nil
	}
	slices.SortFunc(fresh, func(a, b counterRow) int { return cmp.Compare(a.VM, b.VM) })
	err := db.Clauses(clause.OnConflict{
		Columns: []clause.Column{{Name: "vm_id"}}, DoUpdates: clause.AssignmentColumns([]string{"at", "net_in", "net_out"}),
	}).Create(&fresh).Error
	if err != nil {
		return err
	}
	var rows []trafficRow
	for _, row := range grown {
		if row.BytesIn > 0 || row.BytesOut > 0 {
			rows = append(rows, *row)
		}
	}
	if len(rows) == 0 {
		return nil
	}
	slices.SortFunc(rows, func(a, b trafficRow) int { return cmp.Or(cmp.Compare(a.Period, b.Period), cmp.Compare(a.VM, b.VM)) })
	added := map[string]any{
		"bytes_in": gorm.Expr("vm_traffic.bytes_in + excluded.bytes_in"), "bytes_out": gorm.Expr("vm_traffic.bytes_out + excluded.bytes_out"),
	}
	if db.Name() == "mysql" {
		added = map[string]any{"bytes_in": gorm.Expr("bytes_in + VALUES(bytes_in)"), "bytes_out": gorm.Expr("bytes_out + VALUES(bytes_out)")}
	}
	return db.Clauses(clause.OnConflict{
		Columns: []clause.Column{{Name: "period"}, {Name: "vm_id"}}, DoUpdates: clause.Assignments(added),
	}).Create(&rows).Error
}

// trafficYears is how long traffic is kept.
const trafficYears = 3

func (s *session) dropTraffic(ctx context.Context, before time.Time) error {
	err := s.recordOne(ctx, "remove old traffic", func(db *gorm.DB) error {
		return db.Where("period < ?", broker.TrafficPeriod(before)).Delete(&trafficRow{}).Error
	})
	if err != nil {
		return err
	}
	return s.recordOne(ctx, "remove old counters", func(db *gorm.DB) error {
		return db.Where("at < ?", fromTime(before)).Delete(&counterRow{}).Error
	})
}

func (s *session) Traffic(ctx context.Context, period int, vms []int64) (used map[int64]broker.Traffic, err error) {
	used = map[int64]broker.Traffic{}
	if len(vms) == 0 {
		return used, nil
	}
	err = s.read(ctx, "read traffic", func(db *gorm.DB) error {
		for chunk := range slices.Chunk(vms, chunkLength) {
			var rows []trafficRow
			if err := db.Where("period = ? AND vm_id IN ?", period, chunk).Find(&rows).Error; err != nil {
				return err
			}
			for i := range rows {
				used[rows[i].VM] = rows[i].noun()
			}
		}
		return nil
	})
	return used, err
}

func (s *session) TrafficMonths(ctx context.Context, vm int64, count int) (months []broker.Traffic, err error) {
	err = s.read(ctx, "read traffic", func(db *gorm.DB) error {
		var rows []trafficRow
		err := db.Where("vm_id = ?", vm).Order("period DESC").Limit(count).Find(&rows).Error
		months = nouns(rows, (*trafficRow).noun)
		return err
	})
	return months, err
}

func (s *session) TrafficDue(ctx context.Context, period int, count int) (over, lifted []int64, err error) {
	err = s.read(ctx, "look for used-up traffic", func(db *gorm.DB) error {
		// traffic_limit is above 0: a quota that nobody set is no quota.
		err := db.Raw(`SELECT vms.id FROM vm_traffic JOIN vms ON vms.id = vm_traffic.vm_id WHERE vm_traffic.period = ? AND vms.deleted_at = 0
			AND vms.traffic_limit > 0 AND vm_traffic.bytes_in + vm_traffic.bytes_out >= vms.traffic_limit AND vms.status = ?
			AND vms.task_id IS NULL ORDER BY vms.id LIMIT ?`, period, broker.VMRunning, count).Scan(&over).Error
		if err != nil {
			return err
		}
		return db.Raw(`SELECT vms.id FROM vms LEFT JOIN vm_traffic ON vm_traffic.vm_id = vms.id AND vm_traffic.period = ?
			WHERE vms.deleted_at = 0 AND vms.status = ? AND vms.task_id IS NULL AND (vms.traffic_limit <= 0
			OR COALESCE(vm_traffic.bytes_in + vm_traffic.bytes_out, 0) < vms.traffic_limit) ORDER BY vms.id LIMIT ?`,
			period, broker.VMOverTraffic, count).Scan(&lifted).Error
	})
	return over, lifted, err
}

package store

import (
	"context"
	"time"

	"gorm.io/gorm"

	"gantry/server/broker"
)

func (s *session) Overview(ctx context.Context, now time.Time, east time.Duration) (*broker.Overview, error) {
	overview := &broker.Overview{Statuses: map[broker.VMStatus]int64{}, Nodes: map[int64]broker.NodeUse{}}
	err := s.read(ctx, "sum up the installation", func(db *gorm.DB) error {
		for _, part := range []func(*gorm.DB, *broker.Overview) error{countStatuses, countPromises, s.nameMachines, countTasks} {
			if err := part(db, overview); err != nil {
				return err
			}
		}
		return countDays(db, overview, now, east)
	})
	return overview, err
}

func countStatuses(db *gorm.DB, overview *broker.Overview) error {
	var rows []struct {
		Status int
		Count  int64
	}
	if err := db.Model(&vmRow{}).Select("status, COUNT(*) AS count").Where("deleted_at = 0").Group("status").Find(&rows).Error; err != nil {
		return err
	}
	for _, row := range rows {
		overview.Statuses[broker.VMStatus(row.Status)] = row.Count
	}
	return db.Model(&vmRow{}).Where("deleted_at = ?", recycled).Count(&overview.Recycled).Error
}

// countPromises sums up what machines in service and in the recycle bin have: the latter may be wanted back.
func countPromises(db *gorm.DB, overview *broker.Overview) error {
	var promised []struct{ NodeID, Vms, Cpus, MemoryMb int64 }
	err := db.Model(&vmRow{}).Select("node_id, COUNT(*) AS vms, SUM(cpus) AS cpus, SUM(memory_mb) AS memory_mb").
		Where("deleted_at <= 0").Group("node_id").Find(&promised).Error
	if err != nil {
		return err
	}
	for _, row := range promised {
		overview.Nodes[row.NodeID] = broker.NodeUse{VMs: row.Vms, CPUs: row.Cpus, MemoryMB: row.MemoryMb}
	}
	var loads []struct {
		NodeID      int64
		At          micros
		CPU         float64 `gorm:"column:cpu"`
		MemoryBytes int64
	}
	if err := db.Table("node_loads").Select("node_id, at, cpu, memory_bytes").Find(&loads).Error; err != nil {
		return err
	}
	for _, row := range loads {
		use := overview.Nodes[row.NodeID]
		use.Load, use.MemoryUsed, use.At = row.CPU, row.MemoryBytes, row.At.timePointer()
		overview.Nodes[row.NodeID] = use
	}
	return nil
}

// nameMachines finds those that an operator should look at. Ids first: whole rows are large.
func (s *session) nameMachines(db *gorm.DB, overview *broker.Overview) error {
	drifted := func() *gorm.DB { return db.Model(&vmRow{}).Where("deleted_at = 0 AND observed_drift <> ''") }
	if err := drifted().Count(&overview.Drifted).Error; err != nil {
		return err
	}
	for _, list := range []struct {
		query *gorm.DB
		order string
		into  *[]broker.VM
	}{
		{drifted(), "id DESC", &overview.Drifting},
		{db.Model(&vmRow{}).Where("deleted_at = 0 AND last_error <> ''"), "id DESC", &overview.Failing},
		{db.Model(&vmRow{}).Where("deleted_at = 0 AND observed_power = 'running'"), "observed_cpu DESC, id", &overview.Busiest},
	} {
		var ids []int64
		if err := list.query.Order(list.order).Limit(broker.OverviewRows).Pluck("id", &ids).Error; err != nil {
			return err
		}
		for _, id := range ids {
			var row vmRow
			if err := first(db.Where("id = ?", id), &row, "virtual machine", id); err != nil {
				return err
			}
			vm, err := s.vm(&row)
			if err != nil {
				return err
			}
			*list.into = append(*list.into, *vm)
		}
	}
	return nil
}

func countTasks(db *gorm.DB, overview *broker.Overview) error {
	if err := filterTasks(db, broker.TaskFilter{Active: true}).Count(&overview.ActiveTasks).Error; err != nil {
		return err
	}
	return filterTasks(db, broker.TaskFilter{State: broker.TaskStuck}).Count(&overview.StuckTasks).Error
}

// countDays counts tasks that were done, day by day: whole numbers of microseconds, which both databases reckon alike.
func countDays(db *gorm.DB, overview *broker.Overview, now time.Time, east time.Duration) error {
	const day = 24 * time.Hour
	today := now.Add(east).UTC().Truncate(day)
	since := today.Add(-(broker.OverviewDays - 1) * day)
	var rows []struct {
		Kind  string
		Day   micros
		Count int64
	}
	shifted := "(finished_at + ?)"
	err := db.Model(&taskRow{}).
		Select("kind, "+shifted+" - "+shifted+" % ? AS day, COUNT(*) AS count", east.Microseconds(), east.Microseconds(), day.Microseconds()).
		Where("finished_at >= ? AND kind IN ('create', 'delete') AND state = ?", fromTime(since.Add(-east)), string(broker.TaskDone)).
		Group("kind, day").Find(&rows).Error
	if err != nil {
		return err
	}
	for i := range broker.OverviewDays {
		begins := since.Add(time.Duration(i) * day)
		count := broker.DayCount{Day: begins.Add(-east)}
		for _, row := range rows {
			if !row.Day.time().Equal(begins) {
				continue
			}
			if row.Kind == "create" {
				count.Created += row.Count
			} else {
				count.Deleted += row.Count
			}
		}
		overview.Days = append(overview.Days, count)
	}
	return nil
}

func (s *session) TasksFinishedAfter(ctx context.Context, since time.Time, count int) (tasks []broker.Task, err error) {
	err = s.read(ctx, "list ended tasks", func(db *gorm.DB) error {
		var rows []taskRow
		err := db.Where("finished_at >= ?", fromTime(since)).Order("finished_at DESC, id DESC").Limit(count).Find(&rows).Error
		tasks = nouns(rows, (*taskRow).noun)
		return err
	})
	return tasks, err
}

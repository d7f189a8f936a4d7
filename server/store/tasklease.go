package store

import (
	"context"
	"time"

	"gorm.io/gorm"

	"gantry/server/broker"
)

// Statements that name rows by id say COALESCE(state, '') on purpose. MariaDB likes to find even a single row through another index
// that the condition fits (tasks_due here, vms_newest with VMs), and locks its neighbours there: workers then wait for each other.

func (s *session) SaveTask(ctx context.Context, task *broker.Task, owner string, history *broker.TaskStep) error {
	row := newTaskRow(task)
	if task.State != broker.TaskRunning {
		row.LeaseOwner, row.LeaseUntil = "", nil
	}
	line, err := historyText(history)
	if err != nil {
		return broker.Wrap(err, "store task")
	}
	slots := taskSlots(row.NodeKey, row.StorageKey, row.TemplateKey)
	write := s.record
	if len(slots) == 0 || task.State == broker.TaskRunning || task.State == broker.TaskWaiting {
		slots, write = nil, s.recordOne
	}
	err = write(ctx, "store task", func(db *gorm.DB) error {
		if err := saveTask(db, row, task, owner, line); err != nil {
			return err
		}
		// A task that ended or is to be tried again later no longer counts for the limits.
		for _, each := range slots {
			_, err := execute(db, "DELETE FROM task_slots WHERE scope = ? AND name = ? AND task_id = ?", each.scope, each.name, row.ID)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		task.LeaseOwner, task.LeaseUntil = row.LeaseOwner, row.LeaseUntil.timePointer()
	}
	return err
}

func saveTask(db *gorm.DB, row *taskRow, task *broker.Task, owner, line string) error {
	for {
		met, err := affect(db, `UPDATE tasks SET state = ?, undoing = ?, step = ?, step_name = ?, step_since = ?, data = ?,
			history = CASE WHEN ? = '' THEN history ELSE CONCAT(history, ?) END,
			operation = ?, operation_node = ?, progress = CASE WHEN progress > ? THEN progress ELSE ? END, note = ?,
			error = ?, reason = ?, attempts = ?, deadline = ?, run_after = ?, due_at = ?, lease_owner = ?,
			lease_until = ?, updated_at = ?, finished_at = ?
			WHERE id = ? AND lease_owner = ? AND COALESCE(state, '') = 'running' AND cancelled_by = ?`,
			row.State, row.Undoing, row.Step, row.StepName, row.StepSince, row.Data, line, line,
			row.Operation, row.OperationNode, row.Progress, row.Progress, row.Note,
			row.Error, row.Reason, row.Attempts, row.Deadline, row.RunAfter, row.DueAt, row.LeaseOwner,
			row.LeaseUntil, row.UpdatedAt, row.FinishedAt,
			row.ID, owner, task.CancelledBy)
		if err != nil || met > 0 {
			return err
		}
		if err := readCancel(db, task, owner); err != nil {
			return err
		}
	}
}

// readCancel finds out why a save met no row: either the lease is lost, which is Conflict, or a cancel was asked for, which is read
// into the task. A cancel is asked for once only, so the next save meets its row.
func readCancel(db *gorm.DB, task *broker.Task, owner string) error {
	var row struct{ CancelledBy string }
	result := db.Table("tasks").Select("cancelled_by").Where("id = ? AND lease_owner = ? AND state = 'running'", task.ID, owner).
		Limit(1).Find(&row)
	if result.Error != nil {
		return result.Error
	}
	if result.RowsAffected == 0 || row.CancelledBy == task.CancelledBy {
		return broker.Errorf(broker.Conflict, "the lease of task %d is lost", task.ID)
	}
	task.CancelledBy = row.CancelledBy
	return nil
}

func (s *session) RenewLeases(ctx context.Context, owner string, tasks []int64, until time.Time) error {
	if len(tasks) == 0 {
		return nil
	}
	return s.recordOne(ctx, "renew leases", func(db *gorm.DB) error {
		return db.Exec(`UPDATE tasks SET lease_until = ?, due_at = ? WHERE id IN ? AND lease_owner = ? AND COALESCE(state, '') = 'running'`,
			fromTime(until), fromTime(until), tasks, owner).Error
	})
}

func (s *session) EndLeases(ctx context.Context, owner string, now time.Time) error {
	return s.recordOne(ctx, "end leases", func(db *gorm.DB) error {
		return db.Exec(`UPDATE tasks SET lease_until = ?, due_at = ? WHERE lease_owner = ? AND state = 'running'`,
			fromTime(now), fromTime(now), owner).Error
	})
}

// WaitingTasks leaves out those that wait for nothing but time.
func (s *session) WaitingTasks(ctx context.Context, cluster int64) (tasks []broker.Task, err error) {
	err = s.read(ctx, "list waiting tasks", func(db *gorm.DB) error {
		query := db.Where("state = 'waiting' AND operation <> ''")
		if cluster != 0 {
			query = query.Where("cluster_id = ?", cluster)
		}
		var rows []taskRow
		err := query.Order("id").Find(&rows).Error
		tasks = nouns(rows, (*taskRow).noun)
		return err
	})
	return tasks, err
}

func (s *session) WakeTask(ctx context.Context, id int64, operation string, now time.Time) error {
	return s.recordOne(ctx, "wake task", func(db *gorm.DB) error {
		met, err := affect(db, `UPDATE tasks SET run_after = ?, due_at = ? WHERE id = ? AND COALESCE(state, '') = 'waiting' AND operation = ?`,
			fromTime(now), fromTime(now), id, operation)
		if err == nil && met == 0 {
			return notFound("waiting task", id)
		}
		return err
	})
}

func (s *session) NoteProgress(ctx context.Context, id int64, operation string, progress int, note string) error {
	return s.recordOne(ctx, "note progress", func(db *gorm.DB) error {
		return changed(db.Exec(`UPDATE tasks SET progress = CASE WHEN progress > ? THEN progress ELSE ? END, note = ?
			WHERE id = ? AND COALESCE(state, '') = 'waiting' AND operation = ?`, progress, progress, note, id, operation), "waiting task", id)
	})
}

func (s *session) RequestCancel(ctx context.Context, id int64, by string, now time.Time) error {
	return s.record(ctx, "cancel task", func(db *gorm.DB) error {
		// A running task sees it at its next step; the others are woken.
		result := db.Exec(`UPDATE tasks SET cancelled_by = ?,
				run_after = CASE WHEN state = 'running' THEN run_after ELSE ? END,
				due_at = CASE WHEN state = 'running' THEN due_at ELSE ? END
			WHERE id = ? AND COALESCE(state, '') IN ('ready', 'waiting', 'running') AND cancelled_by = ''`, by, fromTime(now), fromTime(now), id)
		if result.Error != nil || result.RowsAffected > 0 {
			return result.Error
		}
		var row taskRow
		if err := first(db.Where("id = ?", id), &row, "task", id); err != nil {
			return err
		}
		if broker.TaskState(row.State).Final() {
			return broker.Errorf(broker.Conflict, "task %d has ended: it is %s", id, row.State)
		}
		return nil
	})
}

// RetryTask counts as a further attempt: the step looks before it acts.
func (s *session) RetryTask(ctx context.Context, id int64, deadline, now time.Time) error {
	return s.record(ctx, "retry task", func(db *gorm.DB) error {
		result := db.Exec(`UPDATE tasks SET state = 'ready', attempts = 1, deadline = ?, run_after = ?, due_at = ?, updated_at = ?,
			finished_at = NULL WHERE id = ? AND COALESCE(state, '') = 'stuck'`,
			fromTime(deadline), fromTime(now), fromTime(now), fromTime(now), id)
		if result.Error != nil || result.RowsAffected > 0 {
			return result.Error
		}
		var row taskRow
		if err := first(db.Where("id = ?", id), &row, "task", id); err != nil {
			return err
		}
		return broker.Errorf(broker.Conflict, "task %d is not stuck: it is %s", id, row.State)
	})
}

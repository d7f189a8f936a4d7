package store

import (
	"context"
	"slices"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"gantry/server/broker"
)

type taskRow struct {
	ID             int64
	Kind           string
	VM             *int64 `gorm:"column:vm_id"`
	ClusterID      int64
	NodeID         int64
	State          string
	Undoing        bool
	Step           int
	StepName       string
	StepSince      micros
	Data           string
	History        string
	Operation      string
	OperationNode  string
	Progress       int
	Note           string
	Error          string
	Reason         string
	Attempts       int
	Deadline       micros
	RunAfter       micros
	DueAt          *micros // when somebody should look at it next, see the migration
	LeaseOwner     string
	LeaseUntil     *micros
	IdempotencyKey *string
	Tenant         int64
	NodeKey        string
	StorageKey     string
	TemplateKey    string
	CancelledBy    string
	RequestedBy    string
	RequestID      string
	CreatedAt      micros `gorm:"autoCreateTime:false"`
	UpdatedAt      micros `gorm:"autoUpdateTime:false"`
	FinishedAt     *micros
}

func (taskRow) TableName() string { return "tasks" }

var taskTable = tableOf[taskRow]()

func newTaskRow(task *broker.Task) *taskRow {
	row := &taskRow{
		ID: task.ID, Kind: task.Kind, VM: task.VM, ClusterID: task.ClusterID, NodeID: task.NodeID, State: string(task.State),
		Undoing: task.Undoing, Step: task.Step, StepName: task.StepName, StepSince: fromTime(task.StepSince), Data: string(task.Data),
		Operation: task.Operation, OperationNode: task.OperationNode, Progress: task.Progress, Note: task.Note, Error: task.Error,
		Reason: string(task.Reason), Attempts: task.Attempts, Deadline: fromTime(task.Deadline), RunAfter: fromTime(task.RunAfter),
		LeaseOwner: task.LeaseOwner, LeaseUntil: fromTimePointer(task.LeaseUntil), IdempotencyKey: present(task.IdempotencyKey),
		Tenant: task.Tenant, NodeKey: task.NodeKey, StorageKey: task.StorageKey, TemplateKey: task.TemplateKey,
		CancelledBy: task.CancelledBy, RequestedBy: task.RequestedBy, RequestID: task.RequestID,
		CreatedAt: fromTime(task.CreatedAt), UpdatedAt: fromTime(task.UpdatedAt), FinishedAt: fromTimePointer(task.FinishedAt),
	}
	switch {
	case task.State.Final():
	case task.State == broker.TaskRunning:
		row.DueAt = row.LeaseUntil
	default:
		row.DueAt = &row.RunAfter
	}
	return row
}

func (r *taskRow) noun() broker.Task {
	task := broker.Task{
		ID: r.ID, Kind: r.Kind, VM: r.VM, ClusterID: r.ClusterID, NodeID: r.NodeID, State: broker.TaskState(r.State),
		Undoing: r.Undoing, Step: r.Step, StepName: r.StepName, StepSince: r.StepSince.time(), Operation: r.Operation,
		OperationNode: r.OperationNode, Progress: r.Progress, Note: r.Note, Error: r.Error, Reason: broker.Reason(r.Reason),
		Attempts: r.Attempts, Deadline: r.Deadline.time(), RunAfter: r.RunAfter.time(), LeaseOwner: r.LeaseOwner,
		LeaseUntil: r.LeaseUntil.timePointer(), Tenant: r.Tenant, NodeKey: r.NodeKey, StorageKey: r.StorageKey,
		TemplateKey: r.TemplateKey, CancelledBy: r.CancelledBy, RequestedBy: r.RequestedBy, RequestID: r.RequestID,
		CreatedAt: r.CreatedAt.time(), UpdatedAt: r.UpdatedAt.time(), FinishedAt: r.FinishedAt.timePointer(),
	}
	if r.Data != "" {
		task.Data = []byte(r.Data)
	}
	if r.IdempotencyKey != nil {
		task.IdempotencyKey = *r.IdempotencyKey
	}
	return task
}

// InsertTask adds a task that nobody holds yet.
func (s *session) InsertTask(ctx context.Context, task *broker.Task) error {
	return s.record(ctx, "add task", func(db *gorm.DB) error {
		id, err := taskTable.add(db, newTaskRow(task))
		if err != nil {
			if s.engine.duplicate(err) {
				return &broker.Error{Kind: broker.Exists, Detail: "a task with the same idempotency key exists already", Err: err}
			}
			return err
		}
		// A tenant's first task gives it a turn. The look before keeps later tasks from locking the row.
		turns, err := turnTable.find(db, "WHERE tenant = ?", task.Tenant)
		if err != nil {
			return err
		}
		if len(turns) == 0 {
			if err := db.Clauses(clause.OnConflict{DoNothing: true}).Create(&turnRow{Tenant: task.Tenant}).Error; err != nil {
				return err
			}
		}
		task.ID = id
		return nil
	})
}

func (s *session) FindTask(ctx context.Context, id int64) (*broker.Task, error) {
	return s.findTask(ctx, "id = ?", id)
}

func (s *session) FindTaskByKey(ctx context.Context, key string) (*broker.Task, error) {
	return s.findTask(ctx, "idempotency_key = ?", key)
}

func (s *session) findTask(ctx context.Context, where string, key any) (found *broker.Task, err error) {
	err = s.read(ctx, "find task", func(db *gorm.DB) error {
		row, err := taskTable.first(db, "task", key, "WHERE "+where, key)
		if err != nil {
			return err
		}
		task := row.noun()
		found = &task
		return nil
	})
	return found, err
}

// ListTasks gives the newest first.
func (s *session) ListTasks(ctx context.Context, filter broker.TaskFilter, page broker.Page) (tasks []broker.Task, total int64, err error) {
	err = s.read(ctx, "list tasks", func(db *gorm.DB) error {
		if err := filterTasks(db, filter).Count(&total).Error; err != nil || total == 0 {
			return err
		}
		var rows []taskRow
		err := paged(filterTasks(db, filter).Order("id DESC"), page).Find(&rows).Error
		tasks = nouns(rows, (*taskRow).noun)
		return err
	})
	return tasks, total, err
}

func filterTasks(db *gorm.DB, filter broker.TaskFilter) *gorm.DB {
	query := db.Model(&taskRow{})
	if filter.VM != 0 {
		query = query.Where("vm_id = ?", filter.VM)
	}
	if filter.State != "" {
		query = query.Where("state = ?", string(filter.State))
		if filter.State.Final() {
			query = query.Where("due_at IS NULL") // always so; it lets tasks_due give the rows in order
		}
	}
	if filter.Kind != "" {
		query = query.Where("kind = ?", filter.Kind)
	}
	if filter.Active {
		query = query.Where("state IN ?", []string{string(broker.TaskReady), string(broker.TaskRunning), string(broker.TaskWaiting)})
	}
	return query
}

func (s *session) NextRunAfter(ctx context.Context) (next time.Time, err error) {
	err = s.read(ctx, "look for due tasks", func(db *gorm.DB) error {
		// Three looks into an index; one MIN over several states would walk over all their tasks. -1 stands for none.
		var due []micros
		err := db.Raw(`SELECT COALESCE(MIN(due_at), -1) AS due FROM tasks WHERE state = 'ready'
			UNION ALL SELECT COALESCE(MIN(due_at), -1) FROM tasks WHERE state = 'waiting'
			UNION ALL SELECT COALESCE(MIN(due_at), -1) FROM tasks WHERE state = 'running'`).Scan(&due).Error
		due = slices.DeleteFunc(due, func(at micros) bool { return at < 0 })
		if len(due) > 0 {
			// A task that may run at any time has no RunAfter; zero would mean that there is none.
			next = max(slices.Min(due), 1).time()
		}
		return err
	})
	return next, err
}

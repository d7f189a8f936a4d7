package store

import (
	"cmp"
	"context"
	"database/sql"
	"maps"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"

	"gantry/server/broker"
)

type turnRow struct {
	Tenant int64 `gorm:"primaryKey;autoIncrement:false"`
	Served micros
}

func (turnRow) TableName() string { return "task_turns" }

var turnTable = tableOf[turnRow]()

// claimLock is the row of task_turns that claims lock. No tenant has the number.
const claimLock = -1

// heldSlot is a row of task_slots: a task at work that counts for a limit.
type heldSlot struct {
	slot
	task int64
}

// slot is what a limit counts: a scope and a key in it.
type slot struct{ scope, name string }

// candidate is a ready task as the claim sees it.
type candidate struct {
	ID          int64
	Tenant      int64
	NodeKey     string
	StorageKey  string
	TemplateKey string
}

func (c *candidate) slots() []slot {
	return taskSlots(c.NodeKey, c.StorageKey, c.TemplateKey)
}

func taskSlots(node, storage, template string) (slots []slot) {
	for _, each := range []slot{{"node", node}, {"storage", storage}, {"template", template}} {
		if each.name != "" {
			slots = append(slots, each)
		}
	}
	return slots
}

func (s *session) ClaimTasks(ctx context.Context, owner string, count int, limits broker.TaskLimits, now, leaseUntil time.Time) (claimed []broker.Task, err error) {
	if count <= 0 {
		return nil, nil
	}
	err = s.record(ctx, "claim tasks", func(db *gorm.DB) error {
		// One claim at a time, so that limits hold with several servers. It is over in about a millisecond.
		if lock := forUpdate(db); lock != "" {
			if _, err := turnTable.find(db, "WHERE tenant = ?"+lock, claimLock); err != nil {
				return err
			}
		}
		// What has begun goes first. It holds its slots already.
		ids, err := onlyColumn[int64](db, `SELECT id FROM tasks WHERE state IN ('waiting', 'running') AND due_at <= ? ORDER BY due_at, id LIMIT ?`,
			fromTime(now), count)
		if err != nil {
			return err
		}
		if len(ids) < count {
			search := claim{db: db, now: fromTime(now), wanted: count - len(ids), limits: limits}
			if err := search.run(); err != nil {
				return err
			}
			ids = append(ids, search.taken...)
		}
		if len(ids) == 0 {
			return nil
		}
		until, these := fromTime(leaseUntil), parameters(len(ids))
		_, err = execute(db, `UPDATE tasks SET state = 'running', lease_owner = ?, lease_until = ?, due_at = ?, attempts = attempts + 1,
			updated_at = ? WHERE COALESCE(due_at, 0) <= ? AND COALESCE(state, '') IN ('ready', 'waiting', 'running') AND id IN `+these,
			append([]any{owner, until, until, fromTime(now), fromTime(now)}, anyOf(ids)...)...)
		if err != nil {
			return err
		}
		// A lease that had run out may have been renewed in between: only what is ours now counts.
		rows, err := taskTable.find(db, "WHERE lease_owner = ? AND lease_until = ? AND id IN "+these, append([]any{owner, until}, anyOf(ids)...)...)
		if err != nil {
			return err
		}
		byID := make(map[int64]*taskRow, len(rows))
		for i := range rows {
			byID[rows[i].ID] = &rows[i]
		}
		claimed = make([]broker.Task, 0, len(ids))
		for _, id := range ids { // in the order of the claim
			if row := byID[id]; row != nil {
				claimed = append(claimed, row.noun())
			}
		}
		return nil
	})
	return claimed, err
}

// claim looks for tasks that may begin: tenants in turn, the oldest first inside a tenant, within the limits.
type claim struct {
	db     *gorm.DB
	now    micros
	wanted int
	limits broker.TaskLimits

	taken []int64
	slots []heldSlot
	turns []int64 // tenants in the order they were served, the last time of each counts
	used  map[slot]int
	full  map[string][]string // scope → names
}

// queue is what one tenant has ready.
type queue struct {
	tenant     int64
	candidates []candidate
	last       int64 // id after which the next candidates are
	empty      bool
}

func (c *claim) run() error {
	c.used, c.full = map[slot]int{}, map[string][]string{}
	// LIMIT keeps MariaDB from turning the look for one task a tenant into a scan of all of them, as it does with EXISTS.
	tenants, err := onlyColumn[int64](c.db, `SELECT tenant FROM task_turns WHERE (
			SELECT 1 FROM tasks WHERE tasks.state = 'ready' AND tasks.tenant = task_turns.tenant AND tasks.due_at <= ? LIMIT 1
		) = 1 ORDER BY served, tenant`, c.now)
	if err != nil {
		return err
	}
	queues := make([]*queue, len(tenants))
	for i, tenant := range tenants {
		queues[i] = &queue{tenant: tenant}
	}
	// Those whose turn is first are most likely all that is needed: one query for all of them.
	if err := c.fill(queues[:min(len(queues), c.wanted, queuesAtOnce)]...); err != nil {
		return err
	}
	// Round after round each tenant gets one.
	for progress := true; progress && len(c.taken) < c.wanted; {
		progress = false
		for _, queue := range queues {
			if len(c.taken) == c.wanted {
				break
			}
			took, err := c.takeOne(queue)
			if err != nil {
				return err
			}
			progress = progress || took
		}
	}
	return c.store()
}

// queuesAtOnce is how many tenants' queues one query reads.
const queuesAtOnce = 16

// takeOne takes the oldest task of a tenant that the limits let begin.
func (c *claim) takeOne(from *queue) (bool, error) {
	for {
		for len(from.candidates) > 0 {
			next := from.candidates[0]
			from.candidates = from.candidates[1:]
			if c.fits(&next) {
				c.take(&next)
				return true, nil
			}
		}
		if from.empty {
			return false, nil
		}
		if err := c.fill(from); err != nil {
			return false, err
		}
	}
}

// fill reads the next candidates of tenants. Those whose limit is known to be reached are left out by the database, so that a long
// queue in front of a busy node costs no round trips.
func (c *claim) fill(queues ...*queue) error {
	if len(queues) == 0 {
		return nil
	}
	length := c.wanted/len(queues) + 4
	var parts []string
	var arguments []any
	for _, queue := range queues {
		part := `SELECT * FROM (SELECT id, tenant, node_key, storage_key, template_key FROM tasks
			WHERE state = 'ready' AND tenant = ? AND id > ? AND due_at <= ?`
		arguments = append(arguments, queue.tenant, queue.last, c.now)
		for scope, names := range c.full {
			part += " AND " + scope + "_key NOT IN " + parameters(len(names))
			arguments = append(arguments, anyOf(names)...)
		}
		parts = append(parts, part+" ORDER BY id LIMIT ?) AS next")
		arguments = append(arguments, length)
	}
	var candidates []candidate
	err := query(c.db, func(rows *sql.Rows) error {
		var each candidate
		err := rows.Scan(&each.ID, &each.Tenant, &each.NodeKey, &each.StorageKey, &each.TemplateKey)
		candidates = append(candidates, each)
		return err
	}, strings.Join(parts, " UNION ALL "), arguments...)
	if err != nil {
		return err
	}
	slices.SortFunc(candidates, func(a, b candidate) int { return cmp.Compare(a.ID, b.ID) })
	for _, queue := range queues {
		queue.candidates = nil
		for _, each := range candidates {
			if each.Tenant == queue.tenant {
				queue.candidates = append(queue.candidates, each)
				queue.last = each.ID
			}
		}
		queue.empty = len(queue.candidates) < length
	}
	return c.count(candidates)
}

// count learns how many tasks at work share the candidates' keys.
func (c *claim) count(candidates []candidate) error {
	unknown := map[string][]string{}
	for i := range candidates {
		for _, each := range candidates[i].slots() {
			if _, known := c.used[each]; !known && c.limit(each.scope) > 0 {
				c.used[each] = 0
				unknown[each.scope] = append(unknown[each.scope], each.name)
			}
		}
	}
	for scope, names := range unknown {
		err := query(c.db, func(rows *sql.Rows) error {
			name, count := "", 0
			err := rows.Scan(&name, &count)
			c.use(slot{scope, name}, count)
			return err
		}, "SELECT name, COUNT(*) FROM task_slots WHERE scope = ? AND name IN "+parameters(len(names))+" GROUP BY name",
			append([]any{scope}, anyOf(names)...)...)
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *claim) use(each slot, count int) {
	before, limit := c.used[each], c.limit(each.scope)
	c.used[each] = before + count
	if limit > 0 && before < limit && before+count >= limit {
		c.full[each.scope] = append(c.full[each.scope], each.name)
	}
}

func (c *claim) limit(scope string) int {
	switch scope {
	case "node":
		return c.limits.PerNode
	case "storage":
		return c.limits.PerStorage
	}
	return c.limits.PerTemplate
}

func (c *claim) fits(next *candidate) bool {
	for _, each := range next.slots() {
		if limit := c.limit(each.scope); limit > 0 && c.used[each] >= limit {
			return false
		}
	}
	return true
}

func (c *claim) take(next *candidate) {
	c.taken = append(c.taken, next.ID)
	c.turns = append(c.turns, next.Tenant)
	for _, each := range next.slots() {
		c.use(each, 1)
		c.slots = append(c.slots, heldSlot{each, next.ID})
	}
}

func (c *claim) store() error {
	if len(c.slots) > 0 {
		var arguments []any
		for _, each := range c.slots {
			arguments = append(arguments, each.scope, each.name, each.task)
		}
		again := " ON CONFLICT DO NOTHING"
		if c.db.Name() == "mysql" {
			again = " ON DUPLICATE KEY UPDATE task_id = VALUES(task_id)"
		}
		insert := "INSERT INTO task_slots (scope, name, task_id) VALUES (?, ?, ?)" + strings.Repeat(", (?, ?, ?)", len(c.slots)-1) + again
		if _, err := execute(c.db, insert, arguments...); err != nil {
			return err
		}
	}
	if len(c.turns) == 0 {
		return nil
	}
	served := map[int64]micros{}
	for i, tenant := range c.turns {
		served[tenant] = c.now + micros(i)
	}
	update, arguments := "UPDATE task_turns SET served = CASE tenant", []any{}
	for tenant, at := range served {
		update += " WHEN ? THEN ?"
		arguments = append(arguments, tenant, at)
	}
	tenants := slices.Collect(maps.Keys(served))
	_, err := execute(c.db, update+" ELSE served END WHERE tenant IN "+parameters(len(tenants)), append(arguments, anyOf(tenants)...)...)
	return err
}

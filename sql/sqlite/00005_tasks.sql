-- +goose Up
-- Durable tasks.

CREATE TABLE tasks (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	kind TEXT NOT NULL,
	vm_id INTEGER,
	cluster_id INTEGER NOT NULL,
	node_id INTEGER NOT NULL,
	state TEXT NOT NULL,
	undoing INTEGER NOT NULL,
	step INTEGER NOT NULL,
	step_name TEXT NOT NULL,
	step_since INTEGER NOT NULL,
	data TEXT NOT NULL, -- JSON or empty
	history TEXT NOT NULL, -- one JSON object a line
	operation TEXT NOT NULL,
	operation_node TEXT NOT NULL,
	progress INTEGER NOT NULL,
	note TEXT NOT NULL,
	error TEXT NOT NULL,
	reason TEXT NOT NULL,
	attempts INTEGER NOT NULL,
	deadline INTEGER NOT NULL,
	run_after INTEGER NOT NULL,
	-- When somebody should look at the task next: run_after, or the lease's end while it runs; NULL when it is final.
	due_at INTEGER,
	lease_owner TEXT NOT NULL,
	lease_until INTEGER,
	idempotency_key TEXT,
	tenant INTEGER NOT NULL,
	node_key TEXT NOT NULL,
	storage_key TEXT NOT NULL,
	template_key TEXT NOT NULL,
	cancelled_by TEXT NOT NULL,
	requested_by TEXT NOT NULL,
	request_id TEXT NOT NULL,
	created_at INTEGER NOT NULL,
	updated_at INTEGER NOT NULL,
	finished_at INTEGER
);
CREATE UNIQUE INDEX tasks_idempotency_key ON tasks (idempotency_key);
CREATE INDEX tasks_due ON tasks (state, due_at);
CREATE INDEX tasks_turn ON tasks (state, tenant, id, due_at);
CREATE INDEX tasks_vm ON tasks (vm_id, id);

-- What counts towards a limit: one row for each key of a task that is at work. scope is node, storage or template.
CREATE TABLE task_slots (
	scope TEXT NOT NULL,
	name TEXT NOT NULL,
	task_id INTEGER NOT NULL,
	PRIMARY KEY (scope, name, task_id)
);

-- When a tenant's turn was last. Claims lock the row of tenant -1, so that limits hold with several servers.
CREATE TABLE task_turns (
	tenant INTEGER NOT NULL PRIMARY KEY,
	served INTEGER NOT NULL
);

INSERT INTO task_turns (tenant, served) VALUES (-1, 0);

-- +goose Down
DROP TABLE task_turns;
DROP TABLE task_slots;
DROP TABLE tasks;

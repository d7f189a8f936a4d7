-- +goose Up
-- Durable tasks.

CREATE TABLE tasks (
	id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	kind VARCHAR(64) NOT NULL,
	vm_id BIGINT,
	cluster_id BIGINT NOT NULL,
	node_id BIGINT NOT NULL,
	state VARCHAR(16) NOT NULL,
	undoing BOOLEAN NOT NULL,
	step INT NOT NULL,
	step_name VARCHAR(190) NOT NULL,
	step_since BIGINT NOT NULL,
	data MEDIUMTEXT NOT NULL, -- JSON or empty
	history MEDIUMTEXT NOT NULL, -- one JSON object a line
	operation VARCHAR(500) NOT NULL,
	operation_node VARCHAR(190) NOT NULL,
	progress INT NOT NULL,
	note TEXT NOT NULL,
	error TEXT NOT NULL,
	reason VARCHAR(64) NOT NULL,
	attempts INT NOT NULL,
	deadline BIGINT NOT NULL,
	run_after BIGINT NOT NULL,
	-- When somebody should look at the task next: run_after, or the lease's end while it runs; NULL when it is final.
	due_at BIGINT,
	lease_owner VARCHAR(190) NOT NULL,
	lease_until BIGINT,
	idempotency_key VARCHAR(190),
	tenant BIGINT NOT NULL,
	node_key VARCHAR(190) NOT NULL,
	storage_key VARCHAR(190) NOT NULL,
	template_key VARCHAR(190) NOT NULL,
	cancelled_by VARCHAR(190) NOT NULL,
	requested_by VARCHAR(190) NOT NULL,
	request_id VARCHAR(190) NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	finished_at BIGINT,
	UNIQUE KEY tasks_idempotency_key (idempotency_key),
	KEY tasks_due (state, due_at),
	KEY tasks_turn (state, tenant, id, due_at),
	KEY tasks_vm (vm_id, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- What counts towards a limit: one row for each key of a task that is at work. scope is node, storage or template.
CREATE TABLE task_slots (
	scope VARCHAR(16) NOT NULL,
	name VARCHAR(190) NOT NULL,
	task_id BIGINT NOT NULL,
	PRIMARY KEY (scope, name, task_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- When a tenant's turn was last. Claims lock the row of tenant -1, so that limits hold with several servers.
CREATE TABLE task_turns (
	tenant BIGINT NOT NULL PRIMARY KEY,
	served BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

INSERT INTO task_turns (tenant, served) VALUES (-1, 0);

-- +goose Down
DROP TABLE task_turns;
DROP TABLE task_slots;
DROP TABLE tasks;

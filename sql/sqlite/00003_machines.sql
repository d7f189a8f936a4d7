-- +goose Up
-- Ordered machines. A deleted one keeps its row: deleted_at is set and the live_ columns and mac are NULL, which frees them.

CREATE TABLE vms (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	cluster_id INTEGER NOT NULL,
	node_id INTEGER NOT NULL,
	kind TEXT NOT NULL,
	vmid INTEGER NOT NULL, -- 0 = none yet
	live_vmid INTEGER,
	name TEXT NOT NULL,
	live_name TEXT, -- in lower case: host names differ in more than case
	owner TEXT,
	tenant INTEGER NOT NULL,
	status INTEGER NOT NULL,
	status_at INTEGER NOT NULL, -- when a task or an order set status last
	task_id INTEGER,
	spec TEXT NOT NULL, -- JSON
	mac TEXT,
	image_id INTEGER NOT NULL,
	username TEXT NOT NULL,
	password TEXT NOT NULL, -- encrypted
	pending_password TEXT NOT NULL, -- encrypted; what a reinstall under way sets
	system_volume TEXT NOT NULL,
	expires_at INTEGER,
	created_at INTEGER NOT NULL,
	deleted_at INTEGER NOT NULL, -- 0 = not deleted
	started_once INTEGER NOT NULL,
	last_error TEXT NOT NULL,
	observed_at INTEGER,
	observed_power TEXT NOT NULL,
	observed_node TEXT NOT NULL,
	observed_cpu REAL NOT NULL,
	observed_memory INTEGER NOT NULL,
	observed_uptime INTEGER NOT NULL,
	observed_net_in INTEGER NOT NULL,
	observed_net_out INTEGER NOT NULL,
	observed_drift TEXT NOT NULL
);
CREATE UNIQUE INDEX vms_live_name ON vms (live_name);
CREATE UNIQUE INDEX vms_live_vmid ON vms (cluster_id, live_vmid);
CREATE UNIQUE INDEX vms_mac ON vms (mac);
CREATE UNIQUE INDEX vms_owner ON vms (owner);
CREATE INDEX vms_search_vmid ON vms (live_vmid);
CREATE INDEX vms_newest ON vms (deleted_at, id);
CREATE INDEX vms_by_status ON vms (deleted_at, status, id);
CREATE INDEX vms_by_node ON vms (deleted_at, node_id, id);
CREATE INDEX vms_by_tenant ON vms (deleted_at, tenant, id);
CREATE INDEX vms_by_cluster ON vms (cluster_id, deleted_at);

-- +goose Down
DROP TABLE vms;

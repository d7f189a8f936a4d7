-- +goose Up
-- Ordered machines. A deleted one keeps its row: deleted_at is set and the live_ columns and mac are NULL, which frees them.

CREATE TABLE vms (
	id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	cluster_id BIGINT NOT NULL,
	node_id BIGINT NOT NULL,
	kind VARCHAR(32) NOT NULL,
	vmid BIGINT NOT NULL, -- 0 = none yet
	live_vmid BIGINT,
	name VARCHAR(190) NOT NULL,
	live_name VARCHAR(190), -- in lower case: host names differ in more than case
	owner VARCHAR(64),
	tenant BIGINT NOT NULL,
	status INT NOT NULL,
	status_at BIGINT NOT NULL, -- when a task or an order set status last
	task_id BIGINT,
	spec MEDIUMTEXT NOT NULL, -- JSON
	mac VARCHAR(32),
	image_id BIGINT NOT NULL,
	username VARCHAR(190) NOT NULL,
	password TEXT NOT NULL, -- encrypted
	pending_password TEXT NOT NULL, -- encrypted; what a reinstall under way sets
	system_volume VARCHAR(500) NOT NULL,
	expires_at BIGINT,
	created_at BIGINT NOT NULL,
	deleted_at BIGINT NOT NULL, -- 0 = not deleted
	started_once BOOLEAN NOT NULL,
	last_error TEXT NOT NULL,
	observed_at BIGINT,
	observed_power VARCHAR(32) NOT NULL,
	observed_node VARCHAR(190) NOT NULL,
	observed_cpu DOUBLE NOT NULL,
	observed_memory BIGINT NOT NULL,
	observed_uptime BIGINT NOT NULL,
	observed_net_in BIGINT NOT NULL,
	observed_net_out BIGINT NOT NULL,
	observed_drift TEXT NOT NULL,
	UNIQUE KEY vms_live_name (live_name),
	UNIQUE KEY vms_live_vmid (cluster_id, live_vmid),
	UNIQUE KEY vms_mac (mac),
	UNIQUE KEY vms_owner (owner),
	KEY vms_search_vmid (live_vmid),
	KEY vms_newest (deleted_at, id),
	KEY vms_by_status (deleted_at, status, id),
	KEY vms_by_node (deleted_at, node_id, id),
	KEY vms_by_tenant (deleted_at, tenant, id),
	KEY vms_by_cluster (cluster_id, deleted_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- +goose Down
DROP TABLE vms;

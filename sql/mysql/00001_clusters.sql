-- +goose Up
-- Clusters, their nodes, what the nodes offer, and the guest ids that are taken.
-- Times are microseconds since 1970-01-01 UTC.

CREATE TABLE clusters (
	id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	kind VARCHAR(32) NOT NULL,
	endpoint VARCHAR(320) NOT NULL, -- host:port
	name VARCHAR(190) NOT NULL,
	options TEXT NOT NULL, -- encrypted
	tls_pin VARCHAR(64) NOT NULL,
	version VARCHAR(64) NOT NULL,
	vmid_from BIGINT NOT NULL,
	vmid_to BIGINT NOT NULL,
	disabled BOOLEAN NOT NULL,
	seen_at BIGINT,
	last_error TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	UNIQUE KEY clusters_endpoint (kind, endpoint)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE nodes (
	id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	cluster_id BIGINT NOT NULL,
	CONSTRAINT nodes_cluster_id FOREIGN KEY (cluster_id) REFERENCES clusters (id) ON DELETE CASCADE,
	name VARCHAR(190) NOT NULL,
	label VARCHAR(190) NOT NULL,
	area_id BIGINT,
	status INT NOT NULL,
	default_storage VARCHAR(190) NOT NULL,
	cpus INT NOT NULL,
	memory_bytes BIGINT NOT NULL,
	seen_at BIGINT,
	last_error TEXT NOT NULL,
	ssh_port INT NOT NULL,
	ssh_username VARCHAR(190) NOT NULL,
	ssh_password TEXT NOT NULL, -- encrypted
	daemon_url VARCHAR(500) NOT NULL,
	daemon_secret TEXT NOT NULL, -- encrypted
	daemon_tls_pin VARCHAR(64) NOT NULL,
	daemon_status INT,
	created_at BIGINT NOT NULL,
	UNIQUE KEY nodes_name (cluster_id, name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE storages (
	id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	cluster_id BIGINT NOT NULL,
	node_id BIGINT NOT NULL,
	CONSTRAINT storages_node_id FOREIGN KEY (node_id) REFERENCES nodes (id) ON DELETE CASCADE,
	name VARCHAR(190) NOT NULL,
	type VARCHAR(64) NOT NULL,
	content TEXT NOT NULL, -- JSON array
	shared BOOLEAN NOT NULL,
	enabled BOOLEAN NOT NULL,
	active BOOLEAN NOT NULL,
	total BIGINT NOT NULL,
	available BIGINT NOT NULL,
	seen_at BIGINT,
	UNIQUE KEY storages_name (node_id, name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE bridges (
	id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	node_id BIGINT NOT NULL,
	CONSTRAINT bridges_node_id FOREIGN KEY (node_id) REFERENCES nodes (id) ON DELETE CASCADE,
	name VARCHAR(190) NOT NULL,
	active BOOLEAN NOT NULL,
	cidr VARCHAR(64) NOT NULL,
	UNIQUE KEY bridges_name (node_id, name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- A row is an id that may not be given out: held by a VM, or blocked until a time (quarantine, foreign guest).
CREATE TABLE vmids (
	cluster_id BIGINT NOT NULL,
	vmid BIGINT NOT NULL,
	vm_id BIGINT,
	blocked_until BIGINT,
	PRIMARY KEY (cluster_id, vmid)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Where the search for a free id goes on. Its row is the lock that reservations of a cluster take turns at; it is no column of
-- clusters, because foreign keys and the poller lock that row, too.
CREATE TABLE vmid_cursors (
	cluster_id BIGINT NOT NULL PRIMARY KEY,
	next_vmid BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- The ids of all guests that the hypervisor itself has, ours and foreign ones.
CREATE TABLE guests (
	cluster_id BIGINT NOT NULL,
	vmid BIGINT NOT NULL,
	PRIMARY KEY (cluster_id, vmid)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- +goose Down
DROP TABLE guests;
DROP TABLE vmid_cursors;
DROP TABLE vmids;
DROP TABLE bridges;
DROP TABLE storages;
DROP TABLE nodes;
DROP TABLE clusters;

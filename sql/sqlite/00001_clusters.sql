-- +goose Up
-- Clusters, their nodes, what the nodes offer, and the guest ids that are taken.
-- Times are microseconds since 1970-01-01 UTC.

CREATE TABLE clusters (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	kind TEXT NOT NULL,
	endpoint TEXT NOT NULL, -- host:port
	name TEXT NOT NULL,
	options TEXT NOT NULL, -- encrypted
	tls_pin TEXT NOT NULL,
	version TEXT NOT NULL,
	vmid_from INTEGER NOT NULL,
	vmid_to INTEGER NOT NULL,
	disabled INTEGER NOT NULL,
	seen_at INTEGER,
	last_error TEXT NOT NULL,
	created_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX clusters_endpoint ON clusters (kind, endpoint);

CREATE TABLE nodes (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	cluster_id INTEGER NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
	name TEXT NOT NULL,
	label TEXT NOT NULL,
	area_id INTEGER,
	status INTEGER NOT NULL,
	default_storage TEXT NOT NULL,
	cpus INTEGER NOT NULL,
	memory_bytes INTEGER NOT NULL,
	seen_at INTEGER,
	last_error TEXT NOT NULL,
	ssh_port INTEGER NOT NULL,
	ssh_username TEXT NOT NULL,
	ssh_password TEXT NOT NULL, -- encrypted
	daemon_url TEXT NOT NULL,
	daemon_secret TEXT NOT NULL, -- encrypted
	daemon_tls_pin TEXT NOT NULL,
	daemon_status INTEGER,
	created_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX nodes_name ON nodes (cluster_id, name);

CREATE TABLE storages (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	cluster_id INTEGER NOT NULL,
	node_id INTEGER NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
	name TEXT NOT NULL,
	type TEXT NOT NULL,
	content TEXT NOT NULL, -- JSON array
	shared INTEGER NOT NULL,
	enabled INTEGER NOT NULL,
	active INTEGER NOT NULL,
	total INTEGER NOT NULL,
	available INTEGER NOT NULL,
	seen_at INTEGER
);
CREATE UNIQUE INDEX storages_name ON storages (node_id, name);

CREATE TABLE bridges (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	node_id INTEGER NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
	name TEXT NOT NULL,
	active INTEGER NOT NULL,
	cidr TEXT NOT NULL
);
CREATE UNIQUE INDEX bridges_name ON bridges (node_id, name);

-- A row is an id that may not be given out: held by a VM, or blocked until a time (quarantine, foreign guest).
CREATE TABLE vmids (
	cluster_id INTEGER NOT NULL,
	vmid INTEGER NOT NULL,
	vm_id INTEGER,
	blocked_until INTEGER,
	PRIMARY KEY (cluster_id, vmid)
);

-- Where the search for a free id goes on. Its row is the lock that reservations of a cluster take turns at; it is no column of
-- clusters, because foreign keys and the poller lock that row, too.
CREATE TABLE vmid_cursors (
	cluster_id INTEGER NOT NULL PRIMARY KEY,
	next_vmid INTEGER NOT NULL
);

-- The ids of all guests that the hypervisor itself has, ours and foreign ones.
CREATE TABLE guests (
	cluster_id INTEGER NOT NULL,
	vmid INTEGER NOT NULL,
	PRIMARY KEY (cluster_id, vmid)
);

-- +goose Down
DROP TABLE guests;
DROP TABLE vmid_cursors;
DROP TABLE vmids;
DROP TABLE bridges;
DROP TABLE storages;
DROP TABLE nodes;
DROP TABLE clusters;

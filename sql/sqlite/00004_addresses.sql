-- +goose Up
-- Address pools and their addresses.

CREATE TABLE pools (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	name TEXT NOT NULL,
	cluster_id INTEGER NOT NULL,
	node_id INTEGER NOT NULL REFERENCES nodes (id) ON DELETE RESTRICT,
	gateway TEXT NOT NULL,
	prefix INTEGER NOT NULL,
	dns1 TEXT NOT NULL,
	dns2 TEXT NOT NULL,
	created_at INTEGER NOT NULL
);

CREATE TABLE addresses (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	pool_id INTEGER NOT NULL REFERENCES pools (id) ON DELETE RESTRICT,
	cluster_id INTEGER NOT NULL,
	node_id INTEGER NOT NULL,
	version INTEGER NOT NULL,
	ip TEXT NOT NULL,
	state INTEGER NOT NULL,
	vm_id INTEGER REFERENCES vms (id) ON DELETE RESTRICT
);
CREATE UNIQUE INDEX addresses_ip ON addresses (ip, cluster_id);
CREATE INDEX addresses_free ON addresses (node_id, version, state, id);
CREATE INDEX addresses_pool ON addresses (pool_id, state, id);
CREATE INDEX addresses_vm ON addresses (vm_id);

-- +goose Down
DROP TABLE addresses;
DROP TABLE pools;

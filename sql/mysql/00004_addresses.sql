-- +goose Up
-- Address pools and their addresses.

CREATE TABLE pools (
	id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	name VARCHAR(190) NOT NULL,
	cluster_id BIGINT NOT NULL,
	node_id BIGINT NOT NULL,
	CONSTRAINT pools_node_id FOREIGN KEY (node_id) REFERENCES nodes (id) ON DELETE RESTRICT,
	gateway VARCHAR(64) NOT NULL,
	prefix INT NOT NULL,
	dns1 VARCHAR(64) NOT NULL,
	dns2 VARCHAR(64) NOT NULL,
	created_at BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE addresses (
	id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	pool_id BIGINT NOT NULL,
	CONSTRAINT addresses_pool_id FOREIGN KEY (pool_id) REFERENCES pools (id) ON DELETE RESTRICT,
	cluster_id BIGINT NOT NULL,
	node_id BIGINT NOT NULL,
	version INT NOT NULL,
	ip VARCHAR(64) NOT NULL,
	state INT NOT NULL,
	vm_id BIGINT,
	CONSTRAINT addresses_vm_id FOREIGN KEY (vm_id) REFERENCES vms (id) ON DELETE RESTRICT,
	UNIQUE KEY addresses_ip (ip, cluster_id),
	KEY addresses_free (node_id, version, state, id),
	KEY addresses_pool (pool_id, state, id),
	KEY addresses_vm (vm_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- +goose Down
DROP TABLE addresses;
DROP TABLE pools;

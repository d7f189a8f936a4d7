-- +goose Up
-- Who may use Gantry, what was ordered under which key, and what was done.

CREATE TABLE admins (
	id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	uuid VARCHAR(64) NOT NULL,
	username VARCHAR(190) NOT NULL,
	password_hash VARCHAR(500) NOT NULL,
	name VARCHAR(190) NOT NULL,
	phone VARCHAR(64) NOT NULL,
	email VARCHAR(320) NOT NULL,
	login_at BIGINT,
	tokens_after BIGINT NOT NULL,
	disabled BOOLEAN NOT NULL,
	created_at BIGINT NOT NULL,
	UNIQUE KEY admins_uuid (uuid),
	UNIQUE KEY admins_username (username)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE api_keys (
	id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	app_id VARCHAR(64) NOT NULL,
	secret_hash VARCHAR(190) NOT NULL,
	hint VARCHAR(16) NOT NULL,
	info VARCHAR(500) NOT NULL,
	disabled BOOLEAN NOT NULL,
	created_at BIGINT NOT NULL,
	UNIQUE KEY api_keys_app_id (app_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE orders (
	id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	api_key_id BIGINT NOT NULL,
	idempotency_key VARCHAR(190) NOT NULL,
	request_hash VARCHAR(190) NOT NULL,
	vm_id BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	UNIQUE KEY orders_key (api_key_id, idempotency_key),
	KEY orders_vm (vm_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE audit (
	id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	at BIGINT NOT NULL,
	request_id VARCHAR(190) NOT NULL,
	actor VARCHAR(190) NOT NULL,
	address VARCHAR(64) NOT NULL,
	method VARCHAR(16) NOT NULL,
	path VARCHAR(2000) NOT NULL,
	body MEDIUMTEXT NOT NULL,
	status INT NOT NULL,
	code INT NOT NULL,
	duration BIGINT NOT NULL -- microseconds
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE console_nodes (
	id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	name VARCHAR(190) NOT NULL,
	url VARCHAR(500) NOT NULL,
	secret VARCHAR(190) NOT NULL, -- SHA-256
	disabled BOOLEAN NOT NULL,
	created_at BIGINT NOT NULL,
	UNIQUE KEY console_nodes_name (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE settings (
	name VARCHAR(190) NOT NULL PRIMARY KEY,
	value MEDIUMTEXT NOT NULL,
	secret BOOLEAN NOT NULL -- value is encrypted
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- +goose Down
DROP TABLE settings;
DROP TABLE console_nodes;
DROP TABLE audit;
DROP TABLE orders;
DROP TABLE api_keys;
DROP TABLE admins;

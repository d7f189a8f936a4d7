-- +goose Up
-- One-time links to consoles. Hashes only: a stolen dump opens no screen.

CREATE TABLE console_tokens (
	hash VARCHAR(64) NOT NULL PRIMARY KEY,
	session_id VARCHAR(64) NOT NULL,
	vm_id BIGINT NOT NULL,
	issued_to VARCHAR(190) NOT NULL,
	client_ip VARCHAR(64) NOT NULL,
	issued_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	session_key_hash VARCHAR(64) NOT NULL,
	used_at BIGINT,
	closes_at BIGINT,
	revoked_at BIGINT,
	UNIQUE KEY console_tokens_session_id (session_id),
	KEY console_tokens_vm (vm_id),
	KEY console_tokens_expires (expires_at),
	KEY console_tokens_closes (closes_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- +goose Down
DROP TABLE console_tokens;

-- +goose Up
-- One-time links to consoles. Hashes only: a stolen dump opens no screen.

CREATE TABLE console_tokens (
	hash TEXT NOT NULL PRIMARY KEY,
	session_id TEXT NOT NULL,
	vm_id INTEGER NOT NULL,
	issued_to TEXT NOT NULL,
	client_ip TEXT NOT NULL,
	issued_at INTEGER NOT NULL,
	expires_at INTEGER NOT NULL,
	session_key_hash TEXT NOT NULL,
	used_at INTEGER,
	closes_at INTEGER,
	revoked_at INTEGER
);
CREATE UNIQUE INDEX console_tokens_session_id ON console_tokens (session_id);
CREATE INDEX console_tokens_vm ON console_tokens (vm_id);
CREATE INDEX console_tokens_expires ON console_tokens (expires_at);
CREATE INDEX console_tokens_closes ON console_tokens (closes_at);

-- +goose Down
DROP TABLE console_tokens;

-- +goose Up
-- Who may use Gantry, what was ordered under which key, and what was done.

CREATE TABLE admins (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	uuid TEXT NOT NULL,
	username TEXT NOT NULL,
	password_hash TEXT NOT NULL,
	name TEXT NOT NULL,
	phone TEXT NOT NULL,
	email TEXT NOT NULL,
	login_at INTEGER,
	tokens_after INTEGER NOT NULL,
	disabled INTEGER NOT NULL,
	created_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX admins_uuid ON admins (uuid);
CREATE UNIQUE INDEX admins_username ON admins (username);

CREATE TABLE api_keys (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	app_id TEXT NOT NULL,
	secret_hash TEXT NOT NULL,
	hint TEXT NOT NULL,
	info TEXT NOT NULL,
	disabled INTEGER NOT NULL,
	created_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX api_keys_app_id ON api_keys (app_id);

CREATE TABLE orders (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	api_key_id INTEGER NOT NULL,
	idempotency_key TEXT NOT NULL,
	request_hash TEXT NOT NULL,
	vm_id INTEGER NOT NULL,
	created_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX orders_key ON orders (api_key_id, idempotency_key);
CREATE INDEX orders_vm ON orders (vm_id);

CREATE TABLE audit (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	at INTEGER NOT NULL,
	request_id TEXT NOT NULL,
	actor TEXT NOT NULL,
	address TEXT NOT NULL,
	method TEXT NOT NULL,
	path TEXT NOT NULL,
	body TEXT NOT NULL,
	status INTEGER NOT NULL,
	code INTEGER NOT NULL,
	duration INTEGER NOT NULL -- microseconds
);

CREATE TABLE console_nodes (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	name TEXT NOT NULL,
	url TEXT NOT NULL,
	secret TEXT NOT NULL, -- SHA-256
	disabled INTEGER NOT NULL,
	created_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX console_nodes_name ON console_nodes (name);

CREATE TABLE settings (
	name TEXT NOT NULL PRIMARY KEY,
	value TEXT NOT NULL,
	secret INTEGER NOT NULL -- value is encrypted
);

-- +goose Down
DROP TABLE settings;
DROP TABLE console_nodes;
DROP TABLE audit;
DROP TABLE orders;
DROP TABLE api_keys;
DROP TABLE admins;

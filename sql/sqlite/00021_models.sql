-- +goose Up
-- Plans and hardware models: what they consist of is JSON, as nothing looks into them.

CREATE TABLE plans (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	content TEXT NOT NULL, -- JSON
	created_at INTEGER NOT NULL
);

CREATE TABLE cpu_models (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	content TEXT NOT NULL, -- JSON
	created_at INTEGER NOT NULL
);

CREATE TABLE smbios_models (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	content TEXT NOT NULL, -- JSON
	created_at INTEGER NOT NULL
);

CREATE TABLE model_groups (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	content TEXT NOT NULL, -- JSON: ids of models, which are read anew at each use
	created_at INTEGER NOT NULL
);

-- +goose Down
DROP TABLE model_groups;
DROP TABLE smbios_models;
DROP TABLE cpu_models;
DROP TABLE plans;

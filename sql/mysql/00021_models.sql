-- +goose Up
-- Plans and hardware models: what they consist of is JSON, as nothing looks into them.

CREATE TABLE plans (
	id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	content MEDIUMTEXT NOT NULL, -- JSON
	created_at BIGINT NOT NULL
);

CREATE TABLE cpu_models (
	id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	content MEDIUMTEXT NOT NULL, -- JSON
	created_at BIGINT NOT NULL
);

CREATE TABLE smbios_models (
	id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	content MEDIUMTEXT NOT NULL, -- JSON
	created_at BIGINT NOT NULL
);

CREATE TABLE model_groups (
	id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	content MEDIUMTEXT NOT NULL, -- JSON: ids of models, which are read anew at each use
	created_at BIGINT NOT NULL
);

-- +goose Down
DROP TABLE model_groups;
DROP TABLE smbios_models;
DROP TABLE cpu_models;
DROP TABLE plans;

-- +goose Up
-- Where the broker itself reaches a console proxy, and how it was when it was looked at last.

ALTER TABLE console_nodes
	ADD COLUMN address VARCHAR(320) NOT NULL DEFAULT '', -- host:port, empty = as in url
	ADD COLUMN healthy BOOLEAN, -- NULL = never looked at
	ADD COLUMN checked_at BIGINT,
	ADD COLUMN last_error VARCHAR(500) NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE console_nodes DROP COLUMN last_error, DROP COLUMN checked_at, DROP COLUMN healthy, DROP COLUMN address;

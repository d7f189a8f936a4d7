-- +goose Up
-- Where the broker itself reaches a console proxy, and how it was when it was looked at last.

ALTER TABLE console_nodes ADD COLUMN address TEXT NOT NULL DEFAULT ''; -- host:port, empty = as in url
ALTER TABLE console_nodes ADD COLUMN healthy INTEGER; -- NULL = never looked at
ALTER TABLE console_nodes ADD COLUMN checked_at INTEGER;
ALTER TABLE console_nodes ADD COLUMN last_error TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE console_nodes DROP COLUMN last_error;
ALTER TABLE console_nodes DROP COLUMN checked_at;
ALTER TABLE console_nodes DROP COLUMN healthy;
ALTER TABLE console_nodes DROP COLUMN address;

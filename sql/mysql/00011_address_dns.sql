-- +goose Up
-- Name servers of single addresses; empty = those of the pool.

ALTER TABLE addresses
	ADD COLUMN dns1 VARCHAR(64) NOT NULL DEFAULT '',
	ADD COLUMN dns2 VARCHAR(64) NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE addresses DROP COLUMN dns2, DROP COLUMN dns1;

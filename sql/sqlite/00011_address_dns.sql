-- +goose Up
-- Name servers of single addresses; empty = those of the pool.

ALTER TABLE addresses ADD COLUMN dns1 TEXT NOT NULL DEFAULT '';
ALTER TABLE addresses ADD COLUMN dns2 TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE addresses DROP COLUMN dns2;
ALTER TABLE addresses DROP COLUMN dns1;

-- +goose Up
-- The recycle bin: deleted_at is -1 for a machine in it, so that the indexes of all lists pass over it.

ALTER TABLE vms ADD COLUMN recycled_at BIGINT; -- NULL = in service
ALTER TABLE vms ADD COLUMN destroy_at BIGINT;
ALTER TABLE vms ADD COLUMN recycled_status INT NOT NULL DEFAULT 0; -- what it was before
ALTER TABLE vms ADD COLUMN ran_until_expiry BOOLEAN NOT NULL DEFAULT 0;
CREATE INDEX vms_by_expiry ON vms (deleted_at, expires_at);
-- Tells by itself whether a name found is in service.
CREATE INDEX vms_search_name ON vms (live_name, deleted_at);
CREATE INDEX vms_by_end ON vms (deleted_at, destroy_at);

-- +goose Down
DROP INDEX vms_search_name ON vms;
DROP INDEX vms_by_end ON vms;
DROP INDEX vms_by_expiry ON vms;
ALTER TABLE vms DROP COLUMN ran_until_expiry;
ALTER TABLE vms DROP COLUMN recycled_status;
ALTER TABLE vms DROP COLUMN destroy_at;
ALTER TABLE vms DROP COLUMN recycled_at;

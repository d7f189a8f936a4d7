-- +goose Up
-- For the panel: second factors, and what happened lately.

ALTER TABLE admins ADD COLUMN totp_secret TEXT NOT NULL DEFAULT ''; -- encrypted; empty = none
ALTER TABLE admins ADD COLUMN totp_step BIGINT NOT NULL DEFAULT 0; -- of the code that was taken last: none is taken twice
CREATE INDEX tasks_finished ON tasks (finished_at, kind);

-- +goose Down
DROP INDEX tasks_finished;
ALTER TABLE admins DROP COLUMN totp_step;
ALTER TABLE admins DROP COLUMN totp_secret;

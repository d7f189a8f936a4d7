-- +goose Up
-- What the console of a machine asks its viewer for; encrypted, '' = nothing.

ALTER TABLE vms ADD COLUMN console_password VARCHAR(1024) NOT NULL DEFAULT '';
-- The SSH host key that was met when the daemon was installed on a node first; '' = none yet.
ALTER TABLE nodes ADD COLUMN ssh_host_key VARCHAR(1024) NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE nodes DROP COLUMN ssh_host_key;
ALTER TABLE vms DROP COLUMN console_password;

-- +goose Up
-- Guests of the hypervisors that are not Gantry's, as the poller saw them last.

CREATE TABLE unmanaged_guests (
	cluster_id INTEGER NOT NULL,
	vmid INTEGER NOT NULL,
	node TEXT NOT NULL,
	name TEXT NOT NULL,
	power TEXT NOT NULL,
	cpus INTEGER NOT NULL,
	memory_bytes INTEGER NOT NULL,
	disk_bytes INTEGER NOT NULL,
	template INTEGER NOT NULL,
	lock_word TEXT NOT NULL,
	seen_at INTEGER NOT NULL,
	PRIMARY KEY (cluster_id, vmid)
);

-- A machine that was let go: its guest lives on, and may be taken over again.
ALTER TABLE vms ADD COLUMN released INTEGER NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE vms DROP COLUMN released;
DROP TABLE unmanaged_guests;

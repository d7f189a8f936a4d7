-- +goose Up
-- Guests of the hypervisors that are not Gantry's, as the poller saw them last.

CREATE TABLE unmanaged_guests (
	cluster_id BIGINT NOT NULL,
	vmid BIGINT NOT NULL,
	node VARCHAR(190) NOT NULL,
	name VARCHAR(255) NOT NULL,
	power VARCHAR(32) NOT NULL,
	cpus INT NOT NULL,
	memory_bytes BIGINT NOT NULL,
	disk_bytes BIGINT NOT NULL,
	template BOOLEAN NOT NULL,
	lock_word VARCHAR(64) NOT NULL,
	seen_at BIGINT NOT NULL,
	PRIMARY KEY (cluster_id, vmid)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- A machine that was let go: its guest lives on, and may be taken over again.
ALTER TABLE vms ADD COLUMN released BOOLEAN NOT NULL DEFAULT FALSE;

-- +goose Down
ALTER TABLE vms DROP COLUMN released;
DROP TABLE unmanaged_guests;

-- +goose Up
-- What machines were promised, beside the JSON that says so, for placing orders: an index alone can sum it up.

ALTER TABLE vms
	ADD COLUMN cpus INT NOT NULL DEFAULT 0,
	ADD COLUMN memory_mb BIGINT NOT NULL DEFAULT 0,
	ADD COLUMN storage VARCHAR(100) NOT NULL DEFAULT '',
	ADD COLUMN disk_gb BIGINT NOT NULL DEFAULT 0, -- of the disks on storage
	ADD COLUMN disks_elsewhere BOOLEAN NOT NULL DEFAULT FALSE, -- has data disks on other storages: look into spec
	ADD COLUMN placement_group VARCHAR(64) NOT NULL DEFAULT '';
UPDATE vms SET
	cpus = COALESCE(JSON_UNQUOTE(JSON_EXTRACT(spec, '$.sockets')), 0) * COALESCE(JSON_UNQUOTE(JSON_EXTRACT(spec, '$.cores')), 0)
		* GREATEST(COALESCE(JSON_UNQUOTE(JSON_EXTRACT(spec, '$.threads')), 1), 1),
	memory_mb = COALESCE(JSON_UNQUOTE(JSON_EXTRACT(spec, '$.memoryMB')), 0),
	storage = COALESCE(JSON_UNQUOTE(JSON_EXTRACT(spec, '$.storage')), ''),
	disk_gb = COALESCE(JSON_UNQUOTE(JSON_EXTRACT(spec, '$.systemDiskGB')), 0),
	disks_elsewhere = COALESCE(JSON_TYPE(JSON_EXTRACT(spec, '$.dataDisks')) = 'ARRAY' AND JSON_LENGTH(spec, '$.dataDisks') > 0, FALSE);
CREATE INDEX vms_placement ON vms
	(deleted_at, disks_elsewhere, node_id, storage, tenant, placement_group, cpus, memory_mb, disk_gb);

-- Orders that could take each other's last place take turns at the row of that place: "node:1", "storage:1:ceph".
CREATE TABLE placement_locks (
	name VARCHAR(190) NOT NULL PRIMARY KEY
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- How nodes were used when they were looked at last. foreign_ is what guests that are not Gantry's have.
CREATE TABLE node_loads (
	node_id BIGINT NOT NULL PRIMARY KEY,
	at BIGINT NOT NULL,
	cpu DOUBLE NOT NULL, -- 0 … 1
	memory_bytes BIGINT NOT NULL,
	foreign_cpus INT NOT NULL,
	foreign_memory_bytes BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- +goose Down
DROP TABLE node_loads;
DROP TABLE placement_locks;
DROP INDEX vms_placement ON vms;
ALTER TABLE vms
	DROP COLUMN placement_group, DROP COLUMN disks_elsewhere, DROP COLUMN disk_gb, DROP COLUMN storage, DROP COLUMN memory_mb,
	DROP COLUMN cpus;

-- +goose Up
-- What machines were promised, beside the JSON that says so, for placing orders: an index alone can sum it up.

ALTER TABLE vms ADD COLUMN cpus INTEGER NOT NULL DEFAULT 0;
ALTER TABLE vms ADD COLUMN memory_mb INTEGER NOT NULL DEFAULT 0;
ALTER TABLE vms ADD COLUMN storage TEXT NOT NULL DEFAULT '';
ALTER TABLE vms ADD COLUMN disk_gb INTEGER NOT NULL DEFAULT 0; -- of the disks on storage
ALTER TABLE vms ADD COLUMN disks_elsewhere INTEGER NOT NULL DEFAULT 0; -- has data disks on other storages: look into spec
ALTER TABLE vms ADD COLUMN placement_group TEXT NOT NULL DEFAULT '';
UPDATE vms SET
	cpus = COALESCE(spec ->> '$.sockets', 0) * COALESCE(spec ->> '$.cores', 0) * MAX(COALESCE(spec ->> '$.threads', 1), 1),
	memory_mb = COALESCE(spec ->> '$.memoryMB', 0),
	storage = COALESCE(spec ->> '$.storage', ''),
	disk_gb = COALESCE(spec ->> '$.systemDiskGB', 0),
	disks_elsewhere = COALESCE(json_array_length(spec, '$.dataDisks'), 0) > 0;
CREATE INDEX vms_placement ON vms
	(deleted_at, disks_elsewhere, node_id, storage, tenant, placement_group, cpus, memory_mb, disk_gb);

-- Orders that could take each other's last place take turns at the row of that place: "node:1", "storage:1:ceph".
CREATE TABLE placement_locks (
	name TEXT NOT NULL PRIMARY KEY
);

-- How nodes were used when they were looked at last. foreign_ is what guests that are not Gantry's have.
CREATE TABLE node_loads (
	node_id INTEGER NOT NULL PRIMARY KEY,
	at INTEGER NOT NULL,
	cpu REAL NOT NULL, -- 0 … 1
	memory_bytes INTEGER NOT NULL,
	foreign_cpus INTEGER NOT NULL,
	foreign_memory_bytes INTEGER NOT NULL
);

-- +goose Down
DROP TABLE node_loads;
DROP TABLE placement_locks;
DROP INDEX vms_placement;
ALTER TABLE vms DROP COLUMN placement_group;
ALTER TABLE vms DROP COLUMN disks_elsewhere;
ALTER TABLE vms DROP COLUMN disk_gb;
ALTER TABLE vms DROP COLUMN storage;
ALTER TABLE vms DROP COLUMN memory_mb;
ALTER TABLE vms DROP COLUMN cpus;

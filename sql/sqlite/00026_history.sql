-- +goose Up
-- What guests and nodes used, for hypervisors that keep no history: a fixed number of slots for each resolution, each with all subjects
-- of a bucket (256 ids) in one value. A slot is written over when its turn comes again.

CREATE TABLE history (
	subject INTEGER NOT NULL, -- 0 guests, by vms.id; 1 nodes
	bucket INTEGER NOT NULL,
	resolution INTEGER NOT NULL, -- seconds
	slot INTEGER NOT NULL,
	at INTEGER NOT NULL,
	samples BLOB NOT NULL,
	PRIMARY KEY (subject, bucket, resolution, slot)
);

-- Counters of guests when they were counted last: they begin at 0 whenever a guest is started.
CREATE TABLE traffic_counters (
	vm_id INTEGER NOT NULL PRIMARY KEY,
	at INTEGER NOT NULL,
	net_in INTEGER NOT NULL,
	net_out INTEGER NOT NULL
);

-- Bytes of a month (UTC): 202611 is November 2026.
CREATE TABLE vm_traffic (
	period INTEGER NOT NULL,
	vm_id INTEGER NOT NULL,
	bytes_in INTEGER NOT NULL,
	bytes_out INTEGER NOT NULL,
	PRIMARY KEY (period, vm_id)
);
CREATE INDEX vm_traffic_vm ON vm_traffic (vm_id, period);

ALTER TABLE vms ADD COLUMN traffic_limit INTEGER NOT NULL DEFAULT -1; -- bytes a month; -1 = none
UPDATE vms SET traffic_limit = COALESCE(spec ->> '$.trafficBytes', -1);

-- +goose Down
ALTER TABLE vms DROP COLUMN traffic_limit;
DROP TABLE vm_traffic;
DROP TABLE traffic_counters;
DROP TABLE history;

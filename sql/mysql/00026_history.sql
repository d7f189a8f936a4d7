-- +goose Up
-- What guests and nodes used, for hypervisors that keep no history: a fixed number of slots for each resolution, each with all subjects
-- of a bucket (256 ids) in one value. A slot is written over when its turn comes again.

CREATE TABLE history (
	subject INT NOT NULL, -- 0 guests, by vms.id; 1 nodes
	bucket BIGINT NOT NULL,
	resolution INT NOT NULL, -- seconds
	slot INT NOT NULL,
	at BIGINT NOT NULL,
	samples MEDIUMBLOB NOT NULL,
	PRIMARY KEY (subject, bucket, resolution, slot)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Counters of guests when they were counted last: they begin at 0 whenever a guest is started.
CREATE TABLE traffic_counters (
	vm_id BIGINT NOT NULL PRIMARY KEY,
	at BIGINT NOT NULL,
	net_in BIGINT NOT NULL,
	net_out BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Bytes of a month (UTC): 202611 is November 2026.
CREATE TABLE vm_traffic (
	period INT NOT NULL,
	vm_id BIGINT NOT NULL,
	bytes_in BIGINT NOT NULL,
	bytes_out BIGINT NOT NULL,
	PRIMARY KEY (period, vm_id),
	KEY vm_traffic_vm (vm_id, period)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

ALTER TABLE vms ADD COLUMN traffic_limit BIGINT NOT NULL DEFAULT -1; -- bytes a month; -1 = none
UPDATE vms SET traffic_limit = COALESCE(JSON_UNQUOTE(JSON_EXTRACT(spec, '$.trafficBytes')), -1);

-- +goose Down
ALTER TABLE vms DROP COLUMN traffic_limit;
DROP TABLE vm_traffic;
DROP TABLE traffic_counters;
DROP TABLE history;

-- +goose Up
-- The image registry and which node has what.

CREATE TABLE images (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	name TEXT NOT NULL,
	file_name TEXT NOT NULL,
	family TEXT NOT NULL,
	distribution TEXT NOT NULL,
	arch TEXT NOT NULL,
	source INTEGER NOT NULL,
	url TEXT NOT NULL,
	checksum TEXT NOT NULL,
	directory TEXT NOT NULL,
	cloud_init INTEGER NOT NULL,
	guest_agent INTEGER NOT NULL,
	size_bytes INTEGER NOT NULL,
	disabled INTEGER NOT NULL,
	reason TEXT NOT NULL,
	created_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX images_name ON images (name);
CREATE UNIQUE INDEX images_file_name ON images (file_name);

CREATE TABLE image_copies (
	image_id INTEGER NOT NULL REFERENCES images (id) ON DELETE CASCADE,
	node_id INTEGER NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
	state INTEGER NOT NULL,
	progress INTEGER NOT NULL,
	volume TEXT NOT NULL,
	by_daemon INTEGER NOT NULL,
	size_bytes INTEGER NOT NULL,
	error TEXT NOT NULL,
	task_id INTEGER,
	updated_at INTEGER NOT NULL,
	PRIMARY KEY (image_id, node_id)
);

-- +goose Down
DROP TABLE image_copies;
DROP TABLE images;

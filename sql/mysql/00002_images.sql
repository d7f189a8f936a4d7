-- +goose Up
-- The image registry and which node has what.

CREATE TABLE images (
	id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	name VARCHAR(190) NOT NULL,
	file_name VARCHAR(190) NOT NULL,
	family VARCHAR(32) NOT NULL,
	distribution VARCHAR(64) NOT NULL,
	arch VARCHAR(32) NOT NULL,
	source INT NOT NULL,
	url VARCHAR(2000) NOT NULL,
	checksum VARCHAR(200) NOT NULL,
	directory VARCHAR(500) NOT NULL,
	cloud_init BOOLEAN NOT NULL,
	guest_agent BOOLEAN NOT NULL,
	size_bytes BIGINT NOT NULL,
	disabled BOOLEAN NOT NULL,
	reason VARCHAR(500) NOT NULL,
	created_at BIGINT NOT NULL,
	UNIQUE KEY images_name (name),
	UNIQUE KEY images_file_name (file_name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE image_copies (
	image_id BIGINT NOT NULL,
	CONSTRAINT image_copies_image_id FOREIGN KEY (image_id) REFERENCES images (id) ON DELETE CASCADE,
	node_id BIGINT NOT NULL,
	CONSTRAINT image_copies_node_id FOREIGN KEY (node_id) REFERENCES nodes (id) ON DELETE CASCADE,
	state INT NOT NULL,
	progress INT NOT NULL,
	volume VARCHAR(500) NOT NULL,
	by_daemon BOOLEAN NOT NULL,
	size_bytes BIGINT NOT NULL,
	error TEXT NOT NULL,
	task_id BIGINT,
	updated_at BIGINT NOT NULL,
	PRIMARY KEY (image_id, node_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- +goose Down
DROP TABLE image_copies;
DROP TABLE images;

-- +goose Up
-- Regions: a tree. parent_id 0 = at the top; names are unique among the children of one parent.

CREATE TABLE areas (
	id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	name VARCHAR(190) NOT NULL,
	parent_id BIGINT NOT NULL,
	UNIQUE KEY areas_name (parent_id, name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE INDEX nodes_by_area ON nodes (area_id, id);

-- +goose Down
DROP INDEX nodes_by_area ON nodes;
DROP TABLE areas;

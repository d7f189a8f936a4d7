-- +goose Up
-- Regions: a tree. parent_id 0 = at the top; names are unique among the children of one parent.

CREATE TABLE areas (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	name TEXT NOT NULL,
	parent_id INTEGER NOT NULL
);
CREATE UNIQUE INDEX areas_name ON areas (parent_id, name);
CREATE INDEX nodes_by_area ON nodes (area_id, id);

-- +goose Down
DROP INDEX nodes_by_area;
DROP TABLE areas;

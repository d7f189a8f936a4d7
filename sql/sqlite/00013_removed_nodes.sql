-- +goose Up
-- Nodes that the operator removed while others of their cluster stayed: discovery passes over them.

CREATE TABLE removed_nodes (
	cluster_id INTEGER NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
	name TEXT NOT NULL,
	PRIMARY KEY (cluster_id, name)
);

-- +goose Down
DROP TABLE removed_nodes;

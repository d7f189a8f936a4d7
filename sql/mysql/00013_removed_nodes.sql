-- +goose Up
-- Nodes that the operator removed while others of their cluster stayed: discovery passes over them.

CREATE TABLE removed_nodes (
	cluster_id BIGINT NOT NULL,
	CONSTRAINT removed_nodes_cluster_id FOREIGN KEY (cluster_id) REFERENCES clusters (id) ON DELETE CASCADE,
	name VARCHAR(190) NOT NULL,
	PRIMARY KEY (cluster_id, name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- +goose Down
DROP TABLE removed_nodes;

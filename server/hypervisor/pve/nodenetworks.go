package pve

import "context"

// NodeNetworks lists a node's interfaces, pending changes not counted (GET /nodes/{node}/network).
func (d *driver) NodeNetworks(ctx context.Context, node string) ([]map[string]any, error) {
	path, err := nodePath(node, "/network")
	if err != nil {
		return nil, err
	}
	interfaces := []map[string]any{}
	err = d.client.get(ctx, path, nil, &interfaces)
	return interfaces, err
}

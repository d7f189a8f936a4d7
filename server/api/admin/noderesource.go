package admin

import (
	"context"

	"gantry/server/api/route"
	"gantry/server/broker"
)

func (c *Calls) nodeResourceRoutes() []route.Route {
	return []route.Route{
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getNodeResources", Auth: route.Admin, Name: "getNodeResources", Group: "node",
			Summary: "Lists storages and bridges of a node as they were seen last.",
		}, c.nodeResources),
	}
}

// NodeResources is what machines on a node can use.
type NodeResources struct {
	Storages []StorageRecord `json:"storages"`
	Bridges  []BridgeRecord  `json:"bridges"`
}

// StorageRecord is a storage of a node.
type StorageRecord struct {
	Name      string   `json:"name"`
	Type      string   `json:"type"`
	Content   []string `json:"content"`
	Shared    bool     `json:"shared"`
	Active    bool     `json:"active"`
	Total     int64    `json:"total" doc:"bytes"`
	Available int64    `json:"available" doc:"bytes"`
}

// BridgeRecord is a network of a node.
type BridgeRecord struct {
	Name   string `json:"name"`
	Active bool   `json:"active"`
	CIDR   string `json:"cidr"`
}

func (c *Calls) nodeResources(ctx context.Context, _ *route.Call, request NodeRef) (NodeResources, error) {
	node, err := c.findNode(ctx, request.NodeID)
	if err != nil {
		return NodeResources{}, err
	}
	storages, err := c.Store.ListStorages(ctx, node.ID)
	if err != nil {
		return NodeResources{}, broker.Wrap(err, "list storages")
	}
	bridges, err := c.Store.ListBridges(ctx, node.ID)
	if err != nil {
		return NodeResources{}, broker.Wrap(err, "list bridges")
	}
	reply := NodeResources{Storages: make([]StorageRecord, len(storages)), Bridges: make([]BridgeRecord, len(bridges))}
	for i, storage := range storages {
		reply.Storages[i] = StorageRecord{
			Name: storage.Name, Type: storage.Type, Content: storage.Content, Shared: storage.Shared,
			Active: storage.Active && storage.Enabled, Total: storage.Total, Available: storage.Available,
		}
	}
	for i, bridge := range bridges {
		reply.Bridges[i] = BridgeRecord{Name: bridge.Name, Active: bridge.Active, CIDR: bridge.CIDR}
	}
	return reply, nil
}

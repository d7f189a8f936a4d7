package billing

import (
	"context"
	"net/http"

	"gantry/server/api/ams"
	"gantry/server/api/route"
	"gantry/server/broker"
)

// resourceRoutes tell billing systems what an order can name. They are Gantry's own: the original's operators type ids by hand.
func (c *Calls) resourceRoutes() []route.Route {
	get := []string{http.MethodGet}
	return []route.Route{
		route.Of(route.Route{
			Methods: get, Path: "/api/v1/{nodeType}/getNodeList", Auth: route.APIKey, Name: "getNodeListBilling", Group: "billing",
			Summary: "Lists the nodes that orders can name. Gantry's own.",
		}, c.listNodes),
		route.Of(route.Route{
			Methods: get, Path: "/api/v1/{nodeType}/getOsList", Auth: route.APIKey, Name: "getOsListBilling", Group: "billing",
			Summary: "Lists the images that are ready on a node. Gantry's own.",
		}, c.listImages),
		route.Of(route.Route{
			Methods: get, Path: "/api/v1/{nodeType}/getAreaList", Auth: route.APIKey, Name: "getAreaListBilling", Group: "billing",
			Summary: "Lists regions. Gantry's own.",
		}, c.listAreas),
		route.Of(route.Route{
			Methods: get, Path: "/api/v1/{nodeType}/getFreeIpCount", Auth: route.APIKey, Name: "getFreeIpCountBilling", Group: "billing",
			Summary: "Counts the addresses that orders on a node could get. Gantry's own.",
		}, c.countAddresses),
	}
}

// Node is what billing systems may know of a node.
type Node struct {
	ID       int64   `json:"id"`
	Name     *string `json:"name" doc:"for people"`
	NodeName string  `json:"nodeName"`
	NodeType string  `json:"nodeType"`
	Area     *int64  `json:"area"`
	AreaName *string `json:"areaName"`
	Status   int     `json:"status" doc:"0 online, 1 offline, 2 disabled"`
}

func (c *Calls) listNodes(ctx context.Context, call *route.Call, request ams.Paging) (ams.List[Node], error) {
	page := request.Wanted()
	list := func() ([]broker.Node, int64, error) { return c.Store.ListKindNodes(ctx, call.Kind, page) }
	if call.Kind == "" {
		list = func() ([]broker.Node, int64, error) { return c.Store.ListNodes(ctx, page) }
	}
	nodes, total, err := list()
	if err != nil {
		return ams.List[Node]{}, broker.Wrap(err, "list nodes")
	}
	reader := ams.NewReader(c.Store)
	records := make([]Node, len(nodes))
	for i, node := range nodes {
		kind, err := reader.Kind(ctx, node.ClusterID)
		if err != nil {
			return ams.List[Node]{}, err
		}
		records[i] = Node{
			ID: node.ID, Name: ams.Optional(node.Label), NodeName: node.Name, NodeType: kind, Area: node.AreaID, Status: int(node.Status),
		}
		if records[i].AreaName, err = reader.AreaName(ctx, node.AreaID); err != nil {
			return ams.List[Node]{}, err
		}
	}
	return ams.ListOf(records, total, page, func(record *Node) Node { return *record }), nil
}

// node reads a node of the driver in the path.
func (c *Calls) node(ctx context.Context, call *route.Call, id int64) (*broker.Node, error) {
	node, err := c.Store.FindNode(ctx, id)
	if err == nil {
		var cluster *broker.Cluster
		if cluster, err = c.Store.FindCluster(ctx, node.ClusterID); err == nil && (call.Kind == "" || cluster.Kind == call.Kind) {
			return node, nil
		}
	}
	if err != nil && !broker.Is(err, broker.NotFound) {
		return nil, broker.Wrap(err, "find the node")
	}
	failure := broker.Because(broker.NotFound, broker.ReasonNodeNotFound, id)
	failure.Field = "nodeId"
	return nil, failure
}

// NodeImagesRequest asks for the images of a node.
type NodeImagesRequest struct {
	NodeID int64 `json:"nodeId" in:"query" rule:"required,min=1"`
	ams.Paging
}

// Image is what billing systems may know of an image; os of an order takes id, name or file name.
type Image struct {
	ID       int64  `json:"id"`
	Name     string `json:"name"`
	FileName string `json:"fileName"`
	Type     string `json:"type" doc:"linux or windows"`
	Arch     string `json:"arch"`
	OSType   string `json:"osType"`
	Cloud    bool   `json:"cloud" doc:"has cloud-init"`
}

func (c *Calls) listImages(ctx context.Context, call *route.Call, request NodeImagesRequest) (ams.List[Image], error) {
	node, err := c.node(ctx, call, request.NodeID)
	if err != nil {
		return ams.List[Image]{}, err
	}
	page := request.Wanted()
	images, total, err := c.Store.ListNodeImages(ctx, node.ID, page)
	if err != nil {
		return ams.List[Image]{}, broker.Wrap(err, "list the images of a node")
	}
	return ams.ListOf(images, total, page, func(image *broker.Image) Image {
		return Image{
			ID: image.ID, Name: image.Name, FileName: image.FileName, Type: image.Family, Arch: image.Arch, OSType: image.Distribution,
			Cloud: image.CloudInit,
		}
	}), nil
}

func (c *Calls) listAreas(ctx context.Context, _ *route.Call, request ams.Paging) (ams.List[ams.Area], error) {
	return ams.NewReader(c.Store).Areas(ctx, nil, request.Wanted())
}

// FreeAddressesRequest asks what a node has left.
type FreeAddressesRequest struct {
	NodeID int64 `json:"nodeId" in:"query" rule:"required,min=1"`
	PoolID int64 `json:"poolId" in:"query" rule:"min=1" doc:"of this pool only"`
}

// FreeAddresses counts addresses.
type FreeAddresses struct {
	NodeID int64 `json:"nodeId"`
	IPv4   int64 `json:"ipv4"`
	IPv6   int64 `json:"ipv6"`
}

func (c *Calls) countAddresses(ctx context.Context, call *route.Call, request FreeAddressesRequest) (FreeAddresses, error) {
	node, err := c.node(ctx, call, request.NodeID)
	if err != nil {
		return FreeAddresses{}, err
	}
	counts := FreeAddresses{NodeID: node.ID}
	for version, count := range map[int]*int64{4: &counts.IPv4, 6: &counts.IPv6} {
		if _, *count, err = c.Store.FreeAddresses(ctx, node.ID, request.PoolID, version, broker.Page{Number: 1, Size: 1}); err != nil {
			return FreeAddresses{}, broker.Wrap(err, "count free addresses")
		}
	}
	return counts, nil
}

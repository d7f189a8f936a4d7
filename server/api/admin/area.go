package admin

import (
	"context"

	"gantry/server/api/ams"
	"gantry/server/api/route"
	"gantry/server/broker"
)

func (c *Calls) areaRoutes() []route.Route {
	return []route.Route{
		route.Of(route.Route{
			Methods: post, Path: "/{adminPath}/addArea", Auth: route.Admin, Name: "addArea", Group: "area", Audit: true,
			Summary: "Adds a region.",
		}, c.addArea),
		route.Of(route.Route{
			Methods: []string{"DELETE"}, Path: "/{adminPath}/deleteArea/{id}", Auth: route.Admin, Name: "deleteArea", Group: "area", Audit: true,
			Summary: "Forgets a region; refused while it has regions or nodes.",
		}, c.deleteArea),
		route.Of(route.Route{
			Methods: putPost, Path: "/{adminPath}/updateArea", Auth: route.Admin, Name: "updateArea", Group: "area", Audit: true,
			Summary: "Renames a region or hangs it, with all below it, under another one.",
		}, c.updateArea),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getAreaList", Auth: route.Admin, Name: "getAreaList", Group: "area",
			Summary: "Lists all regions.",
		}, c.listAreas),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getArea", Auth: route.Admin, Name: "getArea", Group: "area",
			Summary: "Tells about a region.",
		}, c.area),
		route.Of(route.Route{
			Methods: putPost, Path: "/{adminPath}/addNodeToArea", Auth: route.Admin, Name: "addNodeToArea", Group: "area", Audit: true,
			Summary: "Puts a node into a region.",
		}, c.placeNode),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getNodeListByArea", Auth: route.Admin, Name: "getNodeListByArea", Group: "area",
			Summary: "Lists the nodes of a region; secrets are masked.",
		}, c.listAreaNodes),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getAreaListByParent", Auth: route.Admin, Name: "getAreaListByParent", Group: "area",
			Summary: "Lists the regions directly below a region.",
		}, c.listChildAreas),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getAreaListByParentIsNull", Auth: route.Admin, Name: "getAreaListByParentIsNull", Group: "area",
			Summary: "Lists the regions at the top.",
		}, c.listTopAreas),
	}
}

// Answers of calls whose documentation shows none, or one in these words.
const (
	changed = "修改成功"
	deleted = "删除成功"
	placed  = "添加成功"
)

// AreaRequest describes a region.
type AreaRequest struct {
	Name   string `json:"name" rule:"required,max=60" doc:"unique among the regions of its parent"`
	Parent *int64 `json:"parent" rule:"min=0" doc:"region above; 0 or absent = none"`
	Realm  *int   `json:"realm" rule:"min=0,max=7" doc:"level; follows from parent, so it is not needed. Above 0 it demands a parent"`
}

func (r *AreaRequest) area(id int64) (*broker.Area, error) {
	area := &broker.Area{ID: id, Name: r.Name}
	if r.Parent != nil && *r.Parent != 0 {
		area.ParentID = r.Parent
	}
	if r.Realm != nil && *r.Realm > 0 && area.ParentID == nil {
		return nil, route.Unacceptable("parent", "is required where realm is above 0", "realm 大于 0 时不能为空")
	}
	return area, nil
}

func (c *Calls) addArea(ctx context.Context, _ *route.Call, request AreaRequest) (string, error) {
	area, err := request.area(0)
	if err != nil {
		return "", err
	}
	return placed, c.Broker.AddArea(ctx, area)
}

// AreaChange changes a region.
type AreaChange struct {
	ID int64 `json:"id" rule:"required,min=1" doc:"region"`
	AreaRequest
}

func (c *Calls) updateArea(ctx context.Context, _ *route.Call, request AreaChange) (string, error) {
	area, err := request.area(request.ID)
	if err != nil {
		return "", err
	}
	return changed, c.Broker.UpdateArea(ctx, area)
}

// AreaPath names a region in a path.
type AreaPath struct {
	ID int64 `json:"id" in:"path" rule:"required,min=1" doc:"region"`
}

func (c *Calls) deleteArea(ctx context.Context, _ *route.Call, request AreaPath) (string, error) {
	return deleted, c.Broker.DeleteArea(ctx, request.ID)
}

func (c *Calls) listAreas(ctx context.Context, _ *route.Call, request ams.Paging) (ams.List[ams.Area], error) {
	return ams.NewReader(c.Store).Areas(ctx, nil, request.Wanted())
}

// AreaRef names a region in a query.
type AreaRef struct {
	ID int64 `json:"id" in:"query" rule:"required,min=1" doc:"region"`
}

func (c *Calls) area(ctx context.Context, _ *route.Call, request AreaRef) (ams.Area, error) {
	area, err := c.findArea(ctx, "id", request.ID)
	if err != nil {
		return ams.Area{}, err
	}
	return ams.NewReader(c.Store).Area(ctx, *area)
}

func (c *Calls) findArea(ctx context.Context, field string, id int64) (*broker.Area, error) {
	area, err := c.Store.FindArea(ctx, id)
	if broker.Is(err, broker.NotFound) {
		failure := broker.Because(broker.NotFound, broker.ReasonAreaNotFound, id)
		failure.Field = field
		return nil, failure
	}
	return area, broker.Wrap(err, "find area")
}

// PlaceRequest puts a node into a region.
type PlaceRequest struct {
	NodeID int64  `json:"id" rule:"required,min=1" doc:"node"`
	Area   *int64 `json:"area" rule:"required,min=0" doc:"region; 0 takes the node out of its region"`
}

func (c *Calls) placeNode(ctx context.Context, _ *route.Call, request PlaceRequest) (string, error) {
	if *request.Area == 0 {
		request.Area = nil
	}
	return placed, c.Broker.PlaceNode(ctx, request.NodeID, request.Area)
}

// AreaNodesRequest asks for the nodes of a region.
type AreaNodesRequest struct {
	Area int64 `json:"area" in:"query" rule:"required,min=1" doc:"region"`
	ams.Paging
}

func (c *Calls) listAreaNodes(ctx context.Context, _ *route.Call, request AreaNodesRequest) (ams.List[Node], error) {
	if _, err := c.findArea(ctx, "area", request.Area); err != nil {
		return ams.List[Node]{}, err
	}
	page := request.Wanted()
	nodes, total, err := c.Store.ListAreaNodes(ctx, request.Area, page)
	if err != nil {
		return ams.List[Node]{}, broker.Wrap(err, "list the nodes of an area")
	}
	return c.nodeRecords(ctx, nodes, total, page)
}

// ChildAreasRequest asks for the regions below one.
type ChildAreasRequest struct {
	Parent int64 `json:"parent" in:"query" rule:"min=0" doc:"region; 0 or absent = those at the top"`
	ams.Paging
}

func (c *Calls) listChildAreas(ctx context.Context, _ *route.Call, request ChildAreasRequest) (ams.List[ams.Area], error) {
	if request.Parent != 0 {
		if _, err := c.findArea(ctx, "parent", request.Parent); err != nil {
			return ams.List[ams.Area]{}, err
		}
	}
	return ams.NewReader(c.Store).Areas(ctx, &request.Parent, request.Wanted())
}

func (c *Calls) listTopAreas(ctx context.Context, _ *route.Call, request ams.Paging) (ams.List[ams.Area], error) {
	top := int64(0)
	return ams.NewReader(c.Store).Areas(ctx, &top, request.Wanted())
}

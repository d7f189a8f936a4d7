package admin

import (
	"context"

	"gantry/server/api/ams"
	"gantry/server/api/route"
	"gantry/server/broker"
)

func (c *Calls) modelGroupRoutes() []route.Route {
	return []route.Route{
		route.Of(route.Route{
			Methods: post, Path: "/{adminPath}/addModelGroup", Auth: route.Admin, Name: "addModelGroup", Group: "model", Audit: true,
			Summary: "Adds a model group.",
		}, c.addModelGroup),
		route.Of(route.Route{
			Methods: eraseAny, Path: "/{adminPath}/deleteModelGroup", Auth: route.Admin, Name: "deleteModelGroup", Group: "model", Audit: true,
			Summary: "Deletes a model group.",
		}, c.deleteModelGroup),
		route.Of(route.Route{
			Methods: putPost, Path: "/{adminPath}/updateModelGroup", Auth: route.Admin, Name: "updateModelGroup", Group: "model", Audit: true,
			Summary: "Replaces a model group; machines ordered from now on get the new one.",
		}, c.changeModelGroup),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getModelGroup", Auth: route.Admin, Name: "getModelGroup", Group: "model",
			Summary: "Shows a model group.",
		}, c.showModelGroup),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getModelGroupPage", Auth: route.Admin, Name: "getModelGroupPage", Group: "model",
			Summary: "Lists model groups.",
		}, c.listModelGroups),
	}
}

func (c *Calls) addModelGroup(ctx context.Context, _ *route.Call, request ams.GroupRequest) (ams.Done, error) {
	request.ID = 0
	return ams.Added, c.Models.SaveModelGroup(ctx, &broker.ModelGroup{ID: request.ID, CPUModel: request.CPUModel, SMBIOS: request.SMBIOS, Info: request.Info})
}

func (c *Calls) changeModelGroup(ctx context.Context, _ *route.Call, request ams.GroupRequest) (ams.Done, error) {
	if request.ID == 0 {
		return "", broker.InvalidField("id", "is required")
	}
	return ams.Changed, c.Models.SaveModelGroup(ctx, &broker.ModelGroup{ID: request.ID, CPUModel: request.CPUModel, SMBIOS: request.SMBIOS, Info: request.Info})
}

func (c *Calls) deleteModelGroup(ctx context.Context, _ *route.Call, request ModelID) (ams.Done, error) {
	return ams.Deleted, c.Models.DeleteModelGroup(ctx, request.ID)
}

func (c *Calls) showModelGroup(ctx context.Context, _ *route.Call, request GroupQuery) (ams.Group, error) {
	model, err := c.Store.FindModelGroup(ctx, request.ID)
	if err != nil {
		return ams.Group{}, modelMissing(err, "modelGroupId")
	}
	return ams.GroupRecord(model), nil
}

func (c *Calls) listModelGroups(ctx context.Context, _ *route.Call, request ams.Paging) (ams.List[ams.Group], error) {
	page := request.Wanted()
	models, total, err := c.Store.ListModelGroups(ctx, page)
	if err != nil {
		return ams.List[ams.Group]{}, broker.Wrap(err, "list models")
	}
	return ams.ListOf(models, total, page, ams.GroupRecord), nil
}

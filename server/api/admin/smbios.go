package admin

import (
	"context"

	"gantry/server/api/ams"
	"gantry/server/api/route"
	"gantry/server/broker"
)

func (c *Calls) smbiosRoutes() []route.Route {
	return []route.Route{
		route.Of(route.Route{
			Methods: post, Path: "/{adminPath}/addSmbiosInfo", Auth: route.Admin, Name: "addSmbiosInfo", Group: "model", Audit: true,
			Summary: "Adds an SMBIOS table.",
		}, c.addSMBIOSModel),
		route.Of(route.Route{
			Methods: eraseAny, Path: "/{adminPath}/deleteSmbiosInfo", Auth: route.Admin, Name: "deleteSmbiosInfo", Group: "model", Audit: true,
			Summary: "Deletes an SMBIOS table.",
		}, c.deleteSMBIOSModel),
		route.Of(route.Route{
			Methods: putPost, Path: "/{adminPath}/updateSmbiosInfo", Auth: route.Admin, Name: "updateSmbiosInfo", Group: "model", Audit: true,
			Summary: "Replaces an SMBIOS table; machines ordered from now on get the new one.",
		}, c.changeSMBIOSModel),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getSmbiosInfo", Auth: route.Admin, Name: "getSmbiosInfo", Group: "model",
			Summary: "Shows an SMBIOS table.",
		}, c.showSMBIOSModel),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getSmbiosInfoList", Auth: route.Admin, Name: "getSmbiosInfoList", Group: "model",
			Summary: "Lists SMBIOS tables.",
		}, c.listSMBIOSModels),
	}
}

func (c *Calls) addSMBIOSModel(ctx context.Context, _ *route.Call, request ams.SMBIOSRequest) (ams.Done, error) {
	request.ID = 0
	return ams.Added, c.Models.SaveSMBIOSModel(ctx, &broker.SMBIOSModel{ID: request.ID, Type: *request.Type, Fields: request.Fields, Info: request.Info})
}

func (c *Calls) changeSMBIOSModel(ctx context.Context, _ *route.Call, request ams.SMBIOSRequest) (ams.Done, error) {
	if request.ID == 0 {
		return "", broker.InvalidField("id", "is required")
	}
	return ams.Changed, c.Models.SaveSMBIOSModel(ctx, &broker.SMBIOSModel{ID: request.ID, Type: *request.Type, Fields: request.Fields, Info: request.Info})
}

func (c *Calls) deleteSMBIOSModel(ctx context.Context, _ *route.Call, request ModelID) (ams.Done, error) {
	return ams.Deleted, c.Models.DeleteSMBIOSModel(ctx, request.ID)
}

func (c *Calls) showSMBIOSModel(ctx context.Context, _ *route.Call, request ModelQuery) (ams.SMBIOS, error) {
	model, err := c.Store.FindSMBIOSModel(ctx, request.ID)
	if err != nil {
		return ams.SMBIOS{}, modelMissing(err, "id")
	}
	return ams.SMBIOSRecord(model), nil
}

func (c *Calls) listSMBIOSModels(ctx context.Context, _ *route.Call, request ams.Paging) (ams.List[ams.SMBIOS], error) {
	page := request.Wanted()
	models, total, err := c.Store.ListSMBIOSModels(ctx, page)
	if err != nil {
		return ams.List[ams.SMBIOS]{}, broker.Wrap(err, "list models")
	}
	return ams.ListOf(models, total, page, ams.SMBIOSRecord), nil
}

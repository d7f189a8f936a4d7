package admin

import (
	"context"
	"errors"

	"gantry/server/api/ams"
	"gantry/server/api/route"
	"gantry/server/broker"
)

// ModelID names a model to delete.
type ModelID struct {
	ID int64 `json:"id" rule:"required,min=1" doc:"the model"`
}

// ModelQuery names a model to show.
type ModelQuery struct {
	ID int64 `json:"id" in:"query" rule:"required,min=1" doc:"the model"`
}

// GroupQuery names a model group to show.
type GroupQuery struct {
	ID int64 `json:"modelGroupId" alias:"id" in:"query" rule:"required,min=1" doc:"the group"`
}

// modelMissing names the field of an id that is not known.
func modelMissing(err error, field string) error {
	var known *broker.Error
	if !errors.As(err, &known) || known.Kind != broker.NotFound {
		return err
	}
	named := *known
	named.Field = field
	return &named
}

func (c *Calls) cpuModelRoutes() []route.Route {
	return []route.Route{
		route.Of(route.Route{
			Methods: post, Path: "/{adminPath}/addCpuInfo", Auth: route.Admin, Name: "addCpuInfo", Group: "model", Audit: true,
			Summary: "Adds a CPU model.",
		}, c.addCPUModel),
		route.Of(route.Route{
			Methods: eraseAny, Path: "/{adminPath}/deleteCpuInfo", Auth: route.Admin, Name: "deleteCpuInfo", Group: "model", Audit: true,
			Summary: "Deletes a CPU model.",
		}, c.deleteCPUModel),
		route.Of(route.Route{
			Methods: putPost, Path: "/{adminPath}/updateCpuInfo", Auth: route.Admin, Name: "updateCpuInfo", Group: "model", Audit: true,
			Summary: "Replaces a CPU model; machines ordered from now on get the new one.",
		}, c.changeCPUModel),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/selectCpuInfo", Auth: route.Admin, Name: "selectCpuInfo", Group: "model",
			Summary: "Shows a CPU model.",
		}, c.showCPUModel),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/selectCpuInfoPage", Auth: route.Admin, Name: "selectCpuInfoPage", Group: "model",
			Summary: "Lists CPU models.",
		}, c.listCPUModels),
	}
}

func (c *Calls) addCPUModel(ctx context.Context, _ *route.Call, request ams.CPUModelRequest) (ams.Done, error) {
	request.ID = 0
	return ams.Added, c.Models.SaveCPUModel(ctx, request.CPUModelOf())
}

func (c *Calls) changeCPUModel(ctx context.Context, _ *route.Call, request ams.CPUModelRequest) (ams.Done, error) {
	if request.ID == 0 {
		return "", broker.InvalidField("id", "is required")
	}
	return ams.Changed, c.Models.SaveCPUModel(ctx, request.CPUModelOf())
}

func (c *Calls) deleteCPUModel(ctx context.Context, _ *route.Call, request ModelID) (ams.Done, error) {
	return ams.Deleted, c.Models.DeleteCPUModel(ctx, request.ID)
}

func (c *Calls) showCPUModel(ctx context.Context, _ *route.Call, request ModelQuery) (ams.CPUModel, error) {
	model, err := c.Store.FindCPUModel(ctx, request.ID)
	if err != nil {
		return ams.CPUModel{}, modelMissing(err, "id")
	}
	return ams.CPUModelRecord(model), nil
}

func (c *Calls) listCPUModels(ctx context.Context, _ *route.Call, request ams.Paging) (ams.List[ams.CPUModel], error) {
	page := request.Wanted()
	models, total, err := c.Store.ListCPUModels(ctx, page)
	if err != nil {
		return ams.List[ams.CPUModel]{}, broker.Wrap(err, "list models")
	}
	return ams.ListOf(models, total, page, ams.CPUModelRecord), nil
}

package admin

import (
	"context"

	"gantry/server/api/ams"
	"gantry/server/api/route"
	"gantry/server/broker"
)

// Models are the use cases about plans and hardware models; *broker.Broker has them.
type Models interface {
	AddPlan(ctx context.Context, plan *broker.Plan) error
	ChangePlan(ctx context.Context, plan *broker.Plan) error
	DeletePlan(ctx context.Context, id int64) error
	SaveCPUModel(ctx context.Context, model *broker.CPUModel) error
	DeleteCPUModel(ctx context.Context, id int64) error
	SaveSMBIOSModel(ctx context.Context, model *broker.SMBIOSModel) error
	DeleteSMBIOSModel(ctx context.Context, id int64) error
	SaveModelGroup(ctx context.Context, group *broker.ModelGroup) error
	DeleteModelGroup(ctx context.Context, id int64) error
}

func (c *Calls) planRoutes() []route.Route {
	return []route.Route{
		route.Of(route.Route{
			Methods: post, Path: "/{adminPath}/addConfiguretemplate", Auth: route.Admin, Name: "addConfiguretemplate", Group: "plan", Audit: true,
			Summary: "Adds a plan: hardware that orders name by its id.",
		}, c.addPlan),
		route.Of(route.Route{
			Methods: putPost, Path: "/{adminPath}/updateConfiguretemplate", Auth: route.Admin, Name: "updateConfiguretemplate", Group: "plan", Audit: true,
			Summary: "Replaces a plan; machines that exist stay as they are.",
		}, c.changePlan),
		route.Of(route.Route{
			Methods: eraseAny, Path: "/{adminPath}/deleteConfiguretemplate/{id}", Auth: route.Admin, Name: "deleteConfiguretemplate", Group: "plan", Audit: true,
			Summary: "Deletes a plan; machines that were ordered by it stay.",
		}, c.deletePlan),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getConfiguretemplateByPage", Auth: route.Admin, Name: "getConfiguretemplateByPage", Group: "plan",
			Summary: "Lists plans.",
		}, c.listPlans),
	}
}

func (c *Calls) addPlan(ctx context.Context, _ *route.Call, request ams.PlanRequest) (ams.Plan, error) {
	plan := request.Plan()
	if err := c.Models.AddPlan(ctx, plan); err != nil {
		return ams.Plan{}, err
	}
	return ams.PlanOf(plan), nil
}

func (c *Calls) changePlan(ctx context.Context, _ *route.Call, request ams.PlanRequest) (route.Null, error) {
	if request.ID == 0 {
		return nil, broker.InvalidField("configureTemplateId", "is required")
	}
	return nil, c.Models.ChangePlan(ctx, request.Plan())
}

// PlanPath names a plan in a path.
type PlanPath struct {
	ID int64 `json:"id" in:"path" rule:"required,min=1" doc:"plan"`
}

func (c *Calls) deletePlan(ctx context.Context, _ *route.Call, request PlanPath) (route.Null, error) {
	return nil, c.Models.DeletePlan(ctx, request.ID)
}

func (c *Calls) listPlans(ctx context.Context, _ *route.Call, request ams.Paging) (ams.List[ams.Plan], error) {
	page := request.Wanted()
	plans, total, err := c.Store.ListPlans(ctx, page)
	if err != nil {
		return ams.List[ams.Plan]{}, broker.Wrap(err, "list plans")
	}
	return ams.ListOf(plans, total, page, ams.PlanOf), nil
}

package billing

import (
	"context"
	"net/http"

	"gantry/server/api/ams"
	"gantry/server/api/route"
	"gantry/server/broker"
)

// machineChangeRoutes change the key's machines.
func (c *Calls) machineChangeRoutes() []route.Route {
	put := []string{http.MethodPut, http.MethodPost}
	return []route.Route{
		route.Of(route.Route{
			Methods: put, Path: "/api/v1/{nodeType}/updateVm", Auth: route.APIKey, Name: "updateVmBilling", Group: "billing", Audit: true,
			Summary: "Changes a machine's hardware; disks only grow. An undone task leaves all as it was, but for disks that grew already.",
		}, c.Machines.Resize),
		route.Of(route.Route{
			Methods: put, Path: "/api/v1/{nodeType}/updateVmConfig/restPassword", Auth: route.APIKey, Name: "restPasswordBilling", Group: "billing", Audit: true,
			Summary: "Sets a machine's login password: in the running guest by its agent, else by cloud-init and a restart.",
		}, c.Machines.ResetPassword),
		route.Of(route.Route{
			Methods: put, Path: "/api/v1/{node}/updateVncPassword", Auth: route.APIKey, Name: "updateVncPasswordBilling", Group: "billing", Audit: true,
			Summary: "Sets the password that consoles ask for which are opened from now on.",
		}, c.Machines.SetConsolePassword),
		route.Of(route.Route{
			Methods: []string{http.MethodGet}, Path: "/api/v1/{nodeType}/getPlanList", Auth: route.APIKey, Name: "getPlanListBilling", Group: "billing",
			Summary: "Lists plans that orders and updateVm can name. Gantry's own.",
		}, c.listPlans),
	}
}

func (c *Calls) listPlans(ctx context.Context, _ *route.Call, request ams.Paging) (ams.List[ams.Plan], error) {
	page := request.Wanted()
	plans, total, err := c.Store.ListPlans(ctx, page)
	if err != nil {
		return ams.List[ams.Plan]{}, broker.Wrap(err, "list plans")
	}
	return ams.ListOf(plans, total, page, ams.PlanOf), nil
}

package billing

import (
	"net/http"

	"gantry/server/api/route"
)

// machineEndRoutes are about the end of machines: expiry and destruction.
func (c *Calls) machineEndRoutes() []route.Route {
	return []route.Route{
		route.Of(route.Route{
			Methods: []string{http.MethodDelete, http.MethodPut, http.MethodPost}, Path: "/api/v1/{nodeType}/forceDelete/{hostId}", Auth: route.APIKey,
			Name: "forceDeleteBilling", Group: "billing", Audit: true,
			Summary: "Destroys a machine for good, in the recycle bin or not.",
		}, c.Machines.Destroy),
		route.Of(route.Route{
			Methods: []string{http.MethodPut, http.MethodPost}, Path: "/api/v1/{nodeType}/updateVmConfig/renewal", Auth: route.APIKey,
			Name: "renewalBilling", Group: "billing", Audit: true,
			Summary: "Sets when a machine expires; an expired one is lifted and, if it ran until then, started.",
		}, c.Machines.Renew),
	}
}

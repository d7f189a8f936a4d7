package billing

import (
	"net/http"

	"gantry/server/api/ams"
	"gantry/server/api/route"
)

// placementRoutes order without naming a node. All other calls take "auto" in the place of {nodeType}, too: hostId is unique.
func (c *Calls) placementRoutes() []route.Route {
	return []route.Route{
		route.Of(route.Route{
			Methods: []string{http.MethodPost}, Path: "/api/v1/auto/cerateVM", Auth: route.APIKey, Name: "cerateVMAnywhere", Group: "billing", Audit: true,
			Summary: ams.PlacementSummary,
		}, c.Machines.OrderAnywhere),
	}
}

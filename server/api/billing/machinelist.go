package billing

import (
	"net/http"

	"gantry/server/api/ams"
	"gantry/server/api/route"
)

// machineListRoutes read what is stored about the key's machines; only the history asks a hypervisor.
func (c *Calls) machineListRoutes() []route.Route {
	get := []string{http.MethodGet}
	return []route.Route{
		route.Of(route.Route{
			Methods: get, Path: "/api/v1/{nodeType}/getVmByParam", Auth: route.APIKey, Name: "getVmByParamBilling", Group: "billing",
			Summary: "Lists the key's machines by address, host name, VMID, node or status.",
		}, c.Machines.ByParam),
		route.Of(route.Route{
			Methods: get, Path: "/api/v1/{nodeType}/getVmByPageOrderByCreateTime", Auth: route.APIKey, Name: "getVmByPageOrderByCreateTimeBilling", Group: "billing",
			Summary: "Lists the key's machines, newest first.",
		}, c.Machines.Newest),
		route.Of(route.Route{
			Methods: get, Path: "/api/v1/{nodeType}/getVmByStatus", Auth: route.APIKey, Name: "getVmByStatusBilling", Group: "billing",
			Summary: "Lists the key's machines of a status.",
		}, c.Machines.ByStatus),
		route.Of(route.Route{
			Methods: get, Path: "/api/v1/{nodeType}/getVmCount", Auth: route.APIKey, Name: "getVmCountBilling", Group: "billing",
			Summary: "Counts the key's machines.",
		}, c.Machines.Count),
		route.Of(route.Route{
			Methods: get, Path: "/api/v1/{nodeType}/getVmCountByStatus", Auth: route.APIKey, Name: "getVmCountByStatusBilling", Group: "billing",
			Summary: "Counts the key's machines of a status.",
		}, c.Machines.CountByStatus),
		route.Of(route.Route{
			Methods: get, Path: "/api/v1/{nodeType}/getVmHostRrdData", Auth: route.APIKey, Name: "getVmHostRrdDataBilling", Group: "billing",
			Summary: "Gives a machine's load history: the hypervisor's own, or Gantry's where it keeps none.",
		}, c.Machines.History),
		route.Of(route.Route{
			Methods: get, Path: "/api/v1/{nodeType}/getVmTraffic", Auth: route.APIKey, Name: "getVmTrafficBilling", Group: "billing",
			Summary: ams.TrafficSummary,
		}, c.Machines.Traffic),
	}
}

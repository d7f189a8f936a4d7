package admin

import (
	"gantry/server/api/ams"
	"gantry/server/api/route"
)

// machineListRoutes read what is stored about machines; only the history asks a hypervisor.
func (c *Calls) machineListRoutes() []route.Route {
	return []route.Route{
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getVmByParam", Auth: route.Admin, Name: "getVmByParam", Group: "vm",
			Summary: "Lists machines by address, host name, VMID, node or status.",
		}, c.Machines.ByParam),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getVmByPageOrderByCreateTime", Auth: route.Admin, Name: "getVmByPageOrderByCreateTime", Group: "vm",
			Summary: "Lists machines, newest first.",
		}, c.Machines.Newest),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getVmByStatus", Auth: route.Admin, Name: "getVmByStatus", Group: "vm",
			Summary: "Lists the machines of a status.",
		}, c.Machines.ByStatus),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getVmCount", Auth: route.Admin, Name: "getVmCount", Group: "vm",
			Summary: "Counts machines.",
		}, c.Machines.Count),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getVmCountByStatus", Auth: route.Admin, Name: "getVmCountByStatus", Group: "vm",
			Summary: "Counts the machines of a status.",
		}, c.Machines.CountByStatus),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getVmHostRrdData", Auth: route.Admin, Name: "getVmHostRrdData", Group: "vm",
			Summary: "Gives a machine's load history: the hypervisor's own, or Gantry's where it keeps none.",
		}, c.Machines.History),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getVmTraffic", Auth: route.Admin, Name: "getVmTraffic", Group: "vm",
			Summary: ams.TrafficSummary,
		}, c.Machines.Traffic),
	}
}

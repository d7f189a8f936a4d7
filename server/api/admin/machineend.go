package admin

import (
	"gantry/server/api/route"
)

// machineEndRoutes are about the end of machines: expiry, recycle bin, destruction.
func (c *Calls) machineEndRoutes() []route.Route {
	return []route.Route{
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getDeleteVmByPage", Auth: route.Admin, Name: "getDeleteVmByPage", Group: "vm",
			Summary: "Lists the machines in the recycle bin, newest first.",
		}, c.Machines.Recycled),
		route.Of(route.Route{
			Methods: eraseAny, Path: "/{adminPath}/unDelete/{hostId}", Auth: route.Admin, Name: "unDelete", Group: "vm", Audit: true,
			Summary: "Takes a machine out of the recycle bin; one that ran is started again. The header X-Task-Id names that task.",
		}, c.Machines.Restore),
		route.Of(route.Route{
			Methods: eraseAny, Path: "/{adminPath}/forceDelete/{hostId}", Auth: route.Admin, Name: "forceDelete", Group: "vm", Audit: true,
			Summary: "Destroys a machine for good, in the recycle bin or not. One that was taken over is switched off and let go, unless destroyDisks is true.",
		}, c.Machines.DestroyAll),
		route.Of(route.Route{
			Methods: putPost, Path: "/{adminPath}/updateVmConfig/renewal", Auth: route.Admin, Name: "renewal", Group: "vm", Audit: true,
			Summary: "Sets when a machine expires; an expired one is lifted and, if it ran until then, started.",
		}, c.Machines.Renew),
	}
}

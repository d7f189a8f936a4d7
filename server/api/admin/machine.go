package admin

import (
	"slices"

	"gantry/server/api/ams"
	"gantry/server/api/route"
)

func (c *Calls) machineRoutes() []route.Route {
	return append(slices.Concat(c.machineEndRoutes(), c.machineChangeRoutes(), c.placementRoutes(), c.planRoutes(), c.cpuModelRoutes(), c.smbiosRoutes(), c.modelGroupRoutes()), []route.Route{
		route.Of(route.Route{
			Methods: post, Path: "/{adminPath}/createVm", Auth: route.Admin, Name: "createVm", Group: "vm", Audit: true,
			Summary: "Orders a machine. The answer comes as soon as everything is reserved; the task goes on.",
		}, c.Machines.Order),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getVmByPage", Auth: route.Admin, Name: "getVmByPage", Group: "vm",
			Summary: "Lists machines, newest first, with the values that were observed last.",
		}, c.Machines.Page),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getVmHostInfo", Auth: route.Admin, Name: "getVmHostInfo", Group: "vm",
			Summary: "Tells all about a machine, with live values.",
		}, c.Machines.Info),
		route.Of(route.Route{
			Methods: putPost, Path: "/{adminPath}/power/{hostId}/{action}", Auth: route.Admin, Name: "power", Group: "vm", Audit: true,
			Summary: "Presses a power button. The header X-Task-Id names the task.", Refusals: ams.PowerRefusals(),
		}, c.Machines.Power),
		route.Of(route.Route{
			Methods: putPost, Path: "/{adminPath}/reinstall", Auth: route.Admin, Name: "reinstall", Group: "vm", Audit: true,
			Summary: "Puts a fresh system on a machine. The old disk goes only after the new system was seen running.",
		}, c.Machines.Reinstall),
		route.Of(route.Route{
			Methods: eraseAny, Path: "/{adminPath}/delete/{hostId}", Auth: route.Admin, Name: "delete", Group: "vm", Audit: true,
			Summary: "Stops a machine and puts it into the recycle bin; with deleteDays 0 it is destroyed at once.",
		}, c.Machines.Delete),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/{node}/getVnc", Auth: route.Admin, Name: "getVnc", Group: "vm", Audit: true,
			Summary: "Issues one-time console links, one for each console proxy.",
		}, c.Machines.VNC),
	}...)
}

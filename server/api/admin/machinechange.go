package admin

import (
	"gantry/server/api/route"
)

// machineChangeRoutes change machines that exist.
func (c *Calls) machineChangeRoutes() []route.Route {
	return []route.Route{
		route.Of(route.Route{
			Methods: putPost, Path: "/{adminPath}/updateVm", Auth: route.Admin, Name: "updateVm", Group: "vm", Audit: true,
			Summary: "Changes a machine's hardware; disks only grow. An undone task leaves all as it was, but for disks that grew already.",
		}, c.Machines.Resize),
		route.Of(route.Route{
			Methods: putPost, Path: "/{adminPath}/updateVmConfig/restPassword", Auth: route.Admin, Name: "restPassword", Group: "vm", Audit: true,
			Summary: "Sets a machine's login password: in the running guest by its agent, else by cloud-init and a restart.",
		}, c.Machines.ResetPassword),
		route.Of(route.Route{
			Methods: putPost, Path: "/{adminPath}/{node}/updateVncPassword", Auth: route.Admin, Name: "updateVncPassword", Group: "vm", Audit: true,
			Summary: "Sets the password that consoles ask for which are opened from now on.",
		}, c.Machines.SetConsolePassword),
	}
}

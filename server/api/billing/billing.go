// Package billing serves /api/v1: what billing systems call with appid and appkey.
package billing

import (
	"context"
	"net/http"
	"slices"

	"gantry/server/api/ams"
	"gantry/server/api/route"
	"gantry/server/broker"
)

// Calls is the surface with what it needs.
type Calls struct {
	Machines *ams.Machines
	Store    broker.Store
}

// Routes lists the calls.
func (c *Calls) Routes() []route.Route {
	get, post, put := []string{http.MethodGet}, []string{http.MethodPost}, []string{http.MethodPut, http.MethodPost}
	erase := []string{http.MethodDelete, http.MethodPut, http.MethodPost}
	return append(slices.Concat(c.resourceRoutes(), c.placementRoutes(), c.machineListRoutes(), c.machineEndRoutes(), c.machineChangeRoutes()), []route.Route{
		route.Of(route.Route{
			Methods: get, Path: "/api/v1/status", Auth: route.APIKey, Name: "status", Group: "billing",
			Summary: "Tells that address and key are right.",
		}, c.status),
		route.Of(route.Route{
			Methods: post, Path: "/api/v1/{nodeType}/cerateVM", Auth: route.APIKey, Name: "cerateVM", Group: "billing", Audit: true,
			Summary: "Orders a machine. The answer comes as soon as everything is reserved; the task goes on. The same Idempotency-Key with the same order gives the same machine.",
		}, c.Machines.Order),
		route.Of(route.Route{
			Methods: get, Path: "/api/v1/{nodeType}/getVmInfo", Auth: route.APIKey, Name: "getVmInfo", Group: "billing",
			Summary: "Tells all about a machine, with live values.",
		}, c.Machines.Info),
		route.Of(route.Route{
			Methods: get, Path: "/api/v1/{nodeType}/getVmByPage", Auth: route.APIKey, Name: "getVmByPageBilling", Group: "billing",
			Summary: "Lists the key's machines, newest first.",
		}, c.Machines.Page),
		route.Of(route.Route{
			Methods: put, Path: "/api/v1/{nodeType}/power/{hostId}/{action}", Auth: route.APIKey, Name: "powerBilling", Group: "billing", Audit: true,
			Summary: "Presses a power button. The header X-Task-Id names the task.", Refusals: ams.PowerRefusals(),
		}, c.Machines.Power),
		route.Of(route.Route{
			Methods: put, Path: "/api/v1/{nodeType}/reinstall", Auth: route.APIKey, Name: "reinstallBilling", Group: "billing", Audit: true,
			Summary: "Puts a fresh system on a machine. The old disk goes only after the new system was seen running.",
		}, c.Machines.Reinstall),
		route.Of(route.Route{
			Methods: erase, Path: "/api/v1/{nodeType}/delete/{hostId}", Auth: route.APIKey, Name: "deleteBilling", Group: "billing", Audit: true,
			Summary: "Stops a machine and puts it into the recycle bin; with deleteDays 0 it is destroyed at once.",
		}, c.Machines.Delete),
		route.Of(route.Route{
			Methods: get, Path: "/api/v1/{node}/getVnc", Auth: route.APIKey, Name: "getVncBilling", Group: "billing", Audit: true,
			Summary: "Issues one-time console links, one for each console proxy.",
		}, c.Machines.VNC),
		route.Of(route.Route{
			Methods: get, Path: "/api/v1/{nodeType}/getTask", Auth: route.APIKey, Name: "getTaskBilling", Group: "billing",
			Summary: "Tells how a task of the key's machines stands.",
		}, c.task),
	}...)
}

func (c *Calls) status(context.Context, *route.Call, route.Nothing) (route.Null, error) {
	return nil, nil
}

// TaskRequest names a task.
type TaskRequest struct {
	ID int64 `json:"id" in:"query" rule:"required,min=1" doc:"task, see taskId and X-Task-Id"`
}

func (c *Calls) task(ctx context.Context, call *route.Call, request TaskRequest) (ams.Task, error) {
	return ams.NewReader(c.Store).Task(ctx, request.ID, &call.Key.ID)
}

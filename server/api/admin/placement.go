package admin

import (
	"context"

	"gantry/server/api/ams"
	"gantry/server/api/route"
	"gantry/server/broker"
)

// placementRoutes order without naming a node, and say how full nodes may become that way. Gantry's own.
func (c *Calls) placementRoutes() []route.Route {
	return []route.Route{
		route.Of(route.Route{
			Methods: post, Path: "/{adminPath}/auto/createVm", Auth: route.Admin, Name: "createVmAnywhere", Group: "vm", Audit: true,
			Summary: ams.PlacementSummary,
		}, c.Machines.OrderAnywhere),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getPlacementConfig", Auth: route.Admin, Name: "getPlacementConfig", Group: "setting",
			Summary: "Tells how much may be promised of what nodes have, in percent. Gantry's own.",
		}, c.placementSettings),
		route.Of(route.Route{
			Methods: putPost, Path: "/{adminPath}/updatePlacementConfig", Auth: route.Admin, Name: "updatePlacementConfig", Group: "setting", Audit: true,
			Summary: "Changes how much may be promised of what nodes have; fields that are absent stay. It concerns orders that name no node. Gantry's own.",
		}, c.setPlacementSettings),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/getTrafficConfig", Auth: route.Admin, Name: "getTrafficConfig", Group: "setting",
			Summary: "Tells what happens to machines that have used up their traffic. Gantry's own.",
		}, c.trafficConfig),
		route.Of(route.Route{
			Methods: putPost, Path: "/{adminPath}/updateTrafficConfig", Auth: route.Admin, Name: "updateTrafficConfig", Group: "setting", Audit: true,
			Summary: "Changes what happens to machines that have used up their traffic (flowLimit, a month, UTC). Gantry's own.",
		}, c.setTrafficConfig),
	}
}

// TrafficConfig is what happens to machines that have used up their traffic.
type TrafficConfig struct {
	OverTraffic string `json:"overTraffic" rule:"required,max=20" one:"stop|none" doc:"stop: they are stopped (status 15) until the next month or a larger flowLimit, then started again (default); none: it is counted only"`
}

func (c *Calls) trafficConfig(ctx context.Context, _ *route.Call, _ route.Nothing) (TrafficConfig, error) {
	action, err := c.Broker.OverTraffic(ctx)
	return TrafficConfig{OverTraffic: string(action)}, err
}

func (c *Calls) setTrafficConfig(ctx context.Context, _ *route.Call, request TrafficConfig) (TrafficConfig, error) {
	return request, c.Broker.SetOverTraffic(ctx, broker.TrafficAction(request.OverTraffic))
}

// PlacementConfig is how much may be promised.
type PlacementConfig struct {
	CPUPercent    int64 `json:"cpuPercent" doc:"virtual CPUs in percent of the node's; default 400"`
	MemoryPercent int64 `json:"memoryPercent" doc:"memory in percent of the node's; default 100"`
	DiskPercent   int64 `json:"diskPercent" doc:"disks in percent of the storage's size; default 100"`
}

func (c *Calls) placementSettings(ctx context.Context, _ *route.Call, _ route.Nothing) (PlacementConfig, error) {
	settings, err := c.Broker.PlacementSettings(ctx)
	return PlacementConfig(settings), err
}

// PlacementConfigChange changes it; fields may be absent.
type PlacementConfigChange struct {
	CPUPercent    *int64 `json:"cpuPercent" rule:"min=10,max=10000" doc:"virtual CPUs in percent of the node's"`
	MemoryPercent *int64 `json:"memoryPercent" rule:"min=10,max=10000" doc:"memory in percent of the node's"`
	DiskPercent   *int64 `json:"diskPercent" rule:"min=10,max=10000" doc:"disks in percent of the storage's size"`
}

func (c *Calls) setPlacementSettings(ctx context.Context, call *route.Call, request PlacementConfigChange) (PlacementConfig, error) {
	if err := c.Broker.ChangePlacementSettings(ctx, broker.PlacementSettingsChange(request)); err != nil {
		return PlacementConfig{}, err
	}
	return c.placementSettings(ctx, call, route.Nothing{})
}

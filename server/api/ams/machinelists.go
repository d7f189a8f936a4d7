package ams

import (
	"context"
	"strconv"
	"strings"

	"gantry/server/api/route"
	"gantry/server/broker"
)

// ParamRequest finds machines by one of their properties.
type ParamRequest struct {
	Param string `json:"param" in:"query" rule:"required,max=20" one:"ip|hostname|vmid|nodeid|status" doc:"what value is; ip and hostname are found by how they begin"`
	Value string `json:"value" in:"query" rule:"required,max=255" doc:"what to look for"`
	Paging
}

// StatusRequest finds machines by status.
type StatusRequest struct {
	Status *int `json:"status" in:"query" rule:"required,min=0,max=15" doc:"0 running, 1 off, …"`
	Paging
}

// StatusCountRequest counts machines by status.
type StatusCountRequest struct {
	Status *int `json:"status" in:"query" rule:"required,min=0,max=15" doc:"0 running, 1 off, …"`
}

// HistoryRequest asks for samples.
type HistoryRequest struct {
	HostRef
	Timeframe     string `json:"timeframe" in:"query" one:"hour|day|week|month|year" doc:"default hour"`
	Consolidation string `json:"cf" in:"query" one:"AVERAGE|MAX" doc:"default AVERAGE"`
}

// reach is the filter for the machines that the caller may reach.
func reach(call *route.Call) broker.VMFilter {
	filter := broker.VMFilter{}
	if call.Key != nil {
		filter.Tenant = &call.Key.ID
	}
	return filter
}

// ByParam lists machines by one of their properties, out of the store.
func (m *Machines) ByParam(ctx context.Context, call *route.Call, request ParamRequest) (ShortList[VM], error) {
	filter, value := reach(call), strings.TrimSpace(request.Value)
	number := func() (int64, error) {
		read, err := strconv.ParseInt(value, 10, 64)
		if err != nil || read < 0 {
			return 0, broker.InvalidField("value", "must be a whole number")
		}
		return read, nil
	}
	switch request.Param {
	case "ip":
		filter.Search, filter.SearchIn = value, broker.SearchAddress
	case "hostname":
		filter.Search, filter.SearchIn = value, broker.SearchName
	case "vmid":
		if _, err := number(); err != nil {
			return ShortList[VM]{}, err
		}
		filter.Search, filter.SearchIn = value, broker.SearchVMID
	case "nodeid":
		node, err := number()
		if err != nil || node == 0 {
			return ShortList[VM]{}, broker.InvalidField("value", "must be a node's id")
		}
		filter.NodeID = node
	case "status":
		status, err := number()
		if err != nil || status > int64(broker.VMOverTraffic) {
			return ShortList[VM]{}, broker.InvalidField("value", "must be a status, 0 to %d", broker.VMOverTraffic)
		}
		wanted := broker.VMStatus(status)
		filter.Status = &wanted
	}
	return NewReader(m.Store).VMs(ctx, filter, request.Wanted())
}

// Newest lists machines, newest first.
func (m *Machines) Newest(ctx context.Context, call *route.Call, request Paging) (ShortList[VM], error) {
	return NewReader(m.Store).VMs(ctx, reach(call), request.Wanted())
}

// ByStatus lists the machines of a status.
func (m *Machines) ByStatus(ctx context.Context, call *route.Call, request StatusRequest) (ShortList[VM], error) {
	return NewReader(m.Store).VMs(ctx, withStatus(reach(call), *request.Status), request.Wanted())
}

// Recycled lists the machines in the recycle bin.
func (m *Machines) Recycled(ctx context.Context, call *route.Call, request Paging) (ShortList[VM], error) {
	filter := reach(call)
	filter.Recycled = true
	return NewReader(m.Store).VMs(ctx, filter, request.Wanted())
}

// Count counts machines.
func (m *Machines) Count(ctx context.Context, call *route.Call, _ route.Nothing) (int64, error) {
	count, err := m.Store.CountVMs(ctx, reach(call))
	return count, broker.Wrap(err, "count VMs")
}

// CountByStatus counts the machines of a status.
func (m *Machines) CountByStatus(ctx context.Context, call *route.Call, request StatusCountRequest) (int64, error) {
	count, err := m.Store.CountVMs(ctx, withStatus(reach(call), *request.Status))
	return count, broker.Wrap(err, "count VMs")
}

func withStatus(filter broker.VMFilter, wire int) broker.VMFilter {
	status := broker.VMStatus(wire)
	filter.Status = &status
	return filter
}

// History gives a machine's samples as the hypervisor keeps them.
func (m *Machines) History(ctx context.Context, call *route.Call, request HistoryRequest) ([]map[string]float64, error) {
	vm, err := m.find(ctx, call, request.HostID)
	if err != nil {
		return nil, err
	}
	if vm.Status == broker.VMCreating { // there is nothing to ask about yet
		return []map[string]float64{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	timeframe, consolidation := request.Timeframe, request.Consolidation
	if timeframe == "" {
		timeframe = "hour"
	}
	if consolidation == "" {
		consolidation = "AVERAGE"
	}
	return m.Live.History(ctx, vm, timeframe, consolidation)
}

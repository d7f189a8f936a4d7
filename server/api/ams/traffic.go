package ams

import (
	"context"
	"fmt"
	"time"

	"gantry/server/api/route"
	"gantry/server/broker"
)

// TrafficSummary describes the calls of both surfaces.
const TrafficSummary = "Gives a machine's traffic by month (UTC), newest first. It is counted from what the hypervisor says about the guest, over its restarts. Gantry's own."

// trafficMonths is how many months are told.
const trafficMonths = 24

// MonthlyTraffic is a month's.
type MonthlyTraffic struct {
	Month string `json:"month" doc:"2026-11"`
	In    int64  `json:"in" doc:"bytes that the guest received"`
	Out   int64  `json:"out" doc:"bytes that it sent"`
	Total int64  `json:"total" doc:"what flowLimit is compared with"`
}

// Traffic tells a machine's traffic.
func (m *Machines) Traffic(ctx context.Context, call *route.Call, request HostRef) ([]MonthlyTraffic, error) {
	vm, err := m.find(ctx, call, request.HostID)
	if err != nil {
		return nil, err
	}
	months, err := m.Store.TrafficMonths(ctx, vm.ID, trafficMonths)
	if err != nil {
		return nil, broker.Wrap(err, "read traffic")
	}
	list := make([]MonthlyTraffic, len(months))
	for i, month := range months {
		list[i] = MonthlyTraffic{
			Month: fmt.Sprintf("%04d-%02d", month.Period/100, month.Period%100), In: month.In, Out: month.Out, Total: month.In + month.Out,
		}
	}
	return list, nil
}

// readTraffic reads this month's traffic of a page of machines at once.
func (r *Reader) readTraffic(ctx context.Context, vms []broker.VM) error {
	ids := make([]int64, len(vms))
	for i := range vms {
		ids[i] = vms[i].ID
	}
	used, err := r.store.Traffic(ctx, broker.TrafficPeriod(time.Now()), ids)
	if err != nil {
		return broker.Wrap(err, "read traffic")
	}
	for _, id := range ids {
		r.used[id] = used[id].In + used[id].Out
	}
	return nil
}

// traffic is a machine's of this month.
func (r *Reader) traffic(ctx context.Context, vm int64) (int64, error) {
	if _, known := r.used[vm]; !known {
		if err := r.readTraffic(ctx, []broker.VM{{ID: vm}}); err != nil {
			return 0, err
		}
	}
	return r.used[vm], nil
}

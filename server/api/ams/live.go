package ams

import (
	"context"
	"sync"
	"time"

	"gantry/server/broker"
)

// liveTimeout leaves room in the call's 10 s for what comes from the store.
const liveTimeout = 8 * time.Second

// Live is the part of broker.Fleet that answers about one machine.
type Live interface {
	Live(ctx context.Context, vm *broker.VM) (map[string]any, error)
	History(ctx context.Context, vm *broker.VM, timeframe, consolidation string) ([]map[string]float64, error)
	// Supports tells whether a cluster's hypervisor has a capability.
	Supports(ctx context.Context, cluster int64, capability broker.Capability) bool
}

// WithLive replaces current and rrddata (a day, as documented) by what the hypervisor says now. When it does not answer,
// both are null and the rest stands.
func WithLive(ctx context.Context, record VM, vm *broker.VM, live Live) VM {
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	record.Current, record.RRDData = nil, nil
	if vm.Status == broker.VMCreating { // there is nothing to ask about yet
		return record
	}
	var waiting sync.WaitGroup
	var defect any
	waiting.Go(func() {
		defer func() { defect = recover() }() // a goroutine's panic would end the whole program
		if samples, err := live.History(ctx, vm, "day", "AVERAGE"); err == nil {
			record.RRDData = &Samples{Data: samples}
		}
	})
	current, err := live.Live(ctx, vm)
	waiting.Wait()
	if defect != nil {
		panic(defect) // here the call's own recovery takes it
	}
	if err == nil && current != nil {
		record.Current = map[string]any{"data": current}
	}
	return record
}

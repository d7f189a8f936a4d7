package fleet

import (
	"context"
	"sync"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// Run polls every cluster and looks at console proxies until ctx ends. Clusters that were added by another replica are noticed at the next discovery interval.
func (f *Fleet) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { f.watchConsoleNodes(ctx) })
	running.Go(func() { f.keepHistory(ctx) })
	pollers := map[int64]context.CancelFunc{}
	for {
		clusters, err := f.store.ListClusters(ctx)
		if err != nil && ctx.Err() == nil {
			f.log.Error("list clusters", "error", err)
		}
		present := map[int64]bool{}
		for _, cluster := range clusters {
			if cluster.Disabled {
				continue
			}
			present[cluster.ID] = true
			if pollers[cluster.ID] != nil {
				continue
			}
			pollCtx, cancel := context.WithCancel(ctx)
			pollers[cluster.ID] = cancel
			running.Go(func() { f.pollCluster(pollCtx, cluster.ID) })
		}
		for id, cancel := range pollers {
			if err == nil && !present[id] {
				cancel()
				delete(pollers, id)
			}
		}
		select {
		case <-ctx.Done():
			for _, cancel := range pollers {
				cancel()
			}
			return
		case <-f.changed:
		case <-time.After(f.discoverInterval):
		}
	}
}

// pollCluster looks at one cluster until ctx ends. A failed look is tried again after growing pauses of at most a minute.
func (f *Fleet) pollCluster(ctx context.Context, cluster int64) {
	var discovered time.Time
	failures := 0
	for {
		err := f.Poll(ctx, cluster)
		if err == nil && f.now().Sub(discovered) >= f.discoverInterval {
			if err = f.discover(ctx, cluster); err == nil {
				discovered = f.now()
			}
		}
		pause := f.pollInterval
		if err != nil && ctx.Err() == nil {
			failures++
			f.notePollFailure(ctx, cluster, err, failures)
			pause = min(time.Minute, f.pollInterval*time.Duration(min(failures, 6)))
		} else {
			failures = 0
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// notePollFailure stores that a cluster did not answer. Nodes become offline after the second failure in a row: one lost poll
// must not refuse orders.
func (f *Fleet) notePollFailure(ctx context.Context, id int64, cause error, failures int) {
	f.log.Warn("poll cluster", "cluster", id, "failures", failures, "error", cause)
	err := f.store.Transact(ctx, func(tx broker.Tx) error {
		cluster, err := tx.FindCluster(ctx, id)
		if err != nil {
			return err
		}
		if text := broker.DetailOf(cause); cluster.LastError != text {
			cluster.LastError = text
			if err := tx.UpdateCluster(ctx, cluster); err != nil {
				return err
			}
		}
		if failures != 2 {
			return nil
		}
		return setNodeStates(ctx, tx, id, func(broker.Node) (bool, string) { return false, broker.DetailOf(cause) })
	})
	if err != nil && ctx.Err() == nil {
		f.log.Error("store poll failure", "cluster", id, "error", err)
	}
}

// setNodeStates makes nodes online or offline; what the operator disabled stays disabled. Unchanged nodes are not written.
func setNodeStates(ctx context.Context, tx broker.Tx, cluster int64, state func(broker.Node) (online bool, why string)) error {
	nodes, err := tx.ListClusterNodes(ctx, cluster)
	if err != nil {
		return err
	}
	for i := range nodes {
		online, why := state(nodes[i])
		status := broker.NodeOnline
		if !online {
			status = broker.NodeOffline
		}
		if nodes[i].Status == broker.NodeDisabled || (nodes[i].Status == status && nodes[i].LastError == why) {
			continue
		}
		nodes[i].Status, nodes[i].LastError = status, why
		if err := tx.UpdateNode(ctx, &nodes[i]); err != nil {
			return err
		}
	}
	return nil
}

// Poll takes one inventory of a cluster and stores what is new.
func (f *Fleet) Poll(ctx context.Context, cluster int64) error {
	callCtx, cancel := context.WithTimeout(ctx, 3*callTimeout)
	defer cancel()
	driver, err := f.Driver(callCtx, cluster)
	if err != nil {
		return err
	}
	inventory, err := driver.Inventory(callCtx)
	if err != nil {
		return err
	}
	err = f.store.Transact(ctx, func(tx broker.Tx) error { return f.storeInventory(ctx, tx, cluster, inventory) })
	if err != nil {
		return err
	}
	return f.storeGuests(ctx, cluster, inventory)
}

func (f *Fleet) storeInventory(ctx context.Context, tx broker.Tx, id int64, inventory hypervisor.Inventory) error {
	now := f.now().UTC()
	cluster, err := tx.FindCluster(ctx, id)
	if err != nil {
		return err
	}
	// The time of the last sight is written once a minute only: an idle broker should not write all the time.
	if cluster.LastError != "" || cluster.SeenAt == nil || now.Sub(*cluster.SeenAt) > time.Minute {
		cluster.LastError, cluster.SeenAt = "", &now
		if err := tx.UpdateCluster(ctx, cluster); err != nil {
			return err
		}
	}
	online := map[string]bool{}
	for _, node := range inventory.Nodes {
		online[node.Name] = node.Online
	}
	err = setNodeStates(ctx, tx, id, func(node broker.Node) (bool, string) {
		if online[node.Name] {
			return true, ""
		}
		return false, "the cluster says that the node is offline"
	})
	if err != nil {
		return err
	}
	vmids := make([]int, 0, len(inventory.Guests))
	for _, guest := range inventory.Guests {
		vmids = append(vmids, guest.ID)
	}
	return tx.ReplaceGuests(ctx, id, vmids)
}

// storeGuests uses no transaction of its own: orders must not wait until all observations of a large cluster are written. What
// changes meanwhile, SaveObservations leaves alone.
func (f *Fleet) storeGuests(ctx context.Context, cluster int64, inventory hypervisor.Inventory) error {
	byID := make(map[int]hypervisor.GuestSummary, len(inventory.Guests))
	for _, guest := range inventory.Guests {
		byID[guest.ID] = guest
	}
	vms, err := f.store.ListClusterVMs(ctx, cluster)
	if err != nil {
		return err
	}
	if err := f.storeUnmanaged(ctx, cluster, inventory, vms); err != nil {
		return err
	}
	nodes, err := f.store.ListClusterNodes(ctx, cluster)
	if err != nil {
		return err
	}
	f.sampler.look(cluster, inventory, vms, nodes, !f.Supports(ctx, cluster, broker.CapabilityHistory))
	if len(vms) == 0 {
		return nil
	}
	names := map[string]int64{}
	down := map[int64]bool{}
	for _, node := range nodes {
		names[node.Name] = node.ID
		down[node.ID] = node.Status == broker.NodeOffline
	}
	observations := make([]broker.VMObservation, 0, len(vms))
	for i := range vms {
		guest, seen := byID[vms[i].VMID]
		observation := observe(&vms[i], guest, seen, down[vms[i].NodeID], inventory.At)
		if id, known := names[guest.Node]; seen && known && id != vms[i].NodeID {
			observation.NodeID = id
		}
		observations = append(observations, observation)
	}
	return f.store.SaveObservations(ctx, cluster, observations)
}

// observe turns a summary into what is stored, with the drift in plain words. A VM that a task works on keeps its status.
func observe(vm *broker.VM, guest hypervisor.GuestSummary, seen, nodeDown bool, at time.Time) broker.VMObservation {
	at = at.UTC()
	observation := broker.VMObservation{VM: vm.ID, Observed: broker.Observed{At: &at, Power: string(hypervisor.PowerUnknown)}}
	if !seen {
		if vm.TaskID == nil && !nodeDown && at.Sub(vm.StatusAt) >= broker.StatusGrace {
			observation.Observed.Drift = "the guest is missing on the hypervisor"
		}
		return observation
	}
	observation.Observed = broker.Observed{
		At: &at, Power: string(guest.Power), Node: guest.Node, CPU: guest.CPU, Memory: guest.MemoryUsed,
		Uptime: guest.Uptime, NetIn: guest.NetIn, NetOut: guest.NetOut,
	}
	if vm.TaskID != nil || at.Sub(vm.StatusAt) < broker.StatusGrace {
		return observation
	}
	if vm.RecycledAt == nil {
		observation.Status = observedStatus(vm.Status, guest.Power)
	}
	if guest.Lock != "" {
		observation.Observed.Drift = "locked on the hypervisor: " + guest.Lock
	}
	if guest.Power == hypervisor.PowerRunning && (vm.Status == broker.VMPaused || vm.Status == broker.VMExpired || vm.RecycledAt != nil) {
		observation.Observed.Drift = "running although it should be off"
	}
	return observation
}

// observedStatus maps what the hypervisor says to a status; nil leaves it. Suspension, expiry and used-up traffic are decisions
// of ours that a power state does not lift, and a failed VM waits for an operator.
func observedStatus(status broker.VMStatus, power hypervisor.Power) *broker.VMStatus {
	switch status {
	case broker.VMPaused, broker.VMExpired, broker.VMOverTraffic, broker.VMFailed:
		return nil
	}
	seen, known := StatusOf(power)
	if !known || seen == status {
		return nil
	}
	// PVE's inventory calls a guest that is suspended to disk "stopped".
	if status == broker.VMSuspended && seen == broker.VMStopped {
		return nil
	}
	return &seen
}

// StatusOf maps a power state to the status that it means; false for unknown.
func StatusOf(power hypervisor.Power) (broker.VMStatus, bool) {
	switch power {
	case hypervisor.PowerRunning:
		return broker.VMRunning, true
	case hypervisor.PowerStopped:
		return broker.VMStopped, true
	case hypervisor.PowerPaused, hypervisor.PowerSuspended:
		return broker.VMSuspended, true
	}
	return 0, false
}

// discover refreshes nodes, storages and bridges.
func (f *Fleet) discover(ctx context.Context, cluster int64) error {
	callCtx, cancel := context.WithTimeout(ctx, 3*callTimeout)
	defer cancel()
	driver, err := f.Driver(callCtx, cluster)
	if err != nil {
		return err
	}
	discovery, err := driver.Discover(callCtx)
	if err != nil {
		return err
	}
	report := &broker.ClusterReport{Version: discovery.Version, Nodes: f.discovered(discovery)}
	return f.store.Transact(ctx, func(tx broker.Tx) error {
		row, err := tx.FindCluster(ctx, cluster)
		if err != nil {
			return err
		}
		if discovery.Version != "" && row.Version != discovery.Version {
			row.Version = discovery.Version
			if err := tx.UpdateCluster(ctx, row); err != nil {
				return err
			}
		}
		return broker.StoreDiscovery(ctx, tx, cluster, report)
	})
}

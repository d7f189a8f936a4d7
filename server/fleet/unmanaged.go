package fleet

import (
	"context"
	"slices"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// storeUnmanaged stores the guests that are nobody's machine here, when they are not as they were.
func (f *Fleet) storeUnmanaged(ctx context.Context, cluster int64, inventory hypervisor.Inventory, vms []broker.VM) error {
	ours := make(map[int]bool, len(vms))
	for i := range vms {
		ours[vms[i].VMID] = true
	}
	var foreign []broker.UnmanagedGuest
	for _, guest := range inventory.Guests {
		if ours[guest.ID] {
			continue
		}
		foreign = append(foreign, broker.UnmanagedGuest{
			ClusterID: cluster, VMID: guest.ID, Node: guest.Node, Name: guest.Name, Power: string(guest.Power), CPUs: guest.CPUs,
			MemoryBytes: guest.MemoryTotal, DiskBytes: guest.DiskTotal, Template: guest.Template, Lock: guest.Lock,
		})
	}
	slices.SortFunc(foreign, func(a, b broker.UnmanagedGuest) int { return a.VMID - b.VMID })
	f.mutex.Lock()
	before, known := f.unmanaged[cluster]
	f.mutex.Unlock()
	if known && slices.Equal(before, foreign) {
		return nil
	}
	seen := slices.Clone(foreign)
	for i := range seen {
		seen[i].SeenAt = inventory.At.UTC()
	}
	if err := f.store.ReplaceUnmanaged(ctx, cluster, seen); err != nil {
		return err
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.unmanaged[cluster] = foreign
	return nil
}

package store_test

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"gantry/server/broker"
)

// BenchmarkOrders takes orders, 50 at once, the way the broker does: one transaction that reserves name, VMID and address and queues
// the task. It reports the slowest percent, which is what a billing system waits for.
func BenchmarkOrders(b *testing.B) {
	const concurrent = 50
	for name, dsn := range databases {
		b.Run(name, func(b *testing.B) {
			s := open(b, dsn(b))
			cluster := addCluster(b, s, 100, 999_999)
			node := addNode(b, s, cluster.ID)
			for range b.N/60_000 + 1 {
				addPool(b, s, node.ID, 60_000)
			}
			var mu sync.Mutex
			var took []time.Duration
			next := 0
			b.ResetTimer()
			var group sync.WaitGroup
			for range concurrent {
				group.Go(func() {
					for {
						mu.Lock()
						next++
						number := next
						mu.Unlock()
						if number > b.N {
							return
						}
						begun := time.Now()
						err := s.Transact(b.Context(), func(tx broker.Tx) error {
							vm := newVM(cluster.ID, node.ID)
							vm.Spec.MAC = fmt.Sprintf("bc:24:11:%02x:%02x:%02x", number>>16, number>>8&255, number&255)
							if err := tx.InsertVM(b.Context(), vm); err != nil {
								return err
							}
							vmid, err := tx.ReserveVMID(b.Context(), cluster.ID, vm.ID, start)
							if err != nil {
								return err
							}
							addresses, err := tx.ReserveAddresses(b.Context(), node.ID, 0, 4, 1, vm.ID)
							if err != nil {
								return err
							}
							task := newTask()
							task.VM, task.NodeKey, task.IdempotencyKey = &vm.ID, "node", fmt.Sprintf("create:%d", vm.ID)
							if err := tx.InsertTask(b.Context(), task); err != nil {
								return err
							}
							vm.VMID, vm.TaskID = vmid, &task.ID
							vm.Spec.Addresses = []broker.VMAddress{{AddressID: addresses[0].ID, IP: addresses[0].IP}}
							if err := tx.UpdateVM(b.Context(), vm); err != nil {
								return err
							}
							return tx.InsertOrder(b.Context(), &broker.Order{APIKeyID: 1, Key: vm.Name, VMID: vm.ID, CreatedAt: start})
						})
						if err != nil {
							b.Error(err)
							return
						}
						mu.Lock()
						took = append(took, time.Since(begun))
						mu.Unlock()
					}
				})
			}
			group.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "orders/s")
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}

// BenchmarkInsertAddresses adds a /16.
func BenchmarkInsertAddresses(b *testing.B) {
	for name, dsn := range databases {
		b.Run(name, func(b *testing.B) {
			s := open(b, dsn(b))
			b.StopTimer()
			for number := range b.N {
				_, node := place(b, s)
				pool := &broker.AddressPool{Name: "big", NodeID: node.ID, Gateway: netip.AddrFrom4([4]byte{10, byte(number), 0, 1}), Prefix: 16, CreatedAt: start}
				check(b, s.InsertPool(b.Context(), pool))
				addresses := make([]broker.Address, 0, 1<<16)
				for ip := pool.Gateway.Prev(); len(addresses) < 1<<16; ip = ip.Next() {
					addresses = append(addresses, broker.Address{IP: ip})
				}
				b.StartTimer()
				check(b, s.InsertAddresses(b.Context(), pool, addresses))
				b.StopTimer()
			}
		})
	}
}

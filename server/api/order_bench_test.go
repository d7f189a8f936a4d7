package api_test

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkOrders places orders through the whole stack on SQLite, 50 at a time, and tells how long a caller waits.
func BenchmarkOrders(b *testing.B) {
	f := stocked(b)
	f.admin(b, "POST", "insertIpPoolByMask", `{"nodeId":1,"gateway":"10.9.0.1","mask":16,"dns1":"8.8.8.8","poolName":"large"}`)
	header := map[string]string{"Authorization": f.basic}
	var mutex sync.Mutex
	var took []time.Duration
	orders := make(chan struct{})
	var callers sync.WaitGroup
	for range 50 {
		callers.Go(func() {
			for range orders {
				started := time.Now()
				got := f.send(b, "POST", "/api/v1/pve/cerateVM", header, validOrder)
				waited := time.Since(started)
				if got.Code != 20000 {
					b.Errorf("%s", got.text)
				}
				mutex.Lock()
				took = append(took, waited)
				mutex.Unlock()
			}
		})
	}
	b.ResetTimer()
	for range b.N {
		orders <- struct{}{}
	}
	close(orders)
	callers.Wait()
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

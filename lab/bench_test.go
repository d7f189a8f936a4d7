package lab_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"gantry/lab"
)

// BenchmarkGuestLifecycle creates a guest from an image, starts, stops and deletes it, with the polls that a client makes. Client and
// lab share the machine.
func BenchmarkGuestLifecycle(b *testing.B) {
	running := startLab(b, lab.Config{})
	putImage(b, running, "base.raw")
	c := newClient(b, running)
	var next atomic.Int64
	next.Store(1000)
	b.SetParallelism(4)
	b.ResetTimer()
	b.RunParallel(func(each *testing.PB) {
		for each.Next() {
			vmid := fmt.Sprint(next.Add(1))
			path := "/nodes/pve1/qemu/" + vmid
			c.must(c.task("POST", "/nodes/pve1/qemu", "vmid", vmid, "memory", "256", "scsi0", "local:0,import-from=local:import/base.raw",
				"ide2", "local:cloudinit", "net0", "virtio,bridge=vmbr0", "ipconfig0", "ip=dhcp"), "OK")
			c.must(c.task("POST", path+"/status/start"), "OK")
			c.must(c.task("POST", path+"/status/stop"), "OK")
			c.must(c.task("DELETE", path), "OK")
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "guests/s")
}

// BenchmarkResources lists 1,000 guests.
func BenchmarkResources(b *testing.B) {
	running := startLab(b, lab.Config{})
	c := newClient(b, running)
	for vmid := 1000; vmid < 2000; vmid++ {
		c.must(c.task("POST", "/nodes/pve1/qemu", "vmid", fmt.Sprint(vmid), "memory", "256"), "OK")
	}
	running.Faults().RefreshStatus()
	b.ResetTimer()
	for range b.N {
		c.ok("GET", "/cluster/resources")
	}
}

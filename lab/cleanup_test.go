package lab_test

import (
	"testing"
	"time"

	"gantry/lab"
)

// On PVE 9 `qm cleanup` comes too late for a guest that was started again within a second of its end, and keeps its configuration
// locked until it gives up or the guest ends.
func TestCleanupHoldsTheLockOfARestartedGuest(t *testing.T) {
	const locked = "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout"
	for _, fact := range []struct {
		name   string
		config lab.Config
		ending []string // of the guest before it is started again
		exit   string   // of a change right after that
	}{
		{"9, hibernated", lab.Config{Version: "9"}, []string{"/status/suspend", "todisk", "1"}, locked},
		{"9, stopped", lab.Config{Version: "9"}, []string{"/status/stop"}, locked},
		{"9, shut down", lab.Config{Version: "9"}, []string{"/status/shutdown"}, locked},
		{"9, switched off", lab.Config{Version: "9", NoCleanupLock: true}, []string{"/status/stop"}, "OK"},
		{"8", lab.Config{Version: "8"}, []string{"/status/stop"}, "OK"},
	} {
		t.Run(fact.name, func(t *testing.T) {
			t.Parallel()
			fact.config.TimeScale = 0.1 // a second is 100 ms, the lock's 30 s are 3 s, a client's 10 s one
			running := startLab(t, fact.config)
			c := newClient(t, running)
			const path = "/nodes/pve1/qemu/100"
			c.must(c.task("POST", "/nodes/pve1/qemu", "vmid", "100", "scsi0", "local:1"), "OK")
			c.must(c.task("POST", path+"/status/start"), "OK")
			restart := func() {
				c.must(c.task("POST", path+fact.ending[0], fact.ending[1:]...), "OK")
				c.must(c.task("POST", path+"/status/start"), "OK")
			}
			restart()
			if fact.exit == locked {
				// On a machine that is too slow for the second it takes more than one try.
				for tries := 1; !becomesLocked(running, 100); tries++ {
					if tries == 20 {
						t.Fatal("nobody took the lock")
					}
					restart()
				}
				if answer := c.call("PUT", path+"/config", "name", "x"); answer.Reason != locked {
					t.Errorf("a change: %d %s", answer.Status, answer.Reason)
				}
			}
			c.must(c.task("PUT", path+"/resize", "disk", "scsi0", "size", "+1G"), fact.exit)
			// A client that tries again gets through.
			for exit := locked; exit == locked; {
				exit = c.task("PUT", path+"/resize", "disk", "scsi0", "size", "+1G")
				if exit != locked {
					c.must(exit, "OK")
				}
			}
		})
	}
}

// becomesLocked tells whether somebody takes the guest's configuration lock in the time in which a cleanup comes.
func becomesLocked(running *lab.Lab, vmid int) bool {
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); {
		if running.Cluster().ConfigLocked(vmid) {
			return true
		}
		time.Sleep(time.Millisecond) // between polls; nothing is asserted on time
	}
	return false
}

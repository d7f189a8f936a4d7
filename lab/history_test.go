package lab_test

import (
	"sync/atomic"
	"testing"
	"time"

	"gantry/lab"
)

// A guest that has run for three days shows in every time frame what was measured since its start, without gaps and nothing before.
func TestHistoryOfAllTimeFrames(t *testing.T) {
	const days, minute = 3, int64(60)
	start := time.Date(2026, 3, 1, 10, 7, 0, 0, time.UTC)
	for version, frames := range map[string]map[string]struct{ step, rows int64 }{
		"8": {"hour": {60, 70}, "day": {1800, 70}, "week": {10800, 70}, "month": {43200, 70}, "year": {604800, 70}},
		"9": {"hour": {60, 60}, "day": {60, 1440}, "week": {1800, 336}, "month": {1800, 1440}, "year": {21600, 1440}},
	} {
		t.Run(version, func(t *testing.T) {
			var now atomic.Int64
			now.Store(start.Unix())
			running := startLab(t, lab.Config{Version: version, Now: func() time.Time { return time.Unix(now.Load(), 0) }})
			c := newClient(t, running)
			c.must(c.task("POST", "/nodes/pve1/qemu", "vmid", "100", "memory", "256", "net0", "virtio,bridge=vmbr0"), "OK")
			c.must(c.task("POST", "/nodes/pve1/qemu/100/status/start"), "OK")
			for range days * 24 * 60 {
				running.Faults().RefreshStatus()
				now.Add(minute)
			}
			last := now.Load() - minute
			for frame, want := range frames {
				rows, _ := c.ok("GET", "/nodes/pve1/qemu/100/rrddata", "timeframe", frame).([]any)
				if int64(len(rows)) != want.rows {
					t.Errorf("%s has %d rows, want %d", frame, len(rows), want.rows)
					continue
				}
				for i, row := range rows {
					row, _ := row.(map[string]any)
					at := int64(row["time"].(float64))
					if end := now.Load() / want.step * want.step; at != end-int64(len(rows)-1-i)*want.step {
						t.Fatalf("%s: row %d is of %d", frame, i, at)
					}
					memory, shown := row["maxmem"]
					if measured := at+want.step > start.Unix() && at <= last; shown != measured {
						t.Fatalf("%s, %s after the start: shown %v, want %v", frame, time.Duration(at-start.Unix())*time.Second, shown, measured)
					}
					if shown && memory != float64(256<<20) {
						t.Fatalf("%s: memory %v", frame, memory)
					}
				}
			}
			longest, points := "year", 70
			if version == "9" {
				longest, points = "decade", 570
			}
			rows, _ := c.ok("GET", "/nodes/pve1/rrddata", "timeframe", longest).([]any)
			if len(rows) != points || rows[len(rows)-1].(map[string]any)["memtotal"] == nil {
				t.Errorf("the node's %s has %d rows and ends with %v", longest, len(rows), rows[len(rows)-1])
			}
		})
	}
}

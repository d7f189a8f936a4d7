package cluster

import (
	"maps"
	"strconv"
	"time"
)

func itoa(number int) string { return strconv.Itoa(number) }

// history holds one-minute averages of one object, the newest last.
type history struct {
	points []point
}

type point struct {
	minute int64 // seconds since 1970
	count  int
	values map[string]float64
	// counters at the last sample, for rates
	counters map[string]int64
	at       time.Time
}

// keepMinutes is a day and some; longer time frames are answered from what there is.
const keepMinutes = 1500

func (h *history) add(now time.Time, gauges map[string]float64, counters map[string]int64) {
	minute := now.Unix() / 60 * 60
	values := maps.Clone(gauges)
	var last *point
	if len(h.points) > 0 {
		last = &h.points[len(h.points)-1]
		if seconds := now.Sub(last.at).Seconds(); seconds > 0 {
			for name, count := range counters {
				values[name] = max(float64(count-last.counters[name])/seconds, 0)
			}
		}
	}
	if last != nil && last.minute == minute {
		for name, value := range values {
			last.values[name] = (last.values[name]*float64(last.count) + value) / float64(last.count+1)
		}
		last.count++
		last.counters, last.at = counters, now
		return
	}
	h.points = append(h.points, point{minute: minute, count: 1, values: values, counters: counters, at: now})
	if len(h.points) > keepMinutes {
		h.points = append(h.points[:0:0], h.points[len(h.points)-keepMinutes:]...)
	}
}

func (c *Cluster) sampleHistory(guests map[int]Status, nodes map[string]NodeStatus) {
	now := c.Now()
	c.status.mu.Lock()
	defer c.status.mu.Unlock()
	if c.status.rrd == nil {
		c.status.rrd = map[string]*history{}
	}
	track := func(key string) *history {
		if c.status.rrd[key] == nil {
			c.status.rrd[key] = &history{}
		}
		return c.status.rrd[key]
	}
	for vmid, status := range guests {
		gauges := map[string]float64{"maxcpu": float64(status.CPUs), "maxmem": float64(status.MaxMem), "maxdisk": float64(status.MaxDisk),
			"cpu": status.CPU, "mem": float64(status.Mem), "disk": 0}
		if c.Major >= 9 {
			gauges["memhost"] = float64(status.Mem)
		}
		track("qemu/"+itoa(vmid)).add(now, gauges, map[string]int64{"netin": status.NetIn, "netout": status.NetOut,
			"diskread": status.DiskRead, "diskwrite": status.DiskWrite})
	}
	for node, status := range nodes {
		track("node/"+node).add(now, map[string]float64{"maxcpu": float64(status.MaxCPU), "cpu": status.CPU, "iowait": 0,
			"loadavg": status.LoadAverage, "memtotal": float64(status.MaxMem), "memused": float64(status.Mem), "swaptotal": 0, "swapused": 0,
			"roottotal": float64(status.MaxDisk), "rootused": float64(status.Disk)}, map[string]int64{"netin": status.NetIn, "netout": status.NetOut})
	}
	for key := range c.status.rrd {
		if vmid, err := strconv.Atoi(key[5:]); err == nil && key[:5] == "qemu/" {
			if _, alive := guests[vmid]; !alive {
				delete(c.status.rrd, key)
			}
		}
	}
}

// steps are the resolutions and lengths of PVE's time frames.
var steps = map[string]struct{ seconds, rows int64 }{
	"hour": {60, 70}, "day": {1800, 70}, "week": {10800, 70}, "month": {43200, 70}, "year": {604800, 70}, "decade": {604800, 570},
}

// History returns a time frame's rows; those without samples hold only the time. key is qemu/VMID, node/NAME or storage/NODE/ID.
func (c *Cluster) History(key, timeframe string) []map[string]any {
	step := steps[timeframe]
	if step.seconds == 0 {
		step = steps["hour"]
	}
	end := c.Now().Unix() / step.seconds * step.seconds
	sums, counts := map[int64]map[string]float64{}, map[int64]float64{}
	c.status.mu.RLock()
	if history := c.status.rrd[key]; history != nil {
		for _, point := range history.points {
			slot := point.minute / step.seconds * step.seconds
			if sums[slot] == nil {
				sums[slot] = map[string]float64{}
			}
			for name, value := range point.values {
				sums[slot][name] += value
			}
			counts[slot]++
		}
	}
	c.status.mu.RUnlock()
	rows := make([]map[string]any, 0, step.rows)
	for at := end - step.seconds*(step.rows-1); at <= end; at += step.seconds {
		row := map[string]any{"time": at}
		for name, sum := range sums[at] {
			row[name] = sum / counts[at]
		}
		rows = append(rows, row)
	}
	return rows
}

package cluster

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
)

func itoa(number int) string { return strconv.Itoa(number) }

// history holds one-minute averages of one object, the newest last.
type history struct {
	names  []string // of the values, in the order of every point
	points []point
	// The counters of the last sample, for rates.
	counters map[string]int64
	at       time.Time
}

type point struct {
	minute int64 // seconds since 1970
	count  float64
	values []float64 // NaN where there was nothing to measure
}

// keepMinutes covers the time frame "hour"; longer ones are answered from what there is.
const keepMinutes = 120

func (h *history) add(now time.Time, gauges map[string]float64, counters map[string]int64) {
	if h.names == nil {
		h.names = append(slices.Collect(maps.Keys(gauges)), slices.Collect(maps.Keys(counters))...)
	}
	seconds := now.Sub(h.at).Seconds()
	values := make([]float64, len(h.names))
	for i, name := range h.names {
		gauge, isGauge := gauges[name]
		switch {
		case isGauge:
			values[i] = gauge
		case h.counters == nil || seconds <= 0:
			values[i] = math.NaN()
		default:
			values[i] = max(float64(counters[name]-h.counters[name])/seconds, 0)
		}
	}
	h.counters, h.at = counters, now
	minute := now.Unix() / 60 * 60
	if len(h.points) == 0 || h.points[len(h.points)-1].minute != minute {
		h.points = append(h.points, point{minute: minute, count: 1, values: values})
		if len(h.points) > keepMinutes {
			h.points = slices.Delete(h.points, 0, len(h.points)-keepMinutes)
		}
		return
	}
	last := &h.points[len(h.points)-1]
	for i, value := range values {
		if math.IsNaN(last.values[i]) {
			last.values[i] = value
			continue
		}
		last.values[i] = (last.values[i]*last.count + value) / (last.count + 1)
	}
	last.count++
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
	sums, counts := map[int64]map[string]float64{}, map[int64]map[string]float64{}
	c.status.mu.RLock()
	if history := c.status.rrd[key]; history != nil {
		for _, point := range history.points {
			slot := point.minute / step.seconds * step.seconds
			if sums[slot] == nil {
				sums[slot], counts[slot] = map[string]float64{}, map[string]float64{}
			}
			for i, value := range point.values {
				if !math.IsNaN(value) {
					sums[slot][history.names[i]] += value
					counts[slot][history.names[i]]++
				}
			}
		}
	}
	c.status.mu.RUnlock()
	rows := make([]map[string]any, 0, step.rows)
	for at := end - step.seconds*(step.rows-1); at <= end; at += step.seconds {
		row := map[string]any{"time": at}
		for name, sum := range sums[at] {
			row[name] = sum / counts[at][name]
		}
		rows = append(rows, row)
	}
	return rows
}

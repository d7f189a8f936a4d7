package cluster

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
)

func itoa(number int) string { return strconv.Itoa(number) }

// history holds the averages of one object, as the archives of a round-robin database do.
type history struct {
	names    []string // of the values, in the order of every point
	first    int64    // the minute of the first sample, in seconds since 1970
	archives [len(resolutions)][]point
	// The counters of the last sample, for rates.
	counters map[string]int64
	at       time.Time
}

// resolutions of the archives, the finest first, and how long each keeps its points, both in seconds. Real nodes keep more of the fine
// ones; thousands of guests shall fit into memory, so that what is older is answered from the next coarser archive.
var resolutions = [...]struct{ step, keep int64 }{{60, 2 * 3600}, {1800, 7 * 86400}, {21600, 30 * 86400}, {604800, 10 * 365 * 86400}}

type point struct {
	from   int64 // seconds since 1970
	count  float32
	values []float32 // NaN where there was nothing to measure
}

func (h *history) add(now time.Time, gauges map[string]float64, counters map[string]int64) {
	if h.names == nil {
		h.names = append(slices.Collect(maps.Keys(gauges)), slices.Collect(maps.Keys(counters))...)
		h.first = now.Unix() / 60 * 60
	}
	seconds := now.Sub(h.at).Seconds()
	values := make([]float32, len(h.names))
	for i, name := range h.names {
		gauge, isGauge := gauges[name]
		switch {
		case isGauge:
			values[i] = float32(gauge)
		case h.counters == nil || seconds <= 0:
			values[i] = float32(math.NaN())
		default:
			values[i] = float32(max(float64(counters[name]-h.counters[name])/seconds, 0))
		}
	}
	h.counters, h.at = counters, now
	for i, resolution := range resolutions {
		h.archives[i] = addPoint(h.archives[i], now.Unix()/resolution.step*resolution.step, values)
		old := now.Unix() - resolution.keep
		h.archives[i] = slices.DeleteFunc(h.archives[i], func(point point) bool { return point.from < old })
	}
}

// addPoint counts a sample into the last point, or begins a new one.
func addPoint(points []point, from int64, values []float32) []point {
	if len(points) == 0 || points[len(points)-1].from != from {
		return append(points, point{from: from, count: 1, values: slices.Clone(values)})
	}
	last := &points[len(points)-1]
	for i, value := range values {
		switch {
		case math.IsNaN(float64(value)):
		case math.IsNaN(float64(last.values[i])):
			last.values[i] = value
		default:
			last.values[i] = (last.values[i]*last.count + value) / (last.count + 1)
		}
	}
	last.count++
	return points
}

// between averages what was measured from a moment up to another, by the finest archive that goes back that far. What was not
// measured is left out.
func (h *history) between(from, until int64) map[string]float64 {
	row := map[string]float64{}
	if until <= h.first {
		return row
	}
	for i, points := range h.archives {
		step := resolutions[i].step
		if i+1 < len(h.archives) && (len(points) == 0 || points[0].from > max(from, h.first)) {
			continue
		}
		counts := map[string]float64{}
		start, _ := slices.BinarySearchFunc(points, from, func(point point, from int64) int { return cmp.Compare(point.from+step-1, from) })
		for _, point := range points[start:] {
			if point.from >= until {
				break
			}
			for i, value := range point.values {
				if !math.IsNaN(float64(value)) {
					row[h.names[i]] += float64(value)
					counts[h.names[i]]++
				}
			}
		}
		for name := range row {
			row[name] /= counts[name]
		}
		return row
	}
	return row
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

type timeframe struct{ step, rows int64 }

// timeframes are the resolutions in seconds and the lengths of PVE's time frames ($setup in PVE::RRD): those of 8, and of 9.
var (
	timeframes8 = map[string]timeframe{"hour": {60, 70}, "day": {1800, 70}, "week": {10800, 70}, "month": {43200, 70}, "year": {604800, 70}}
	timeframes9 = map[string]timeframe{"hour": {60, 60}, "day": {60, 1440}, "week": {1800, 336}, "month": {1800, 1440}, "year": {21600, 1440},
		"decade": {604800, 570}} // of nodes only
)

// History returns a time frame's rows; those without samples hold only the time. key is qemu/VMID or node/NAME.
func (c *Cluster) History(key, name string) []map[string]any {
	frames := timeframes9
	if c.Major == 8 {
		frames = timeframes8
	}
	frame := frames[name]
	if frame.step == 0 {
		frame = frames["hour"]
	}
	end := c.Now().Unix() / frame.step * frame.step
	c.status.mu.RLock()
	defer c.status.mu.RUnlock()
	history := c.status.rrd[key]
	rows := make([]map[string]any, 0, frame.rows)
	for at := end - frame.step*(frame.rows-1); at <= end; at += frame.step {
		row := map[string]any{"time": at}
		if history != nil {
			for name, value := range history.between(at, at+frame.step) {
				row[name] = value
			}
		}
		rows = append(rows, row)
	}
	return rows
}

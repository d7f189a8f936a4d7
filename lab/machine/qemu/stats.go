package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"gantry/lab/machine"
)

// ticksPerSecond is USER_HZ, in which /proc counts CPU time; it is 100 on every Linux that Go runs on.
const ticksPerSecond = 100

// cpuSample is a point on the guest's CPU clock.
type cpuSample struct {
	at   time.Time
	used time.Duration
}

// Stats samples the guest. CPU and memory are QEMU's as the node's kernel counts them; NICs in user mode have no counters
// and are left out.
func (p *Process) Stats(ctx context.Context) (machine.Stats, error) {
	process, err := readProcess(p.pid)
	if err != nil {
		return machine.Stats{}, p.explain("read process", err)
	}
	stats := machine.Stats{
		Started: process.started,
		CPU:     p.cpuShare(process.used),
		// QEMU needs some memory of its own, above all under TCG; a guest never shows more than it was given.
		MemoryBytes: min(process.resident, int64(p.spec.MemoryMB)<<20),
		NICs:        map[string]machine.NICStats{},
	}
	if stats.DiskReadBytes, stats.DiskWrittenBytes, err = p.diskBytes(ctx); err != nil {
		return machine.Stats{}, err
	}
	for _, nic := range p.spec.NICs {
		// What the guest receives, the node sends into the tap.
		in, inErr := interfaceCounter(nic.Tap, "tx_bytes")
		out, outErr := interfaceCounter(nic.Tap, "rx_bytes")
		if inErr == nil && outErr == nil {
			stats.NICs[p.nodeTap(nic.Tap)] = machine.NICStats{In: in, Out: out}
		}
	}
	return stats, nil
}

// cpuShare is the share of the guest's CPUs used since the last sample.
func (p *Process) cpuShare(used time.Duration) float64 {
	p.statsMu.Lock()
	defer p.statsMu.Unlock()
	now := cpuSample{at: time.Now(), used: used}
	last := p.lastSample
	p.lastSample = now
	elapsed := now.at.Sub(last.at)
	if last.at.IsZero() || elapsed <= 0 {
		return 0
	}
	share := float64(used-last.used) / float64(elapsed) / float64(cpus(p.spec))
	return max(0, min(1, share))
}

// diskBytes sums the counters of all drives.
func (p *Process) diskBytes(ctx context.Context) (read, written int64, err error) {
	answer, err := p.execute(ctx, "query-blockstats", nil)
	if err != nil {
		return 0, 0, err
	}
	var drives []struct {
		Device string `json:"device"`
		Stats  struct {
			Read    int64 `json:"rd_bytes"`
			Written int64 `json:"wr_bytes"`
		} `json:"stats"`
	}
	if err := json.Unmarshal(answer, &drives); err != nil {
		return 0, 0, fmt.Errorf("QMP query-blockstats: %w", err)
	}
	for _, drive := range drives {
		read += drive.Stats.Read
		written += drive.Stats.Written
	}
	return read, written, nil
}

func interfaceCounter(name, counter string) (int64, error) {
	if !interfaceName.MatchString(name) {
		return 0, errors.New("no interface")
	}
	content, err := os.ReadFile(filepath.Join("/sys/class/net", name, "statistics", counter))
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(content)), 10, 64)
}

// processInfo is what is used of /proc/PID/stat (proc(5)).
type processInfo struct {
	started  time.Time
	used     time.Duration
	resident int64 // bytes
}

func readProcess(pid int) (processInfo, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return processInfo{}, err
	}
	// The second field is the program's name in parentheses and may hold anything; fields are counted from 3 behind it.
	_, rest, found := strings.Cut(string(content), ") ")
	fields := strings.Fields(rest)
	if !found || len(fields) < 22 {
		return processInfo{}, fmt.Errorf("unreadable /proc/%d/stat", pid)
	}
	number := func(field int) int64 {
		n, _ := strconv.ParseInt(fields[field-3], 10, 64)
		return n
	}
	booted, err := bootTime()
	if err != nil {
		return processInfo{}, err
	}
	const tick = time.Second / ticksPerSecond
	return processInfo{
		started:  booted.Add(time.Duration(number(22)) * tick),
		used:     time.Duration(number(14)+number(15)) * tick,
		resident: number(24) * int64(os.Getpagesize()),
	}, nil
}

// bootTime is when this node's kernel started.
func bootTime() (time.Time, error) {
	content, err := os.ReadFile("/proc/stat")
	if err != nil {
		return time.Time{}, err
	}
	for line := range strings.Lines(string(content)) {
		if value, found := strings.CutPrefix(line, "btime "); found {
			seconds, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return time.Unix(seconds, 0), err
		}
	}
	return time.Time{}, errors.New("no btime in /proc/stat")
}

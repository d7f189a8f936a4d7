package libvirt

import (
	"context"
	"fmt"
	"strings"

	golibvirt "github.com/digitalocean/go-libvirt"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// Status takes five calls. Raw has the keys of PVE's status/current, as far as libvirt knows them: bytes, seconds, parts of a processor.
func (d *driver) Status(ctx context.Context, ref hypervisor.GuestRef) (hypervisor.Status, error) {
	g, err := d.load(ctx, ref.ID)
	if err != nil {
		return hypervisor.Status{}, err
	}
	records, err := d.stats(ctx, []golibvirt.Domain{g.domain})
	if err != nil {
		return hypervisor.Status{}, err
	}
	row := statsRow{}
	if len(records) > 0 {
		row = rowOf(records[0].Params)
	}
	summary := row.summary()
	out := hypervisor.Status{Power: g.power()}
	state := "stopped"
	if powerOf(g.state) != hypervisor.PowerStopped {
		state = "running"
	}
	out.Raw = map[string]any{
		"vmid": g.id, "name": g.name(), "status": state, "qmpstatus": string(out.Power), "cpus": summary.CPUs,
		"mem": summary.MemoryUsed, "maxmem": summary.MemoryTotal, "maxdisk": summary.DiskTotal, "disk": int64(0),
		"netin": summary.NetIn, "netout": summary.NetOut, "diskread": row.sum("block", "rd.bytes"), "diskwrite": row.sum("block", "wr.bytes"),
		"cputime": float64(row.number("cpu.time")) / 1e9, "uuid": g.owner(),
	}
	if hasAgent(&g.config) {
		out.Raw["agent"] = 1
	}
	if lock := g.lock(); lock != "" {
		out.Raw["lock"] = lock
	}
	return out, nil
}

// Config takes three calls, and one more for a guest that is off. It holds no secret: what could be one is on the cloud-init drive.
func (d *driver) Config(ctx context.Context, ref hypervisor.GuestRef) (map[string]any, error) {
	g, err := d.load(ctx, ref.ID)
	if err != nil {
		return nil, err
	}
	sockets, cores := topology(&g.config)
	out := map[string]any{
		"name": g.name(), "uuid": g.owner(), "sockets": sockets, "cores": cores, "description": g.config.Description, "type": g.config.Type,
		"ostype": g.record.OS,
	}
	if g.record.CPU != "" {
		out["cpu"] = g.record.CPU
	}
	if g.config.OS != nil && g.config.OS.Type != nil {
		out["arch"], out["machine"] = g.config.OS.Type.Arch, g.config.OS.Type.Machine
	}
	if g.config.Memory != nil {
		out["memory"] = memoryBytes(g) >> 20
	}
	if limit := limitsOf(&g.config); limit.CPUPercent != broker.Unlimited {
		out["cpulimit"] = float64(limit.CPUPercent) * float64(sockets*cores) / 100
	}
	for _, disk := range g.disks() {
		volume, err := d.volumeOf(ctx, g, disk.path)
		if err != nil {
			return nil, err
		}
		out[disk.key] = volume
	}
	for i, nic := range g.nics() {
		out[fmt.Sprintf("net%d", i)] = nic
	}
	autostart, err := read(ctx, d.client, func(l *rpc) (int32, error) { return l.DomainGetAutostart(g.domain) })
	if err != nil {
		return nil, err
	}
	out["onboot"] = autostart
	return out, nil
}

func memoryBytes(g *guest) int64 {
	units := map[string]uint{"": 10, "KiB": 10, "k": 10, "MiB": 20, "M": 20, "GiB": 30, "G": 30, "b": 0, "bytes": 0}
	return int64(g.config.Memory.Value) << units[g.config.Memory.Unit]
}

func (g *guest) nics() []string {
	var out []string
	if g.config.Devices == nil {
		return nil
	}
	for _, nic := range g.config.Devices.Interfaces {
		parts := []string{}
		if nic.Model != nil && nic.MAC != nil {
			parts = append(parts, nic.Model.Type+"="+nic.MAC.Address)
		}
		switch {
		case nic.Source != nil && nic.Source.Network != nil:
			parts = append(parts, "network="+nic.Source.Network.Network)
		case nic.Source != nil && nic.Source.Bridge != nil:
			parts = append(parts, "bridge="+nic.Source.Bridge.Bridge)
		}
		if nic.FilterRef != nil {
			parts = append(parts, "filter="+nic.FilterRef.Filter)
		}
		out = append(out, strings.Join(parts, ","))
	}
	return out
}

// History is kept by nobody here: libvirt has only the present.
func (d *driver) History(context.Context, hypervisor.GuestRef, string, string) ([]hypervisor.Sample, error) {
	return nil, noHistory()
}

// NodeHistory is as History.
func (d *driver) NodeHistory(context.Context, string, string, string) ([]hypervisor.Sample, error) {
	return nil, noHistory()
}

func noHistory() error {
	return unsupported("history: libvirt knows only the present")
}

// NodeStatus takes four calls. The keys are those of PVE's node status.
func (d *driver) NodeStatus(ctx context.Context, node string) (map[string]any, error) {
	facts, err := d.atNode(ctx, node)
	if err != nil {
		return nil, err
	}
	info, err := d.nodeInfo(ctx)
	if err != nil {
		return nil, err
	}
	memory, err := d.nodeMemory(ctx)
	if err != nil {
		return nil, err
	}
	version, err := d.version(ctx)
	if err != nil {
		return nil, err
	}
	hypervisorVersion, err := read(ctx, d.client, (*rpc).ConnectGetVersion)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"cpuinfo": map[string]any{"cpus": info.cpus, "sockets": info.sockets, "cores": info.cores * info.sockets, "mhz": info.mhz, "model": info.model},
		"memory": map[string]any{
			"total": info.memory, "free": memory["free"], "used": max(info.memory-memory["free"]-memory["buffers"]-memory["cached"], 0),
		},
		"libvirt": version, "qemu": versionText(hypervisorVersion), "arch": facts.machine.native,
	}, nil
}

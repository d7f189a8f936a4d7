package api

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	"gantry/lab/apierror"
	"gantry/lab/cluster"
)

var nodeRoutes = map[string]handler{
	"GET /version":              version,
	"GET /nodes":                listNodes,
	"GET /nodes/{node}":         nodeIndex,
	"GET /nodes/{node}/version": version,
	"GET /nodes/{node}/status":  nodeStatus,
	"GET /nodes/{node}/rrddata": func(r *Request) (any, error) {
		return r.Cluster.History("node/"+r.Node, r.Params.Str("timeframe")), nil
	},
	"GET /nodes/{node}/network":         listNetworks,
	"GET /nodes/{node}/network/{iface}": getNetwork,
	"GET /nodes/{node}/dns":             func(*Request) (any, error) { return map[string]string{"dns1": "127.0.0.1", "search": "lab.local"}, nil },
	"GET /nodes/{node}/hosts":           hosts,
	"GET /nodes/{node}/time":            nodeTime,
	"GET /nodes/{node}/subscription":    subscription,
	"GET /nodes/{node}/services":        empty,
	"GET /nodes/{node}/aplinfo":         empty,
	"GET /nodes/{node}/syslog": func(*Request) (any, error) {
		return paged{Data: []any{map[string]any{"n": 1, "t": "-- No entries --"}}, Total: 1}, nil
	},
	"GET /nodes/{node}/capabilities":               func(*Request) (any, error) { return named("name", "qemu"), nil },
	"GET /nodes/{node}/capabilities/qemu":          func(*Request) (any, error) { return named("name", "cpu", "machines"), nil },
	"GET /nodes/{node}/capabilities/qemu/cpu":      cpuModels,
	"GET /nodes/{node}/capabilities/qemu/machines": machineTypes,
}

func empty(*Request) (any, error) { return []any{}, nil }

func version(r *Request) (any, error) {
	if r.Cluster.Major == 8 {
		return map[string]string{"version": "8.4.1", "release": "8.4", "repoid": "2a5fa54a8503f96d"}, nil
	}
	return map[string]string{"version": "9.2.11", "release": "9.2", "repoid": "14a22df35955d97d"}, nil
}

func nodeIndex(r *Request) (any, error) {
	return named("name", "aplinfo", "capabilities", "dns", "firewall", "hosts", "network", "qemu", "rrddata", "services", "status", "storage",
		"subscription", "tasks", "time", "version"), nil
}

// nodeRow is a node in lists. Those without Sys.Audit see only that it is there.
func (r *Request) nodeRow(node string) map[string]any {
	row := map[string]any{"node": node, "id": "node/" + node, "type": "node", "status": "online"}
	if r.Cluster.Faults.Down(node) != "" {
		row["status"] = "offline"
		return row
	}
	row["level"] = ""
	if !r.has("/nodes/"+node, "Sys.Audit") {
		return row
	}
	status := r.Cluster.Node(node)
	row["cpu"], row["maxcpu"], row["mem"], row["maxmem"] = status.CPU, status.MaxCPU, status.Mem, status.MaxMem
	row["disk"], row["maxdisk"], row["uptime"] = status.Disk, status.MaxDisk, status.Uptime
	return row
}

func listNodes(r *Request) (any, error) {
	rows := []map[string]any{}
	for _, node := range r.Cluster.Nodes {
		row := r.nodeRow(node)
		row["ssl_fingerprint"] = r.Server.Fingerprint
		rows = append(rows, row)
	}
	return rows, nil
}

func nodeStatus(r *Request) (any, error) {
	status := r.Cluster.Node(r.Node)
	load := fmt.Sprintf("%.2f", status.LoadAverage)
	kernel, pve := "6.8.12-9-pve", "pve-manager/8.4.1/2a5fa54a8503f96d"
	if r.Cluster.Major >= 9 {
		kernel, pve = "6.17.4-1-pve", "pve-manager/9.2.11/14a22df35955d97d"
	}
	// PVE::ProcFSTools: the flags vmx and svm, as what a Perl match gives.
	hvm, flags := "1", "fpu vmx sse sse2 aes avx avx2"
	if r.Cluster.NoHVM {
		hvm, flags = "", "fpu sse sse2 aes avx avx2"
	}
	return map[string]any{
		"uptime": status.Uptime, "cpu": status.CPU, "wait": 0, "idle": 0, "loadavg": []string{load, load, load},
		"kversion": "Linux " + kernel + " #1 SMP PREEMPT_DYNAMIC", "pveversion": pve,
		"current-kernel": map[string]string{"sysname": "Linux", "release": kernel, "version": "#1 SMP PREEMPT_DYNAMIC", "machine": "x86_64"},
		"boot-info":      map[string]any{"mode": "efi", "secureboot": 0},
		"cpuinfo": map[string]any{"cpus": status.MaxCPU, "cores": status.MaxCPU, "sockets": 1, "mhz": "2600.000", "user_hz": 100, "hvm": hvm,
			"model": "Lab Processor", "vendor": "GenuineIntel", "family": "6", "flags": flags},
		"memory": map[string]int64{"total": status.MaxMem, "used": status.Mem, "free": status.MaxMem - status.Mem,
			"available": status.MaxMem - status.Mem},
		"swap":   map[string]int64{"total": 0, "used": 0, "free": 0},
		"rootfs": map[string]int64{"total": status.MaxDisk, "used": status.Disk, "free": status.MaxDisk - status.Disk, "avail": status.MaxDisk - status.Disk},
		"ksm":    map[string]int64{"shared": 0},
	}, nil
}

func bridgeRow(bridge cluster.Bridge, priority int) map[string]any {
	row := map[string]any{"type": "bridge", "active": 1, "autostart": 1, "priority": priority, "bridge_ports": bridge.Ports,
		"bridge_stp": "off", "bridge_fd": "0", "families": []string{"inet"}, "method": "manual", "method6": "manual"}
	if bridge.VLANAware {
		row["bridge_vlan_aware"], row["bridge_vids"] = 1, "2-4094"
	}
	if prefix, err := netip.ParsePrefix(bridge.CIDR); err == nil {
		row["method"], row["cidr"], row["address"], row["netmask"] = "static", bridge.CIDR, prefix.Addr().String(), fmt.Sprint(prefix.Bits())
	}
	return row
}

func listNetworks(r *Request) (any, error) {
	rows := []map[string]any{}
	kind := r.Params.Str("type")
	for i, bridge := range r.Cluster.Bridges {
		if kind != "" && kind != "bridge" && kind != "any_bridge" && kind != "any_local_bridge" && kind != "include_sdn" {
			break
		}
		if !r.has("/nodes/"+r.Node, "Sys.Audit", "Sys.Modify") && !r.has("/sdn/zones/localnetwork/"+bridge.Name, "SDN.Audit", "SDN.Use") {
			continue
		}
		row := bridgeRow(bridge, i+3)
		row["iface"] = bridge.Name
		rows = append(rows, row)
	}
	return rows, nil
}

func getNetwork(r *Request) (any, error) {
	for i, bridge := range r.Cluster.Bridges {
		if bridge.Name == r.Params.Str("iface") {
			return bridgeRow(bridge, i+3), nil
		}
	}
	return nil, apierror.Param("iface", "interface does not exist")
}

func hosts(r *Request) (any, error) {
	address := "127.0.1.1"
	if len(r.Cluster.Bridges) > 0 {
		if prefix, err := netip.ParsePrefix(r.Cluster.Bridges[0].CIDR); err == nil {
			address = prefix.Addr().String()
		}
	}
	data := fmt.Sprintf("127.0.0.1 localhost\n%s %s.lab.local %s\n", address, r.Node, r.Node)
	sum := sha1.Sum([]byte(data))
	return map[string]string{"data": data, "digest": hex.EncodeToString(sum[:])}, nil
}

func nodeTime(r *Request) (any, error) {
	now := r.Cluster.Now().Unix()
	return map[string]any{"timezone": "UTC", "time": now, "localtime": now}, nil
}

func subscription(r *Request) (any, error) {
	var server any
	if r.Cluster.Major == 8 {
		sum := sha1.Sum([]byte(r.Server.Fingerprint + r.Node))
		server = strings.ToUpper(hex.EncodeToString(sum[:16]))
	}
	return map[string]any{"status": "notfound", "message": "There is no subscription key", "serverid": server,
		"url": "https://www.proxmox.com/en/proxmox-virtual-environment/pricing"}, nil
}

// models are QEMU's CPU models by vendor, as qemu-server lists them.
var models = map[string]string{
	"default":      "kvm32 kvm64 qemu32 qemu64 max host x86-64-v2 x86-64-v2-AES x86-64-v3 x86-64-v4",
	"AuthenticAMD": "athlon phenom Opteron_G1 Opteron_G2 Opteron_G3 Opteron_G4 Opteron_G5 EPYC EPYC-IBPB EPYC-v3 EPYC-v4 EPYC-Rome EPYC-Rome-v2 EPYC-Rome-v3 EPYC-Rome-v4 EPYC-Milan EPYC-Milan-v2 EPYC-Genoa",
	"GenuineIntel": "486 pentium pentium2 pentium3 coreduo core2duo Conroe Penryn Nehalem Nehalem-IBRS Westmere Westmere-IBRS SandyBridge SandyBridge-IBRS IvyBridge IvyBridge-IBRS Haswell Haswell-IBRS Haswell-noTSX Haswell-noTSX-IBRS Broadwell Broadwell-IBRS Broadwell-noTSX Broadwell-noTSX-IBRS Skylake-Client Skylake-Client-IBRS Skylake-Client-noTSX-IBRS Skylake-Client-v4 Skylake-Server Skylake-Server-IBRS Skylake-Server-noTSX-IBRS Skylake-Server-v4 Skylake-Server-v5 Cascadelake-Server Cascadelake-Server-v2 Cascadelake-Server-noTSX Cascadelake-Server-v4 Cascadelake-Server-v5 Cooperlake Cooperlake-v2 KnightsMill Icelake-Server Icelake-Server-noTSX Icelake-Server-v3 Icelake-Server-v4 Icelake-Server-v5 Icelake-Server-v6 SapphireRapids SapphireRapids-v2 GraniteRapids",
}

func cpuModels(r *Request) (any, error) {
	rows := []map[string]any{}
	for _, vendor := range []string{"default", "AuthenticAMD", "GenuineIntel"} {
		for _, name := range strings.Fields(models[vendor]) {
			rows = append(rows, map[string]any{"name": name, "vendor": vendor, "custom": 0})
		}
	}
	return rows, nil
}

func machineTypes(r *Request) (any, error) {
	rows := []map[string]any{}
	for _, release := range []string{r.Cluster.MachineVersion(), "9.0", "8.2", "8.1", "8.0", "7.2", "7.1", "7.0", "6.2", "6.1", "6.0"} {
		for kind, prefix := range map[string]string{"i440fx": "pc-i440fx-", "q35": "pc-q35-"} {
			rows = append(rows, map[string]any{"id": prefix + release, "type": kind, "version": release})
		}
	}
	return rows, nil
}

package api

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"gantry/lab/apierror"
	"gantry/lab/cluster"
	"gantry/lab/schema"
)

var clusterRoutes = map[string]handler{
	"GET /cluster": func(*Request) (any, error) {
		return named("name", "acme", "backup", "backup-info", "ceph", "config", "firewall", "ha", "jobs", "log", "mapping", "metrics", "nextid",
			"notifications", "options", "replication", "resources", "sdn", "status", "tasks"), nil
	},
	"GET /cluster/resources":             resources,
	"GET /cluster/status":                clusterStatus,
	"GET /cluster/nextid":                nextID,
	"GET /cluster/options":               datacenterOptions,
	"PUT /cluster/options":               setDatacenterOptions,
	"GET /cluster/log":                   clusterLog,
	"GET /cluster/ha/status/current":     haStatus,
	"GET /cluster/ha/resources":          haResources,
	"POST /cluster/ha/resources":         addHA,
	"DELETE /cluster/ha/resources/{sid}": removeHA,
	"GET /cluster/replication":           empty,
	"GET /cluster/backup":                empty,
	"GET /cluster/config/nodes":          empty,
	"GET /cluster/config/join": func(*Request) (any, error) {
		return nil, &apierror.Error{Status: 424, Message: "node is not in a cluster, no join info available!"}
	},
}

func resources(r *Request) (any, error) {
	kind := r.Params.Str("type")
	rows := []map[string]any{}
	if kind == "" || kind == "vm" {
		rows = append(rows, r.guestResources()...)
	}
	if kind == "" || kind == "node" {
		for _, node := range r.Cluster.Nodes {
			row := r.nodeRow(node)
			if row["status"] == "online" {
				row["cgroup-mode"] = 2
			}
			rows = append(rows, row)
		}
	}
	if kind == "" || kind == "storage" {
		rows = append(rows, r.storageResources()...)
	}
	if kind == "" || kind == "sdn" || kind == "network" {
		rows = append(rows, r.zoneResources()...)
	}
	return rows, nil
}

func (r *Request) guestResources() []map[string]any {
	pools := map[int]string{}
	for name, pool := range r.Cluster.Pools() {
		for _, vmid := range pool.Guests {
			pools[vmid] = name
		}
	}
	rows := []map[string]any{}
	for _, guest := range sortedGuests(r.Cluster.Guests("")) {
		if r.has(vmPath(guest.VMID), "VM.Audit") {
			rows = append(rows, r.guestResource(guest, pools[guest.VMID]))
		}
	}
	return rows
}

// guestResource is what pvestatd said last about a guest; tags and lock come from the configuration at once.
func (r *Request) guestResource(guest *cluster.Guest, pool string) map[string]any {
	row := map[string]any{"id": fmt.Sprintf("qemu/%d", guest.VMID), "vmid": guest.VMID, "type": "qemu", "node": guest.Node, "status": "unknown"}
	tags, lock := guest.TagsAndLock()
	if tags != "" {
		row["tags"] = tags
	}
	if lock != "" {
		row["lock"] = lock
	}
	if pool != "" {
		row["pool"] = pool
	}
	status, known := r.Cluster.Broadcast(guest.VMID)
	if !known || status.Node != guest.Node {
		return row
	}
	row["name"], row["status"], row["template"] = status.Name, powerStatus(status), flag(status.Template)
	if r.Cluster.Faults.Down(guest.Node) != "" {
		row["status"] = "unknown"
	}
	row["maxcpu"], row["cpu"], row["maxmem"], row["mem"] = status.CPUs, status.CPU, status.MaxMem, status.Mem
	row["maxdisk"], row["disk"], row["uptime"] = status.MaxDisk, 0, status.Uptime
	row["netin"], row["netout"], row["diskread"], row["diskwrite"] = status.NetIn, status.NetOut, status.DiskRead, status.DiskWrite
	if r.Cluster.Major >= 9 {
		row["memhost"] = status.Mem
	}
	return row
}

func (r *Request) storageResources() []map[string]any {
	rows := []map[string]any{}
	for _, node := range r.Cluster.Nodes {
		for _, definition := range r.Cluster.StorageList() {
			if !definition.OnNode(node) || !r.has("/storage/"+definition.ID, "Datastore.Audit", "Datastore.AllocateSpace") {
				continue
			}
			total, used, _ := r.Cluster.Usage(node, &definition)
			status := "available"
			if r.Cluster.Faults.Down(node) != "" {
				status = "unknown"
			}
			rows = append(rows, map[string]any{"id": "storage/" + node + "/" + definition.ID, "type": "storage", "storage": definition.ID, "node": node,
				"status": status, "plugintype": definition.Type, "content": strings.Join(definition.Content, ","), "shared": flag(definition.IsShared()),
				"maxdisk": total, "disk": used})
		}
	}
	return rows
}

func (r *Request) zoneResources() []map[string]any {
	rows := []map[string]any{}
	for _, node := range r.Cluster.Nodes {
		if !r.has("/sdn/zones/localnetwork", "SDN.Audit", "SDN.Use") {
			continue
		}
		row := map[string]any{"id": "sdn/" + node + "/localnetwork", "type": "sdn", "sdn": "localnetwork", "node": node, "status": "ok"}
		if r.Cluster.Major >= 9 {
			row = map[string]any{"id": "network/" + node + "/zone/localnetwork", "type": "network", "network": "localnetwork", "network-type": "zone",
				"zone-type": "simple", "node": node, "status": "ok"}
		}
		rows = append(rows, row)
	}
	return rows
}

func clusterStatus(r *Request) (any, error) {
	rows := []map[string]any{}
	if len(r.Cluster.Nodes) > 1 {
		rows = append(rows, map[string]any{"type": "cluster", "id": "cluster", "name": "lab", "nodes": len(r.Cluster.Nodes), "quorate": 1, "version": 1})
	}
	for i, node := range r.Cluster.Nodes {
		up := r.Cluster.Faults.Down(node) == ""
		rows = append(rows, map[string]any{"type": "node", "id": "node/" + node, "name": node, "nodeid": i + 1, "ip": "127.0.0.1",
			"online": flag(up), "local": flag(i == 0), "level": ""})
	}
	return rows, nil
}

func nextID(r *Request) (any, error) {
	if r.Params.Has("vmid") {
		vmid := r.Params.Int("vmid", 0)
		if _, taken := r.Cluster.Where(vmid); taken {
			return nil, apierror.Param("vmid", "VM %d already exists", vmid)
		}
		return strconv.Itoa(vmid), nil
	}
	for vmid := 100; vmid <= 999_999_999; vmid++ {
		if _, taken := r.Cluster.Where(vmid); !taken {
			return strconv.Itoa(vmid), nil
		}
	}
	return nil, apierror.Die("unable to get any free VMID in range [100, 1000000]")
}

func datacenterOptions(r *Request) (any, error) {
	row := map[string]any{"mac_prefix": "BC:24:11", "description": ""}
	for name, value := range r.Cluster.DatacenterOptions() {
		row[name] = value
	}
	tags := map[string]bool{}
	for _, guest := range r.Cluster.Guests("") {
		list, _ := guest.TagsAndLock()
		for _, tag := range schema.SplitList(list) {
			tags[tag] = true
		}
	}
	row["allowed-tags"] = slices.Sorted(maps.Keys(tags))
	if len(tags) == 0 {
		row["allowed-tags"] = []string{}
	}
	return row, nil
}

func setDatacenterOptions(r *Request) (any, error) {
	r.Cluster.SetDatacenterOptions(r.Params.Texts("delete"), schema.SplitList(r.Params.Str("delete")))
	return nil, nil
}

// clusterLog lists starts and ends of tasks, the latest first.
func clusterLog(r *Request) (any, error) {
	rows := []map[string]any{}
	limit := r.Params.Int("max", 50)
	tasks := r.Cluster.Tasks.All("")
	for i, task := range tasks {
		if len(rows) >= limit {
			break
		}
		if !r.has("/", "Sys.Syslog") && !r.owns(task.UPID) {
			continue
		}
		number := 2 * (len(tasks) - i)
		add := func(at int64, number int, message string) {
			if len(rows) < limit {
				rows = append(rows, map[string]any{"uid": strconv.Itoa(number), "id": fmt.Sprintf("%d:%s", number, task.UPID.Node), "time": at,
					"msg": message, "node": task.UPID.Node, "user": task.UPID.User, "pid": 45, "pri": 6, "tag": "pvedaemon"})
			}
		}
		if state := task.State(); !state.Running {
			add(state.End, number, fmt.Sprintf("end task %s %s", task.Text, state.Exit))
		}
		add(task.UPID.StartTime, number-1, "starting task "+task.Text)
	}
	return rows, nil
}

func haStatus(r *Request) (any, error) {
	node := r.Cluster.Nodes[0]
	rows := []map[string]any{{"id": "quorum", "type": "quorum", "node": node, "quorate": 1, "status": "OK"}}
	if r.Cluster.Major >= 9 {
		rows = append(rows, map[string]any{"id": "fencing", "type": "fencing", "node": node, "armed-state": "standby",
			"status": "standby (CRM watchdog standby)"})
	}
	return rows, nil
}

func haResources(r *Request) (any, error) {
	rows := []map[string]any{}
	all := r.Cluster.HA()
	for _, sid := range slices.Sorted(maps.Keys(all)) {
		row := map[string]any{"sid": sid, "type": "vm", "digest": cluster.DigestOf(all)}
		for name, value := range all[sid] {
			row[name] = value
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// sid is vm:110, also for a plain 110.
func sid(text string) string {
	if _, err := strconv.Atoi(text); err == nil {
		return "vm:" + text
	}
	return text
}

func addHA(r *Request) (any, error) {
	id := sid(r.Params.Str("sid"))
	vmid, err := strconv.Atoi(strings.TrimPrefix(id, "vm:"))
	if err == nil {
		if _, found := r.Cluster.Where(vmid); !found {
			return nil, apierror.Die("cannot add service '%s' to HA - unable to find VM/CT %d", id, vmid)
		}
	}
	return nil, r.Cluster.EditHA(func(all map[string]map[string]string) error {
		if all[id] != nil {
			return apierror.Die("create resource failed: resource ID '%s' already defined", id)
		}
		all[id] = r.Params.Texts("sid", "type")
		return nil
	})
}

func removeHA(r *Request) (any, error) {
	id := sid(r.Params.Str("sid"))
	return nil, r.Cluster.EditHA(func(all map[string]map[string]string) error {
		if all[id] == nil {
			return apierror.Die("cannot delete service '%s', not HA managed!", id)
		}
		delete(all, id)
		return nil
	})
}

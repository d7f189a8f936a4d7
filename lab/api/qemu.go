package api

import (
	"cmp"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"

	"gantry/lab/access"
	"gantry/lab/apierror"
	"gantry/lab/cluster"
	"gantry/lab/guestconf"
	"gantry/lab/schema"
)

var qemuRoutes = map[string]handler{
	"GET /nodes/{node}/qemu":                       listGuests,
	"POST /nodes/{node}/qemu":                      createGuest,
	"GET /nodes/{node}/qemu/{vmid}":                guestIndex,
	"DELETE /nodes/{node}/qemu/{vmid}":             destroyGuest,
	"GET /nodes/{node}/qemu/{vmid}/config":         getConfig,
	"PUT /nodes/{node}/qemu/{vmid}/config":         putConfig,
	"POST /nodes/{node}/qemu/{vmid}/config":        postConfig,
	"GET /nodes/{node}/qemu/{vmid}/pending":        getPending,
	"GET /nodes/{node}/qemu/{vmid}/status":         statusIndex,
	"GET /nodes/{node}/qemu/{vmid}/status/current": currentStatus,
	"GET /nodes/{node}/qemu/{vmid}/rrddata":        guestHistory,
	"GET /nodes/{node}/qemu/{vmid}/cloudinit":      cloudinitPending,
	"PUT /nodes/{node}/qemu/{vmid}/cloudinit":      cloudinitRegenerate,
	"GET /nodes/{node}/qemu/{vmid}/cloudinit/dump": cloudinitDump,
	"GET /nodes/{node}/lxc":                        func(*Request) (any, error) { return []any{}, nil },
}

func vmPath(vmid int) string { return "/vms/" + strconv.Itoa(vmid) }

// rootOnly refuses parameters that only root@pam (no token) may use.
func rootOnly(r *Request, names ...string) error {
	problems := map[string]string{}
	for _, name := range names {
		if r.Params.Has(name) && r.Params.Str(name) != "0" && r.User != access.Root {
			problems[name] = "Only root may use this option."
		}
	}
	if len(problems) > 0 {
		return apierror.Params(problems)
	}
	return nil
}

func guestIndex(*Request) (any, error) {
	return subdirs("config", "cloudinit", "pending", "status", "unlink", "vncproxy", "termproxy", "migrate", "resize", "move", "rrd",
		"rrddata", "monitor", "agent", "snapshot", "spiceproxy", "sendkey", "firewall", "mtunnel", "remote_migrate"), nil
}

func statusIndex(*Request) (any, error) {
	return subdirs("current", "start", "stop", "reset", "shutdown", "suspend", "reboot"), nil
}

func listGuests(r *Request) (any, error) {
	rows := []map[string]any{}
	for _, guest := range sortedGuests(r.Cluster.Guests(r.Node)) {
		if !r.has(vmPath(guest.VMID), "VM.Audit") {
			continue
		}
		status := guest.Status(r)
		row := r.statusRow(status)
		if r.Params.Flag("full") {
			row["qmpstatus"] = qmpStatus(status)
			r.runningDetails(row, status)
		}
		if status.Template {
			row["template"] = 1
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func sortedGuests(guests []*cluster.Guest) []*cluster.Guest {
	slices.SortFunc(guests, func(a, b *cluster.Guest) int { return cmp.Compare(a.VMID, b.VMID) })
	return guests
}

func qmpStatus(status cluster.Status) string {
	switch {
	case !status.Running:
		return "stopped"
	case status.Paused:
		return "paused"
	}
	return "running"
}

func powerStatus(status cluster.Status) string {
	if status.Running {
		return "running"
	}
	return "stopped"
}

// statusRow is what the list of guests and the current status share.
func (r *Request) statusRow(status cluster.Status) map[string]any {
	row := map[string]any{"vmid": status.VMID, "name": status.Name, "status": powerStatus(status), "cpus": status.CPUs, "cpu": status.CPU,
		"maxmem": status.MaxMem, "mem": status.Mem, "maxdisk": status.MaxDisk, "disk": 0, "uptime": status.Uptime,
		"netin": status.NetIn, "netout": status.NetOut}
	if r.Cluster.Major == 8 || status.Running {
		row["diskread"], row["diskwrite"] = status.DiskRead, status.DiskWrite
	}
	if r.Cluster.Major >= 9 {
		row["memhost"] = status.Mem
		if status.Running {
			for _, what := range []string{"cpu", "io", "memory"} {
				row["pressure"+what+"some"], row["pressure"+what+"full"] = 0, 0
			}
		}
	}
	if status.Running {
		row["pid"] = status.PID
	}
	if status.Tags != "" {
		row["tags"] = status.Tags
	}
	if status.Lock != "" {
		row["lock"] = status.Lock
	}
	if status.Serial {
		row["serial"] = 1
	}
	if status.BalloonMin > 0 {
		row["balloon_min"], row["shares"] = status.BalloonMin, status.Shares
	}
	return row
}

func currentStatus(r *Request) (any, error) {
	guest, err := r.Cluster.Guest(r.Node, r.VMID)
	if err != nil {
		return nil, err
	}
	status := guest.Status(r)
	row := r.statusRow(status)
	row["qmpstatus"] = qmpStatus(status)
	row["ha"] = map[string]any{"managed": 0}
	if resource, managed := r.Cluster.HA()["vm:"+strconv.Itoa(r.VMID)]; managed {
		row["ha"] = map[string]any{"managed": 1, "state": cmp.Or(resource["state"], "started")}
	}
	if status.Agent {
		row["agent"] = 1
	}
	if status.Template {
		row["template"] = 1
	}
	r.runningDetails(row, status)
	return row, nil
}

// runningDetails are what QEMU itself is asked for.
func (r *Request) runningDetails(row map[string]any, status cluster.Status) {
	if !status.Running {
		return
	}
	nics := map[string]any{}
	for tap, nic := range status.NICs {
		nics[tap] = map[string]int64{"netin": nic.In, "netout": nic.Out}
	}
	row["nics"] = nics
	row["running-machine"], row["running-qemu"] = "pc-i440fx-"+r.Cluster.MachineVersion(), r.Cluster.QEMUVersion()
	row["proxmox-support"] = map[string]any{"pbs-library-version": "1.5.1", "query-bitmap-info": true, "backup-max-workers": true}
	blocks := map[string]any{}
	for i, key := range status.Drives {
		blocks[key] = blockStatistics(status, i == 0)
	}
	row["blockstat"] = blocks
}

func blockStatistics(status cluster.Status, first bool) map[string]any {
	row := map[string]any{"account_failed": true, "account_invalid": true, "timed_stats": []any{}}
	for _, kind := range []string{"rd", "wr", "flush", "unmap"} {
		row[kind+"_operations"], row[kind+"_total_time_ns"] = 0, 0
		row["failed_"+kind+"_operations"], row["invalid_"+kind+"_operations"] = 0, 0
	}
	for _, kind := range []string{"rd", "wr", "unmap"} {
		row[kind+"_bytes"], row[kind+"_merged"] = 0, 0
	}
	row["wr_highest_offset"] = 0
	if first {
		row["rd_bytes"], row["wr_bytes"] = status.DiskRead, status.DiskWrite
		row["rd_operations"], row["wr_operations"] = status.DiskRead/4096, status.DiskWrite/4096
	}
	return row
}

// typed gives option values the JSON type that their schema has: integers and booleans are numbers, all else is text.
func (s *Server) typed(key, value string) any {
	property := s.options.Property(key)
	if key == "snaptime" || (property != nil && (property.Type == "integer" || property.Type == "boolean")) {
		if number, err := strconv.ParseInt(value, 10, 64); err == nil {
			return number
		}
	}
	return value
}

func getConfig(r *Request) (any, error) {
	guest, err := r.Cluster.Guest(r.Node, r.VMID)
	if err != nil {
		return nil, err
	}
	conf := guest.Config()
	values := conf.Effective()
	if r.Params.Flag("current") {
		values = conf.Values
	}
	if name := r.Params.Str("snapshot"); name != "" {
		snapshot, known := conf.Snapshots[name]
		if !known {
			return nil, apierror.Die("snapshot '%s' does not exist", name)
		}
		values = snapshot
	}
	row := map[string]any{"digest": conf.Digest()}
	for key, value := range values {
		if key == "cipassword" {
			value = "**********"
		}
		row[key] = r.Server.typed(key, value)
	}
	return row, nil
}

func getPending(r *Request) (any, error) {
	guest, err := r.Cluster.Guest(r.Node, r.VMID)
	if err != nil {
		return nil, err
	}
	conf := guest.Config()
	conf.Values["digest"] = conf.Digest()
	keys := map[string]bool{}
	for key := range conf.Values {
		keys[key] = true
	}
	for key := range conf.Pending {
		keys[key] = true
	}
	rows := []map[string]any{}
	show := func(key, value string) any {
		if key == "cipassword" {
			return "**********"
		}
		return r.Server.typed(key, value)
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		row := map[string]any{"key": key}
		if value, set := conf.Values[key]; set {
			row["value"] = show(key, value)
		}
		if value, pending := conf.Pending[key]; pending {
			row["pending"] = show(key, value)
		}
		if force, removed := conf.PendingDelete[key]; removed {
			row["delete"] = 1 + flag(force)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func putConfig(r *Request) (any, error) {
	update, err := parseUpdate(r)
	if err != nil {
		return nil, err
	}
	return nil, r.Cluster.Apply(r, nil, r.Node, r.VMID, update)
}

func postConfig(r *Request) (any, error) {
	update, err := parseUpdate(r)
	if err != nil {
		return nil, err
	}
	guest, err := r.Cluster.Guest(r.Node, r.VMID)
	if err != nil {
		return nil, err
	}
	if err := guest.CheckUpdate(update); err != nil {
		return nil, err
	}
	return r.Cluster.ApplyTask(r.Node, r.VMID, update), nil
}

func parseUpdate(r *Request) (cluster.Update, error) {
	if err := rootOnly(r, "skiplock"); err != nil {
		return cluster.Update{}, err
	}
	known := func(name string) bool {
		return r.Server.options.Property(name) != nil || name == "lock" || internalOption(name) || guestconf.IsUnused(name)
	}
	changed := map[string]string{}
	for name, value := range r.Params.Texts("node", "vmid", "digest", "force", "skiplock", "background_delay", "import-working-storage") {
		changed[name] = value
	}
	for _, list := range []string{"delete", "revert"} {
		for _, name := range schema.SplitList(changed[list]) {
			changed[name] = ""
		}
		delete(changed, list)
	}
	if err := r.mayConfigure(changed, false); err != nil {
		return cluster.Update{}, err
	}
	return r.Cluster.ParseUpdate(r.Node, r.User, r.Params, known)
}

func createGuest(r *Request) (any, error) {
	pool := r.Params.Str("pool")
	allowed := r.has(vmPath(r.VMID), "VM.Allocate") || (pool != "" && r.has("/pool/"+pool, "VM.Allocate"))
	if pool != "" {
		if err := r.Cluster.PoolExists(pool); err != nil {
			return nil, err
		}
	}
	if !allowed {
		return nil, apierror.Forbidden("")
	}
	if err := r.mayConfigure(r.Params.Texts("node", "vmid", "pool", "start", "storage", "unique", "force", "archive", "bwlimit",
		"live-restore", "import-working-storage", "ha-managed"), true); err != nil {
		return nil, err
	}
	return r.Cluster.Create(r.User, r.Node, r.VMID, r.Params)
}

func destroyGuest(r *Request) (any, error) {
	if err := rootOnly(r, "skiplock"); err != nil {
		return nil, err
	}
	return r.Cluster.Destroy(r.Node, r.VMID, r.User, cluster.DestroyOptions{SkipLock: r.Params.Flag("skiplock"), Purge: r.Params.Flag("purge"),
		Unreferenced: r.Params.Flag("destroy-unreferenced-disks")})
}

func guestHistory(r *Request) (any, error) {
	if _, err := r.Cluster.Guest(r.Node, r.VMID); err != nil {
		folder := "pve-vm-9.0"
		if r.Cluster.Major == 8 {
			folder = "pve2-vm"
		}
		return nil, apierror.Die("RRD error: opening '/var/lib/rrdcached/db/%s/%d': No such file or directory", folder, r.VMID)
	}
	return r.Cluster.History("qemu/"+strconv.Itoa(r.VMID), r.Params.Str("timeframe")), nil
}

func cloudinitPending(r *Request) (any, error) {
	guest, err := r.Cluster.Guest(r.Node, r.VMID)
	if err != nil {
		return nil, err
	}
	conf := guest.Config()
	rows := []map[string]any{}
	keys := []string{}
	for key := range conf.Values {
		if guestconf.IsCloudinit(key) && !strings.HasPrefix(key, "ipconfig") { // PVE leaves ipconfigN out here
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)
	for _, key := range keys {
		row := map[string]any{"key": key}
		value, written := conf.Values[key], conf.Cloudinit[key]
		hide := func(text string) string {
			if key == "cipassword" {
				return "**********"
			}
			return text
		}
		row["value"] = hide(value)
		if len(conf.Cloudinit) > 0 && written != value {
			row["value"], row["pending"] = hide(written), hide(value)
			if written == "" {
				delete(row, "value")
			}
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func cloudinitRegenerate(r *Request) (any, error) {
	guest, err := r.Cluster.Guest(r.Node, r.VMID)
	if err != nil {
		return nil, err
	}
	return nil, r.Cluster.Locked(r, r.VMID, func() error { return guest.RegenerateCloudinit(r) })
}

func cloudinitDump(r *Request) (any, error) {
	guest, err := r.Cluster.Guest(r.Node, r.VMID)
	if err != nil {
		return nil, err
	}
	return guest.CloudinitDump(r.Params.Str("type")), nil
}

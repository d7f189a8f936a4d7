package api

import (
	"cmp"
	"slices"
	"strconv"

	"gantry/lab/apierror"
	"gantry/lab/cluster"
	"gantry/lab/schema"
)

const guestPath = " /nodes/{node}/qemu/{vmid}"

var diskRoutes = map[string]handler{
	"PUT" + guestPath + "/resize": func(r *Request) (any, error) {
		if err := rootOnly(r, "skiplock"); err != nil {
			return nil, err
		}
		return r.Cluster.Resize(r.Node, r.VMID, r.User, cluster.ResizeOptions{Key: r.Params.Str("disk"), Size: r.Params.Str("size"),
			Digest: r.Params.Str("digest"), SkipLock: r.Params.Flag("skiplock")}), nil
	},
	"POST" + guestPath + "/move_disk": moveDisk,
	"PUT" + guestPath + "/unlink": func(r *Request) (any, error) {
		return nil, r.Cluster.Unlink(r, r.Node, r.VMID, r.User, schema.SplitList(r.Params.Str("idlist")), r.Params.Flag("force"))
	},
	"POST" + guestPath + "/clone": cloneGuest,
	"POST" + guestPath + "/template": func(r *Request) (any, error) {
		return r.Cluster.Template(r.Node, r.VMID, r.User, r.Params.Str("disk"))
	},
	"GET" + guestPath + "/feature":             feature,
	"POST" + guestPath + "/migrate":            migrate,
	"GET" + guestPath + "/snapshot":            listSnapshots,
	"POST" + guestPath + "/snapshot":           makeSnapshot,
	"GET" + guestPath + "/snapshot/{snapname}": func(*Request) (any, error) { return named("cmd", "rollback", "config"), nil },
	"DELETE" + guestPath + "/snapshot/{snapname}": func(r *Request) (any, error) {
		return r.Cluster.DeleteSnapshot(r.Node, r.VMID, r.User, r.Params.Str("snapname"), r.Params.Flag("force")), nil
	},
	"GET" + guestPath + "/snapshot/{snapname}/config": snapshotConfig,
	"PUT" + guestPath + "/snapshot/{snapname}/config": func(r *Request) (any, error) {
		return nil, r.Cluster.DescribeSnapshot(r, r.Node, r.VMID, r.Params.Str("snapname"), r.Params.Str("description"))
	},
	"POST" + guestPath + "/snapshot/{snapname}/rollback": func(r *Request) (any, error) {
		return r.Cluster.Rollback(r.Node, r.VMID, r.User, r.Params.Str("snapname"), r.Params.Flag("start")), nil
	},
}

func moveDisk(r *Request) (any, error) {
	key, id, other := r.Params.Str("disk"), r.Params.Str("storage"), r.Params.Int("target-vmid", 0)
	switch {
	case id != "" && other != 0:
		return nil, apierror.Params(map[string]string{"storage": "Cannot specify both 'storage' and 'target-vmid'",
			"target-vmid": "Cannot specify both 'storage' and 'target-vmid'"})
	case id != "":
		if err := r.need("/storage/"+id, "Datastore.AllocateSpace"); err != nil {
			return nil, err
		}
		return r.Cluster.MoveDisk(r.Node, r.VMID, r.User, key, id, r.Params.Str("format"), r.Params.Flag("delete"))
	case other != 0:
		if err := r.need(vmPath(other), "VM.Config.Disk"); err != nil {
			return nil, err
		}
		return r.Cluster.ReassignDisk(r.Node, r.VMID, r.User, key, other, cmp.Or(r.Params.Str("target-disk"), key))
	}
	return nil, apierror.Die("Provide either a 'storage' to move the disk to or a 'target-vmid' and 'target-disk' to move the disk to another VM")
}

func cloneGuest(r *Request) (any, error) {
	options := cluster.CloneOptions{NewID: r.Params.Int("newid", 0), Name: r.Params.Str("name"), Description: r.Params.Str("description"),
		Pool: r.Params.Str("pool"), Snapshot: r.Params.Str("snapname"), Storage: r.Params.Str("storage"), Format: r.Params.Str("format"),
		Target: r.Params.Str("target")}
	if r.Params.Has("full") {
		full := r.Params.Flag("full")
		options.Full = &full
	}
	if options.Pool != "" {
		if err := r.Cluster.PoolExists(options.Pool); err != nil {
			return nil, err
		}
	}
	if options.Storage != "" {
		if _, err := r.Cluster.Storage(options.Storage); err == nil {
			if err := r.need("/storage/"+options.Storage, "Datastore.AllocateSpace"); err != nil {
				return nil, err
			}
		}
	}
	return r.Cluster.Clone(r.Node, r.VMID, r.User, options)
}

func feature(r *Request) (any, error) {
	has, nodes, err := r.Cluster.HasFeature(r.Node, r.VMID, r.Params.Str("feature"), r.Params.Str("snapname"))
	if err != nil {
		return nil, err
	}
	return map[string]any{"hasFeature": flag(has), "nodes": nodes}, nil
}

func migrate(r *Request) (any, error) {
	if r.Params.Str("target") == r.Node {
		return nil, apierror.Param("target", "target is local node.")
	}
	return r.Cluster.Migrate(r.Node, r.VMID, r.User, r.Params.Str("target"), r.Params.Flag("online"))
}

func listSnapshots(r *Request) (any, error) {
	guest, err := r.Cluster.Guest(r.Node, r.VMID)
	if err != nil {
		return nil, err
	}
	conf := guest.Config()
	rows := []map[string]any{}
	for name, section := range conf.Snapshots {
		taken, _ := strconv.ParseInt(section["snaptime"], 10, 64)
		row := map[string]any{"name": name, "snaptime": taken, "description": section["description"], "vmstate": flag(section["vmstate"] != "")}
		if section["parent"] != "" {
			row["parent"] = section["parent"]
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b map[string]any) int {
		return cmp.Or(cmp.Compare(a["snaptime"].(int64), b["snaptime"].(int64)), cmp.Compare(a["name"].(string), b["name"].(string)))
	})
	current := map[string]any{"name": "current", "description": "You are here!", "running": flag(guest.Running()), "digest": conf.Digest()}
	if parent := conf.Values["parent"]; parent != "" {
		current["parent"] = parent
	}
	return append(rows, current), nil
}

func makeSnapshot(r *Request) (any, error) {
	return r.Cluster.Snapshot(r.Node, r.VMID, r.User, r.Params.Str("snapname"), r.Params.Str("description"), r.Params.Flag("vmstate"))
}

func snapshotConfig(r *Request) (any, error) {
	guest, err := r.Cluster.Guest(r.Node, r.VMID)
	if err != nil {
		return nil, err
	}
	section, known := guest.Config().Snapshots[r.Params.Str("snapname")]
	if !known {
		return nil, apierror.Die("snapshot '%s' does not exist", r.Params.Str("snapname"))
	}
	row := map[string]any{}
	for key, value := range section {
		row[key] = r.Server.typed(key, value)
	}
	return row, nil
}

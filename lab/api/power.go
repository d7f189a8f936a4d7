package api

import (
	"time"

	"gantry/lab/cluster"
)

const statusPath = " /nodes/{node}/qemu/{vmid}/status/"

var powerRoutes = map[string]handler{
	"POST" + statusPath + "start": func(r *Request) (any, error) {
		if err := rootOnly(r, "skiplock", "migratedfrom", "stateuri", "forcecpu"); err != nil {
			return nil, err
		}
		return r.Cluster.StartGuest(r.Node, r.VMID, r.User, buttonOptions(r)), nil
	},
	"POST" + statusPath + "stop": func(r *Request) (any, error) {
		if err := rootOnly(r, "skiplock", "keepActive", "migratedfrom"); err != nil {
			return nil, err
		}
		return r.Cluster.StopGuest(r.Node, r.VMID, r.User, buttonOptions(r)), nil
	},
	"POST" + statusPath + "shutdown": func(r *Request) (any, error) {
		if err := rootOnly(r, "skiplock", "keepActive"); err != nil {
			return nil, err
		}
		return r.Cluster.ShutdownGuest(r.Node, r.VMID, r.User, buttonOptions(r)), nil
	},
	"POST" + statusPath + "reboot": func(r *Request) (any, error) {
		return r.Cluster.RebootGuest(r.Node, r.VMID, r.User, buttonOptions(r))
	},
	"POST" + statusPath + "reset": func(r *Request) (any, error) {
		if err := rootOnly(r, "skiplock"); err != nil {
			return nil, err
		}
		return r.Cluster.ResetGuest(r.Node, r.VMID, r.User, buttonOptions(r))
	},
	"POST" + statusPath + "suspend": func(r *Request) (any, error) {
		if err := rootOnly(r, "skiplock"); err != nil {
			return nil, err
		}
		return r.Cluster.SuspendGuest(r.Node, r.VMID, r.User, buttonOptions(r))
	},
	"POST" + statusPath + "resume": func(r *Request) (any, error) {
		if err := rootOnly(r, "skiplock"); err != nil {
			return nil, err
		}
		return r.Cluster.ResumeGuest(r.Node, r.VMID, r.User, buttonOptions(r))
	},
}

func buttonOptions(r *Request) cluster.PowerOptions {
	return cluster.PowerOptions{SkipLock: r.Params.Flag("skiplock"), Timeout: time.Duration(r.Params.Int("timeout", 0)) * time.Second,
		Force: r.Params.Flag("forceStop"), Overrule: r.Params.Flag("overrule-shutdown"), ToDisk: r.Params.Flag("todisk")}
}

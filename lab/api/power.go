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
		return r.Cluster.StartGuest(r.Node, r.VMID, r.User, cluster.StartOptions{SkipLock: r.Params.Flag("skiplock")}), nil
	},
	"POST" + statusPath + "stop": func(r *Request) (any, error) {
		if err := rootOnly(r, "skiplock", "keepActive", "migratedfrom"); err != nil {
			return nil, err
		}
		return r.Cluster.StopGuest(r.Node, r.VMID, r.User, r.Params.Flag("overrule-shutdown")), nil
	},
	"POST" + statusPath + "shutdown": func(r *Request) (any, error) {
		if err := rootOnly(r, "skiplock", "keepActive"); err != nil {
			return nil, err
		}
		return r.Cluster.ShutdownGuest(r.Node, r.VMID, r.User, timeout(r), r.Params.Flag("forceStop")), nil
	},
	"POST" + statusPath + "reboot": func(r *Request) (any, error) {
		return r.Cluster.RebootGuest(r.Node, r.VMID, r.User, timeout(r))
	},
	"POST" + statusPath + "reset": func(r *Request) (any, error) {
		if err := rootOnly(r, "skiplock"); err != nil {
			return nil, err
		}
		return r.Cluster.ResetGuest(r.Node, r.VMID, r.User)
	},
	"POST" + statusPath + "suspend": func(r *Request) (any, error) {
		if err := rootOnly(r, "skiplock"); err != nil {
			return nil, err
		}
		return r.Cluster.SuspendGuest(r.Node, r.VMID, r.User, r.Params.Flag("todisk"))
	},
	"POST" + statusPath + "resume": func(r *Request) (any, error) {
		if err := rootOnly(r, "skiplock"); err != nil {
			return nil, err
		}
		return r.Cluster.ResumeGuest(r.Node, r.VMID, r.User)
	},
}

func timeout(r *Request) time.Duration {
	return time.Duration(r.Params.Int("timeout", 0)) * time.Second
}

package api

const guestPath = " /nodes/{node}/qemu/{vmid}"

var diskRoutes = map[string]handler{
	"PUT" + guestPath + "/resize": func(r *Request) (any, error) {
		if err := rootOnly(r, "skiplock"); err != nil {
			return nil, err
		}
		return r.Cluster.Resize(r.Node, r.VMID, r.User, r.Params.Str("disk"), r.Params.Str("size"), r.Params.Str("digest")), nil
	},
}

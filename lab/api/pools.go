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

var poolRoutes = map[string]handler{
	"GET /pools":             listPools,
	"POST /pools":            addPool,
	"PUT /pools":             editPool,
	"DELETE /pools":          removePool,
	"GET /pools/{poolid}":    getPool,
	"PUT /pools/{poolid}":    editPool,
	"DELETE /pools/{poolid}": removePool,
}

func listPools(r *Request) (any, error) {
	if name := r.Params.Str("poolid"); name != "" {
		if err := r.need("/pool/"+name, "Pool.Audit"); err != nil {
			return nil, err
		}
		row, err := getPool(r)
		if err != nil {
			return nil, err
		}
		row.(map[string]any)["poolid"] = name
		return []any{row}, nil
	}
	rows := []map[string]any{}
	pools := r.Cluster.Pools()
	for _, name := range slices.Sorted(maps.Keys(pools)) {
		if !r.has("/pool/"+name, "Pool.Audit") {
			continue
		}
		row := map[string]any{"poolid": name}
		if pools[name].Comment != "" {
			row["comment"] = pools[name].Comment
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func addPool(r *Request) (any, error) {
	name := r.Params.Str("poolid")
	return nil, r.Cluster.EditPools(func(pools map[string]*cluster.Pool) error {
		if pools[name] != nil {
			return apierror.Die("create pool failed: pool '%s' already exists", name)
		}
		pools[name] = &cluster.Pool{Comment: r.Params.Str("comment")}
		return nil
	})
}

func getPool(r *Request) (any, error) {
	name := r.Params.Str("poolid")
	pool, known := r.Cluster.Pools()[name]
	if !known {
		return nil, apierror.Die("pool '%s' does not exist", name)
	}
	members := []map[string]any{}
	for _, guest := range sortedGuests(r.Cluster.Guests("")) {
		if slices.Contains(pool.Guests, guest.VMID) && r.Params.Str("type") != "storage" {
			members = append(members, r.guestResource(guest, ""))
		}
	}
	for _, row := range r.storageResources() {
		if slices.Contains(pool.Storages, row["storage"].(string)) && r.Params.Str("type") != "qemu" {
			members = append(members, row)
		}
	}
	row := map[string]any{"members": members}
	if r.Method.Path == "/pools/{poolid}" {
		row["poolid"] = name
	}
	if pool.Comment != "" {
		row["comment"] = pool.Comment
	}
	return row, nil
}

func editPool(r *Request) (any, error) {
	name := r.Params.Str("poolid")
	remove := r.Params.Flag("delete")
	return nil, r.Cluster.EditPools(func(pools map[string]*cluster.Pool) error {
		pool := pools[name]
		if pool == nil {
			return apierror.Die("update pools failed: pool '%s' does not exist", name)
		}
		changed := *pool
		changed.Guests, changed.Storages = slices.Clone(pool.Guests), slices.Clone(pool.Storages)
		if r.Params.Has("comment") {
			changed.Comment = r.Params.Str("comment")
		}
		for _, text := range schema.SplitList(r.Params.Str("vms")) {
			vmid, _ := strconv.Atoi(text)
			if err := toggle(&changed.Guests, vmid, remove, "VM "+text); err != nil {
				return err
			}
		}
		for _, id := range schema.SplitList(r.Params.Str("storage")) {
			if err := toggle(&changed.Storages, id, remove, "Storage '"+id+"'"); err != nil {
				return err
			}
		}
		if other := memberElsewhere(pools, name, changed.Guests); other != "" && !remove && !r.Params.Flag("allow-move") {
			return apierror.Die("update pools failed: %s", other)
		}
		*pool = changed
		return nil
	})
}

func toggle[T comparable](list *[]T, member T, remove bool, what string) error {
	present := slices.Contains(*list, member)
	switch {
	case remove && !present:
		return apierror.Die("update pools failed: %s is not a pool member", what)
	case !remove && present:
		return apierror.Die("update pools failed: %s is already a pool member", what)
	case remove:
		*list = slices.DeleteFunc(*list, func(known T) bool { return known == member })
	default:
		*list = append(*list, member)
	}
	return nil
}

// memberElsewhere says that a guest is in another pool: a guest has one pool at most.
func memberElsewhere(pools map[string]*cluster.Pool, name string, guests []int) string {
	for other, pool := range pools {
		for _, vmid := range guests {
			if other != name && slices.Contains(pool.Guests, vmid) {
				return fmt.Sprintf("VM %d is already a pool member of '%s'", vmid, other)
			}
		}
	}
	return ""
}

func removePool(r *Request) (any, error) {
	name := r.Params.Str("poolid")
	exists := map[int]bool{}
	for _, guest := range r.Cluster.Guests("") {
		exists[guest.VMID] = true
	}
	return nil, r.Cluster.EditPools(func(pools map[string]*cluster.Pool) error {
		pool := pools[name]
		if pool == nil {
			return apierror.Die("delete pool failed: pool '%s' does not exist", name)
		}
		slices.Sort(pool.Guests)
		for _, vmid := range pool.Guests {
			if exists[vmid] {
				return apierror.Die("delete pool failed: pool '%s' is not empty (contains VM %d)", name, vmid)
			}
		}
		if len(pool.Storages) > 0 {
			return apierror.Die("delete pool failed: pool '%s' is not empty (contains storage '%s')", name, strings.Join(pool.Storages[:1], ""))
		}
		delete(pools, name)
		return nil
	})
}

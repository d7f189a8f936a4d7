package cluster

import (
	"slices"
	"strconv"
	"strings"

	"gantry/lab/apierror"
)

// Pool is a resource pool.
type Pool struct {
	Comment  string   `json:"comment,omitempty"`
	Guests   []int    `json:"guests,omitempty"`
	Storages []string `json:"storages,omitempty"`
}

func (p *Pool) clone() Pool {
	return Pool{Comment: p.Comment, Guests: slices.Clone(p.Guests), Storages: slices.Clone(p.Storages)}
}

// Pools returns copies of all pools by name.
func (c *Cluster) Pools() map[string]Pool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	pools := make(map[string]Pool, len(c.saved.Pools))
	for name, pool := range c.saved.Pools {
		pools[name] = pool.clone()
	}
	return pools
}

// EditPools changes the pools and saves them.
func (c *Cluster) EditPools(edit func(pools map[string]*Pool) error) error {
	c.mu.Lock()
	err := edit(c.saved.Pools)
	c.mu.Unlock()
	if err == nil {
		c.saveState()
	}
	return err
}

// PoolExists is PVE's check of a pool parameter.
func (c *Cluster) PoolExists(name string) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.saved.Pools[name] == nil {
		return apierror.Forbidden("pool '" + name + "' does not exist")
	}
	return nil
}

// PoolOf returns the pool of a guest, "" for none.
func (c *Cluster) PoolOf(vmid int) string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for name, pool := range c.saved.Pools {
		if slices.Contains(pool.Guests, vmid) {
			return name
		}
	}
	return ""
}

// poolOfPath finds the pool that gives rights on an ACL path.
func (c *Cluster) poolOfPath(path string) string {
	if number, ok := strings.CutPrefix(path, "/vms/"); ok {
		vmid, err := strconv.Atoi(number)
		if err != nil {
			return ""
		}
		return c.PoolOf(vmid)
	}
	id, ok := strings.CutPrefix(path, "/storage/")
	if !ok {
		return ""
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	for name, pool := range c.saved.Pools {
		if slices.Contains(pool.Storages, id) {
			return name
		}
	}
	return ""
}

func (c *Cluster) addToPool(name string, vmid int) {
	_ = c.EditPools(func(pools map[string]*Pool) error {
		if pool := pools[name]; pool != nil && !slices.Contains(pool.Guests, vmid) {
			pool.Guests = append(pool.Guests, vmid)
		}
		return nil
	})
}

// removeFromPools drops a destroyed guest from its pool.
func (c *Cluster) removeFromPools(vmid int) {
	name := c.PoolOf(vmid)
	if name == "" {
		return
	}
	_ = c.EditPools(func(pools map[string]*Pool) error {
		pool := pools[name]
		pool.Guests = slices.DeleteFunc(pool.Guests, func(member int) bool { return member == vmid })
		return nil
	})
}

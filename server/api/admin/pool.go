package admin

import (
	"context"

	"gantry/server/api/ams"
	"gantry/server/api/route"
	"gantry/server/broker"
)

func (c *Calls) poolRoutes() []route.Route {
	return []route.Route{
		route.Of(route.Route{
			Methods: post, Path: "/{adminPath}/insertIpPoolByMask", Auth: route.Admin, Name: "insertIpPoolByMask", Group: "ippool", Audit: true,
			Summary: "Makes an address pool with every usable address of the gateway's subnet.",
		}, c.insertPool),
		route.Of(route.Route{
			Methods: post, Path: "/{adminPath}/insertIpPoolByRange", Auth: route.Admin, Name: "insertIpPoolByRange", Group: "ippool", Audit: true,
			Summary: "Adds a range of addresses, both ends inclusive, to a pool.",
		}, c.insertRange),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/selectIpPoolList", Auth: route.Admin, Name: "selectIpPoolList", Group: "ippool",
			Summary: "Lists address pools with true counts.",
		}, c.listPools),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/selectIpListByPoolId", Auth: route.Admin, Name: "selectIpListByPoolId", Group: "ippool",
			Summary: "Lists the addresses of a pool.",
		}, c.listAddresses),
	}
}

// PoolRequest makes a pool.
type PoolRequest struct {
	Name    string `json:"poolName" rule:"required,max=100"`
	NodeID  int64  `json:"nodeId" rule:"required,min=1" doc:"node whose guests get the addresses"`
	Gateway string `json:"gateway" rule:"required,max=64"`
	Mask    int    `json:"mask" rule:"required,min=1,max=128" doc:"prefix length, e.g. 24"`
	DNS1    string `json:"dns1" rule:"required,max=64"`
	DNS2    string `json:"dns2" rule:"max=64"`
}

// Pool is an address pool on the wire.
type Pool struct {
	ID        int64  `json:"id"`
	Name      string `json:"name"`
	Gateway   string `json:"gateway"`
	Mask      int    `json:"mask"`
	DNS1      string `json:"dns1"`
	DNS2      string `json:"dns2"`
	Available int64  `json:"available"`
	Used      int64  `json:"used"`
	Disable   int64  `json:"disable" doc:"gateway and held back"`
	NodeID    int64  `json:"nodeid"`
	IPVersion int    `json:"ipVersion"`
}

func (c *Calls) pool(ctx context.Context, pool *broker.AddressPool) (Pool, error) {
	counts, err := c.Store.CountPool(ctx, pool.ID)
	return Pool{
		ID: pool.ID, Name: pool.Name, Gateway: pool.Gateway.String(), Mask: pool.Prefix, DNS1: pool.DNS1, DNS2: pool.DNS2,
		Available: counts.Free, Used: counts.Used, Disable: counts.Disabled, NodeID: pool.NodeID, IPVersion: pool.Version(),
	}, broker.Wrap(err, "count the pool")
}

func (c *Calls) insertPool(ctx context.Context, _ *route.Call, request PoolRequest) (Pool, error) {
	pool, err := c.Broker.AddPoolByMask(ctx, broker.PoolByMask{
		Name: request.Name, NodeID: request.NodeID, Gateway: request.Gateway, Mask: request.Mask, DNS1: request.DNS1, DNS2: request.DNS2,
	})
	if err != nil {
		return Pool{}, err
	}
	return c.pool(ctx, pool)
}

// RangeRequest adds a range.
type RangeRequest struct {
	PoolID  int64  `json:"poolId" rule:"required,min=1"`
	StartIP string `json:"startIp" rule:"required,max=64"`
	EndIP   string `json:"endIp" rule:"required,max=64"`
	DNS1    string `json:"dns1" rule:"max=64" doc:"default: as the pool"`
	DNS2    string `json:"dns2" rule:"max=64" doc:"default: as the pool"`
}

// RangeReply tells what was added.
type RangeReply struct {
	PoolID int64 `json:"poolId"`
	Count  int   `json:"count"`
}

func (c *Calls) insertRange(ctx context.Context, _ *route.Call, request RangeRequest) (RangeReply, error) {
	count, err := c.Broker.AddPoolRange(ctx, broker.PoolByRange{
		PoolID: request.PoolID, StartIP: request.StartIP, EndIP: request.EndIP, DNS1: request.DNS1, DNS2: request.DNS2,
	})
	return RangeReply{PoolID: request.PoolID, Count: count}, err
}

func (c *Calls) listPools(ctx context.Context, _ *route.Call, request ams.Paging) (ams.List[Pool], error) {
	page := request.Wanted()
	pools, total, err := c.Store.ListPools(ctx, page)
	if err != nil {
		return ams.List[Pool]{}, broker.Wrap(err, "list address pools")
	}
	records := make([]Pool, len(pools))
	for i := range pools {
		if records[i], err = c.pool(ctx, &pools[i]); err != nil {
			return ams.List[Pool]{}, err
		}
	}
	return ams.ListOf(records, total, page, func(record *Pool) Pool { return *record }), nil
}

// AddressesRequest asks for the addresses of a pool.
type AddressesRequest struct {
	PoolID int64 `json:"poolid" in:"query" rule:"required,min=1"`
	ams.Paging
}

func (c *Calls) listAddresses(ctx context.Context, _ *route.Call, request AddressesRequest) (ams.List[ams.Address], error) {
	page := request.Wanted()
	pool, err := c.Store.FindPool(ctx, request.PoolID)
	if broker.Is(err, broker.NotFound) {
		failure := broker.Because(broker.NotFound, broker.ReasonPoolNotFound, request.PoolID)
		failure.Field = "poolid"
		return ams.List[ams.Address]{}, failure
	}
	if err != nil {
		return ams.List[ams.Address]{}, broker.Wrap(err, "find the pool")
	}
	addresses, total, err := c.Store.ListAddresses(ctx, pool.ID, page)
	if err != nil {
		return ams.List[ams.Address]{}, broker.Wrap(err, "list addresses")
	}
	records := make([]ams.Address, len(addresses))
	for i := range addresses {
		if records[i], err = ams.AddressOf(ctx, c.Store, &addresses[i]); err != nil {
			return ams.List[ams.Address]{}, err
		}
	}
	return ams.ListOf(records, total, page, func(record *ams.Address) ams.Address { return *record }), nil
}

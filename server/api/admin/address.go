package admin

import (
	"context"

	"gantry/server/api/ams"
	"gantry/server/api/route"
	"gantry/server/broker"
)

func (c *Calls) addressRoutes() []route.Route {
	free := func(name string) route.Route {
		return route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/" + name, Auth: route.Admin, Name: name, Group: "ippool",
			Summary: "Lists the addresses that a node's pools could give out.",
		}, c.listFreeAddresses)
	}
	return []route.Route{
		route.Of(route.Route{
			Methods: putPost, Path: "/{adminPath}/updateIpPool", Auth: route.Admin, Name: "updateIpPool", Group: "ippool", Audit: true,
			Summary: "Changes a pool. With another gateway, the old one's address becomes free and the new one's is held back.",
		}, c.updatePool),
		route.Of(route.Route{
			Methods: putPost, Path: "/{adminPath}/updateIp", Auth: route.Admin, Name: "updateIp", Group: "ippool", Audit: true,
			Summary: "Changes addresses, all or none.",
		}, c.updateAddresses),
		route.Of(route.Route{
			Methods: []string{"DELETE"}, Path: "/{adminPath}/deleteIpPool/{poolId}", Auth: route.Admin, Name: "deleteIpPool", Group: "ippool", Audit: true,
			Summary: "Forgets a pool with its addresses; refused while one of them is used.",
		}, c.deletePool),
		free("selectFreeIpListByNodeId"), free("selectFreeIpByNodeId"),
	}
}

// PoolChange changes a pool; absent fields stay.
type PoolChange struct {
	ID      int64   `json:"id" rule:"required,min=1" doc:"pool"`
	Name    *string `json:"name" alias:"poolName" rule:"max=100"`
	Gateway *string `json:"gateway" rule:"max=64"`
	Mask    *int    `json:"mask" rule:"min=1,max=128" doc:"prefix length"`
	DNS1    *string `json:"dns1" rule:"max=64"`
	DNS2    *string `json:"dns2" rule:"max=64"`
	NodeID  *int64  `json:"nodeid" rule:"min=1" doc:"moves the pool; refused while an address is used"`
}

func (c *Calls) updatePool(ctx context.Context, call *route.Call, request PoolChange) (Pool, error) {
	pool, stale, err := c.Broker.ChangePool(ctx, broker.PoolChange{
		ID: request.ID, Name: request.Name, Gateway: request.Gateway, Prefix: request.Mask, DNS1: request.DNS1, DNS2: request.DNS2,
		NodeID: request.NodeID,
	})
	if err != nil {
		return Pool{}, err
	}
	if stale > 0 {
		if call.Language == broker.Chinese {
			call.Warn("%d 台虚拟机在重装之前仍使用原来的网关和掩码", stale)
		} else {
			call.Warn("%d virtual machines keep the old gateway and mask until they are reinstalled", stale)
		}
	}
	return c.pool(ctx, pool)
}

// maxAddressChanges bounds one call.
const maxAddressChanges = 1000

// AddressChanges is the whole body of updateIp.
type AddressChanges []AddressChange

// AddressChange changes one address; absent fields stay.
type AddressChange struct {
	ID     int64   `json:"id" rule:"required,min=1" doc:"address"`
	DNS1   *string `json:"dns1" rule:"max=64" doc:"this address's own name server"`
	DNS2   *string `json:"dns2" rule:"max=64" doc:"this address's own name server"`
	Status *int    `json:"status" rule:"min=0,max=3" doc:"0 free; 2 or 3 held back; 1 only where the address is used anyway"`
}

// ReadField reads the array.
func (a *AddressChanges) ReadField(field string, value any) (err error) {
	*a, err = route.ReadList[AddressChange](field, value, maxAddressChanges)
	return err
}

// AddressesChange is the request of updateIp.
type AddressesChange struct {
	Addresses AddressChanges `json:"body" in:"list" rule:"required" doc:"the body is a JSON array"`
}

func (c *Calls) updateAddresses(ctx context.Context, _ *route.Call, request AddressesChange) (string, error) {
	changes := make([]broker.AddressChange, len(request.Addresses))
	for i, each := range request.Addresses {
		changes[i] = broker.AddressChange{ID: each.ID, DNS1: each.DNS1, DNS2: each.DNS2}
		if each.Status != nil {
			state := broker.AddressState(*each.Status)
			if *each.Status == ams.WireReserved {
				state = broker.AddressReserved
			}
			changes[i].State = &state
		}
	}
	return changed, c.Broker.ChangeAddresses(ctx, changes)
}

// PoolPath names a pool in a path.
type PoolPath struct {
	PoolID int64 `json:"poolId" in:"path" rule:"required,min=1" doc:"pool"`
}

func (c *Calls) deletePool(ctx context.Context, _ *route.Call, request PoolPath) (string, error) {
	return deleted, c.Broker.DeletePool(ctx, request.PoolID)
}

// FreeAddressesRequest asks what a node could give out.
type FreeAddressesRequest struct {
	NodeID  int64 `json:"nodeId" in:"query" rule:"required,min=1"`
	PoolID  int64 `json:"poolId" in:"query" rule:"min=1" doc:"of this pool only"`
	Version int   `json:"ipVersion" in:"query" rule:"min=4,max=6" doc:"4 or 6; default: both"`
	ams.Paging
}

func (c *Calls) listFreeAddresses(ctx context.Context, _ *route.Call, request FreeAddressesRequest) (ams.List[ams.Address], error) {
	var none ams.List[ams.Address]
	if request.Version == 5 {
		return none, route.Unacceptable("ipVersion", "must be 4 or 6", "必须是 4 或 6")
	}
	if _, err := c.findNode(ctx, request.NodeID); err != nil {
		return none, err
	}
	page := request.Wanted()
	addresses, total, err := c.Store.FreeAddresses(ctx, request.NodeID, request.PoolID, request.Version, page)
	if err != nil {
		return none, broker.Wrap(err, "list free addresses")
	}
	return ams.ListOf(addresses, total, page, ams.FreeAddressOf), nil
}

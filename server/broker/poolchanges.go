package broker

import (
	"context"
	"net/netip"
	"strings"
)

// maxAddressChanges bounds one call of ChangeAddresses.
const maxAddressChanges = 1000

// ChangePool changes a pool; nil fields stay. All of its addresses must lie in the new network. With another gateway, the old
// one's address becomes free and the new one's is reserved. A pool moves to another node only while none of its addresses is used.
// staleGuests tells how many machines keep the old gateway or mask until they are reinstalled.
func (b *Broker) ChangePool(ctx context.Context, change PoolChange) (pool *AddressPool, staleGuests int64, err error) {
	err = b.store.Transact(ctx, func(tx Tx) error {
		staleGuests = 0
		if pool, err = tx.FindPool(ctx, change.ID); err != nil {
			return named("id", err)
		}
		before := *pool
		if err := change.apply(pool); err != nil {
			return err
		}
		if pool.Gateway != before.Gateway || pool.Prefix != before.Prefix {
			if err := checkPoolNetwork(ctx, tx, pool); err != nil {
				return err
			}
			if err := moveGateway(ctx, tx, pool, before.Gateway); err != nil {
				return err
			}
			counts, err := tx.CountPool(ctx, pool.ID)
			if err != nil {
				return err
			}
			staleGuests = counts.Used
		}
		if err := tx.UpdatePool(ctx, pool); err != nil {
			return err
		}
		if change.NodeID == nil || *change.NodeID == before.NodeID {
			return nil
		}
		pool.NodeID = *change.NodeID
		return named("nodeid", tx.MovePool(ctx, pool.ID, pool.NodeID))
	})
	return pool, staleGuests, err
}

func (c *PoolChange) apply(pool *AddressPool) error {
	request := PoolByMask{
		Name: pool.Name, NodeID: pool.NodeID, Gateway: pool.Gateway.String(), Mask: pool.Prefix, DNS1: pool.DNS1, DNS2: pool.DNS2,
	}
	for _, field := range []struct {
		wanted *string
		into   *string
	}{{c.Name, &request.Name}, {c.Gateway, &request.Gateway}, {c.DNS1, &request.DNS1}, {c.DNS2, &request.DNS2}} {
		if field.wanted != nil {
			*field.into = *field.wanted
		}
	}
	if c.Prefix != nil {
		request.Mask = *c.Prefix
	}
	checked, err := poolOf(request)
	if err != nil {
		return err
	}
	if checked.Version() != pool.Version() {
		return InvalidField("gateway", "%s is not an IPv%d address as the pool's are", checked.Gateway, pool.Version())
	}
	pool.Name, pool.Gateway, pool.Prefix, pool.DNS1, pool.DNS2 = checked.Name, checked.Gateway, checked.Prefix, checked.DNS1, checked.DNS2
	return nil
}

// checkPoolNetwork refuses a network that leaves an address of the pool outside, or makes it network or broadcast address.
func checkPoolNetwork(ctx context.Context, tx Tx, pool *AddressPool) error {
	first, last := usableRange(pool.Subnet())
	for number := 1; ; number++ {
		page, total, err := tx.ListAddresses(ctx, pool.ID, Page{Number: number, Size: maxPoolAddresses})
		if err != nil {
			return err
		}
		for _, address := range page {
			if address.IP.Less(first) || last.Less(address.IP) {
				return InvalidField("mask", "the pool's address %s is no usable address of %s", address.IP, pool.Subnet())
			}
		}
		if len(page) == 0 || int64(number)*maxPoolAddresses >= total {
			return nil
		}
	}
}

func moveGateway(ctx context.Context, tx Tx, pool *AddressPool, before netip.Addr) error {
	if pool.Gateway == before {
		return nil
	}
	if err := setPoolAddress(ctx, tx, pool.ID, before, AddressFree); err != nil {
		return err
	}
	err := setPoolAddress(ctx, tx, pool.ID, pool.Gateway, AddressReserved)
	if Is(err, Conflict) {
		return InvalidField("gateway", "%s is used by a virtual machine", pool.Gateway)
	}
	return err
}

// setPoolAddress changes the state of an address, if the pool has it.
func setPoolAddress(ctx context.Context, tx Tx, pool int64, ip netip.Addr, state AddressState) error {
	address, err := tx.FindPoolAddress(ctx, pool, ip.String())
	if Is(err, NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	address.State = state
	return tx.UpdateAddress(ctx, address)
}

// DeletePool forgets a pool with its addresses. Conflict with ReasonPoolInUse while one of them is used.
func (b *Broker) DeletePool(ctx context.Context, id int64) error {
	return named("poolId", b.store.DeletePool(ctx, id))
}

// ChangeAddresses changes many addresses, all or none. Nil fields stay.
func (b *Broker) ChangeAddresses(ctx context.Context, changes []AddressChange) error {
	if len(changes) == 0 || len(changes) > maxAddressChanges {
		return InvalidField("body", "must list 1 to %d addresses", maxAddressChanges)
	}
	seen := map[int64]bool{}
	for _, change := range changes {
		if seen[change.ID] {
			return InvalidField("id", "address %d is listed twice", change.ID)
		}
		seen[change.ID] = true
	}
	return b.store.Transact(ctx, func(tx Tx) error {
		for _, change := range changes {
			if err := change.carryOut(ctx, tx); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *AddressChange) carryOut(ctx context.Context, tx Tx) error {
	address, err := tx.FindAddress(ctx, c.ID)
	if err != nil {
		return named("id", err)
	}
	for _, server := range []struct {
		field  string
		wanted *string
		into   *string
	}{{"dns1", c.DNS1, &address.OwnDNS1}, {"dns2", c.DNS2, &address.OwnDNS2}} {
		if server.wanted == nil {
			continue
		}
		*server.into = strings.TrimSpace(*server.wanted)
		if *server.into == "" {
			continue
		}
		if _, err := ParseAddress(server.field, *server.into); err != nil {
			return err
		}
	}
	if address.OwnDNS1 == "" && address.OwnDNS2 != "" {
		return InvalidField("dns1", "is needed where address %d has a dns2 of its own", c.ID)
	}
	if c.State != nil && *c.State != address.State {
		if address.IP == address.Gateway {
			return InvalidField("status", "%s is the pool's gateway", address.IP)
		}
		address.State = *c.State
	}
	return named("status", tx.UpdateAddress(ctx, address))
}

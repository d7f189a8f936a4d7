package broker

import (
	"context"
	"net/netip"
	"slices"
	"strings"
)

// maxPoolAddresses bounds one call: a /16 of IPv4, or as many of IPv6.
const maxPoolAddresses = 1 << 16

// AddPoolByMask makes a pool with every usable address of the gateway's subnet: neither network nor broadcast address (IPv4),
// and the gateway marked as reserved. An IPv6 pool starts empty when its subnet is larger than a /112: ranges are added by
// AddPoolRange.
func (b *Broker) AddPoolByMask(ctx context.Context, request PoolByMask) (*AddressPool, error) {
	pool, err := poolOf(request)
	if err != nil {
		return nil, err
	}
	pool.CreatedAt = b.now().UTC()
	node, err := b.store.FindNode(ctx, pool.NodeID)
	if Is(err, NotFound) {
		failure := Because(NotFound, ReasonNodeNotFound, pool.NodeID)
		failure.Field = "nodeId"
		return nil, failure
	}
	if err != nil {
		return nil, err
	}
	addresses := []Address{}
	if subnet := pool.Subnet(); subnet.Addr().BitLen()-subnet.Bits() <= 16 {
		first, last := usableRange(subnet)
		addresses = poolAddresses(pool, node.ClusterID, first, last)
	}
	err = b.store.Transact(ctx, func(tx Tx) error {
		if err := tx.InsertPool(ctx, pool); err != nil {
			return err
		}
		return named("gateway", tx.InsertAddresses(ctx, pool, addresses))
	})
	return pool, err
}

// poolOf checks what a pool is described by.
func poolOf(request PoolByMask) (*AddressPool, error) {
	name := strings.TrimSpace(request.Name)
	if name == "" || len(name) > 100 {
		return nil, InvalidField("poolName", "1 to 100 characters")
	}
	gateway, err := ParseAddress("gateway", request.Gateway)
	if err != nil {
		return nil, err
	}
	low, high := 8, 30
	if gateway.Is6() {
		low, high = 32, 126
	}
	if request.Mask < low || request.Mask > high {
		return nil, InvalidField("mask", "%d is not between %d and %d", request.Mask, low, high)
	}
	if gateway.Is4() && request.Mask < 16 {
		return nil, InvalidField("mask", "a pool has at most a /16 of addresses: add ranges to several pools")
	}
	for field, server := range map[string]string{"dns1": request.DNS1, "dns2": request.DNS2} {
		if server == "" && field == "dns2" {
			continue
		}
		if _, err := ParseAddress(field, server); err != nil {
			return nil, err
		}
	}
	pool := &AddressPool{
		Name: name, NodeID: request.NodeID, Gateway: gateway, Prefix: request.Mask,
		DNS1: request.DNS1, DNS2: request.DNS2,
	}
	first, last := usableRange(pool.Subnet())
	if gateway.Less(first) || last.Less(gateway) {
		return nil, InvalidField("gateway", "%s is the network or broadcast address of %s", gateway, pool.Subnet())
	}
	return pool, nil
}

// AddPoolRange adds a range of addresses, both ends inclusive, to a pool and tells how many are new. The range must lie in the
// pool's subnet. Addresses that the pool has already are passed over; one that another pool of the cluster has makes the call fail
// as a whole.
func (b *Broker) AddPoolRange(ctx context.Context, request PoolByRange) (int, error) {
	pool, err := b.store.FindPool(ctx, request.PoolID)
	if Is(err, NotFound) {
		failure := Because(NotFound, ReasonPoolNotFound, request.PoolID)
		failure.Field = "poolId"
		return 0, failure
	}
	if err != nil {
		return 0, err
	}
	start, err := ParseAddress("startIp", request.StartIP)
	if err != nil {
		return 0, err
	}
	end, err := ParseAddress("endIp", request.EndIP)
	if err != nil {
		return 0, err
	}
	if err := checkRange(pool, start, end); err != nil {
		return 0, err
	}
	own, err := rangeServers(pool, request)
	if err != nil {
		return 0, err
	}
	node, err := b.store.FindNode(ctx, pool.NodeID)
	if err != nil {
		return 0, err
	}
	added := 0
	err = b.store.Transact(ctx, func(tx Tx) error {
		fresh, err := withoutKnown(ctx, tx, pool, poolAddresses(pool, node.ClusterID, start, end))
		if err != nil {
			return err
		}
		if added = len(fresh); added == 0 {
			return &Error{Kind: Exists, Field: "startIp", Detail: "the pool has all addresses of this range already"}
		}
		for i := range fresh {
			fresh[i].OwnDNS1, fresh[i].OwnDNS2 = own[0], own[1]
		}
		return named("startIp", tx.InsertAddresses(ctx, pool, fresh))
	})
	return added, err
}

// rangeServers are the name servers that a range has of its own: none where they are the pool's.
func rangeServers(pool *AddressPool, request PoolByRange) (own [2]string, err error) {
	for i, server := range []struct{ field, text string }{{"dns1", request.DNS1}, {"dns2", request.DNS2}} {
		if server.text == "" {
			continue
		}
		if _, err := ParseAddress(server.field, server.text); err != nil {
			return own, err
		}
		own[i] = server.text
	}
	if own[0] == "" && own[1] != "" {
		own[0] = pool.DNS1
	}
	if own == [2]string{pool.DNS1, pool.DNS2} {
		return [2]string{}, nil
	}
	return own, nil
}

// withoutKnown leaves out the addresses that the pool has already.
func withoutKnown(ctx context.Context, tx Tx, pool *AddressPool, addresses []Address) ([]Address, error) {
	known := map[netip.Addr]bool{}
	for number := 1; ; number++ {
		page, total, err := tx.ListAddresses(ctx, pool.ID, Page{Number: number, Size: maxPoolAddresses})
		if err != nil {
			return nil, err
		}
		for _, address := range page {
			known[address.IP] = true
		}
		if len(page) == 0 || int64(number)*maxPoolAddresses >= total {
			break
		}
	}
	return slices.DeleteFunc(addresses, func(address Address) bool { return known[address.IP] }), nil
}

func checkRange(pool *AddressPool, start, end netip.Addr) error {
	subnet := pool.Subnet()
	if !subnet.Contains(start) {
		return InvalidField("startIp", "%s is outside the pool's network %s", start, subnet)
	}
	if !subnet.Contains(end) {
		return InvalidField("endIp", "%s is outside the pool's network %s", end, subnet)
	}
	if end.Less(start) {
		return InvalidField("endIp", "%s comes before startIp %s", end, start)
	}
	first, last := usableRange(subnet)
	if start.Less(first) {
		return InvalidField("startIp", "%s is the network address of %s", start, subnet)
	}
	if last.Less(end) {
		return InvalidField("endIp", "%s is the broadcast address of %s", end, subnet)
	}
	if size, ok := rangeSize(start, end); !ok || size > maxPoolAddresses {
		return InvalidField("endIp", "a range has at most %d addresses", maxPoolAddresses)
	}
	return nil
}

// usableRange leaves out network and broadcast address of an IPv4 subnet (RFC 919) and the subnet-router anycast address of an
// IPv6 one (RFC 4291 §2.6.1).
func usableRange(subnet netip.Prefix) (first, last netip.Addr) {
	first = subnet.Masked().Addr().Next()
	bytes := subnet.Masked().Addr().AsSlice()
	for bit := subnet.Bits(); bit < len(bytes)*8; bit++ {
		bytes[bit/8] |= 1 << (7 - bit%8)
	}
	last, _ = netip.AddrFromSlice(bytes)
	if last.Is4() {
		last = last.Prev()
	}
	return first, last
}

// rangeSize counts addresses; false when they do not fit the bound at all.
func rangeSize(start, end netip.Addr) (int, bool) {
	from, to := start.As16(), end.As16()
	for i := 0; i < 12; i++ {
		if from[i] != to[i] {
			return 0, false
		}
	}
	low := uint64(from[12])<<24 | uint64(from[13])<<16 | uint64(from[14])<<8 | uint64(from[15])
	high := uint64(to[12])<<24 | uint64(to[13])<<16 | uint64(to[14])<<8 | uint64(to[15])
	return int(high - low + 1), true
}

// poolAddresses lists start to end; the gateway is reserved.
func poolAddresses(pool *AddressPool, cluster int64, start, end netip.Addr) []Address {
	var addresses []Address
	for ip := start; ; ip = ip.Next() {
		address := Address{PoolID: pool.ID, NodeID: pool.NodeID, ClusterID: cluster, IP: ip, State: AddressFree}
		if ip == pool.Gateway {
			address.State = AddressReserved
		}
		addresses = append(addresses, address)
		if ip == end {
			return addresses
		}
	}
}

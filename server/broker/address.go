package broker

import (
	"net/netip"
	"time"
)

// AddressPool is a set of addresses of one subnet that a node's guests can use.
type AddressPool struct {
	ID        int64
	Name      string
	NodeID    int64
	Gateway   netip.Addr
	Prefix    int // mask bits
	DNS1      string
	DNS2      string
	CreatedAt time.Time
}

// Subnet is the pool's network.
func (p AddressPool) Subnet() netip.Prefix { return netip.PrefixFrom(p.Gateway, p.Prefix).Masked() }

// Version is 4 or 6.
func (p AddressPool) Version() int {
	if p.Gateway.Is4() {
		return 4
	}
	return 6
}

// PoolCounts are true counts at the time of the query.
type PoolCounts struct{ Free, Used, Disabled int64 }

// AddressState is the AMS ippool.status.
type AddressState int

const (
	AddressFree     AddressState = 0
	AddressUsed     AddressState = 1
	AddressReserved AddressState = 2 // gateway or held back by the operator
)

// Address is one address of a pool. (NodeID's cluster, IP) is unique: no two guests of a cluster get the same address.
type Address struct {
	ID        int64
	PoolID    int64
	NodeID    int64
	ClusterID int64
	IP        netip.Addr
	State     AddressState
	// VM is the holder's id while State is AddressUsed.
	VM *int64
	// OwnDNS1 and OwnDNS2 are name servers of this address alone; "" = those of the pool.
	OwnDNS1, OwnDNS2 string
	// DNS1 and DNS2 are what holds: its own or the pool's. Joined from the pool for readers.
	Gateway    netip.Addr
	Prefix     int
	DNS1, DNS2 string
}

package store_test

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"gantry/server/broker"
	"gantry/server/store"
)

// start is the moment the tests begin at; it has microseconds, which stores keep.
var start = time.Date(2026, 3, 1, 12, 0, 0, 123_456_000, time.UTC)

var unique atomic.Int64

func addCluster(t testing.TB, s broker.Tx, from, to int) *broker.Cluster {
	t.Helper()
	cluster := &broker.Cluster{
		Kind: "memory", Name: "lab", Endpoint: fmt.Sprintf("pve-%d:8006", unique.Add(1)), VMIDFrom: from, VMIDTo: to, CreatedAt: start,
		Options: map[string]string{"tokenSecret": "s3cret-of-a-cluster"},
	}
	check(t, s.InsertCluster(t.Context(), cluster))
	return cluster
}

func addNode(t testing.TB, s broker.Tx, cluster int64) *broker.Node {
	t.Helper()
	node := &broker.Node{ClusterID: cluster, Name: fmt.Sprintf("node-%d", unique.Add(1)), CreatedAt: start}
	check(t, s.UpsertNode(t.Context(), node))
	return node
}

func addVM(t testing.TB, s broker.Tx, cluster, node int64) *broker.VM {
	t.Helper()
	vm := newVM(cluster, node)
	check(t, s.InsertVM(t.Context(), vm))
	return vm
}

func newVM(cluster, node int64) *broker.VM {
	number := unique.Add(1)
	return &broker.VM{
		ClusterID: cluster, NodeID: node, Kind: "memory", Name: fmt.Sprintf("vm-%d", number), Owner: fmt.Sprintf("owner-%d", number),
		Status: broker.VMCreating, Password: "s3cret-of-a-guest", CreatedAt: start,
	}
}

// addPool makes a pool of count addresses from 10.x.0.2 on, the gateway being 10.x.0.1.
func addPool(t testing.TB, s broker.Tx, node int64, count int) *broker.AddressPool {
	t.Helper()
	gateway := netip.AddrFrom4([4]byte{10, byte(unique.Add(1)), 0, 1})
	pool := &broker.AddressPool{Name: "pool", NodeID: node, Gateway: gateway, Prefix: 16, DNS1: "9.9.9.9", CreatedAt: start}
	check(t, s.InsertPool(t.Context(), pool))
	var addresses []broker.Address
	for ip := gateway.Next(); len(addresses) < count; ip = ip.Next() {
		addresses = append(addresses, broker.Address{IP: ip})
	}
	check(t, s.InsertAddresses(t.Context(), pool, addresses))
	return pool
}

func place(t testing.TB, s *store.Store) (*broker.Cluster, *broker.Node) {
	t.Helper()
	cluster := addCluster(t, s, 100, 999)
	return cluster, addNode(t, s, cluster.ID)
}

package broker

import (
	"errors"
	"net/netip"
	"testing"
)

func TestAPoolHoldsTheUsableAddressesOfItsSubnet(t *testing.T) {
	for _, fact := range []struct {
		gateway     string
		mask        int
		first, last string
		count       int
	}{
		{"23.94.247.33", 28, "23.94.247.33", "23.94.247.46", 14},
		{"10.0.0.1", 30, "10.0.0.1", "10.0.0.2", 2},
		{"10.1.255.254", 16, "10.1.0.1", "10.1.255.254", 65534},
		{"2001:db8::1", 120, "2001:db8::1", "2001:db8::ff", 255},
	} {
		pool, err := poolOf(PoolByMask{Name: "p", NodeID: 1, Gateway: fact.gateway, Mask: fact.mask, DNS1: "1.1.1.1"})
		if err != nil {
			t.Errorf("%s/%d: %v", fact.gateway, fact.mask, err)
			continue
		}
		first, last := usableRange(pool.Subnet())
		addresses := poolAddresses(pool, 1, first, last)
		if first.String() != fact.first || last.String() != fact.last || len(addresses) != fact.count {
			t.Errorf("%s/%d: %s … %s, %d addresses", fact.gateway, fact.mask, first, last, len(addresses))
		}
		for _, address := range addresses {
			if (address.IP == pool.Gateway) != (address.State == AddressReserved) {
				t.Errorf("%s: state %d", address.IP, address.State)
			}
		}
	}
}

func TestABadPoolNamesItsField(t *testing.T) {
	good := PoolByMask{Name: "p", NodeID: 1, Gateway: "10.0.0.1", Mask: 24, DNS1: "1.1.1.1"}
	for _, bad := range []struct {
		field  string
		change func(*PoolByMask)
	}{
		{"poolName", func(p *PoolByMask) { p.Name = " " }},
		{"gateway", func(p *PoolByMask) { p.Gateway = "10.0.0" }},
		{"gateway", func(p *PoolByMask) { p.Gateway = "10.0.0.0" }},
		{"gateway", func(p *PoolByMask) { p.Gateway = "10.0.0.255" }},
		{"gateway", func(p *PoolByMask) { p.Gateway = "::ffff:10.0.0.1" }},
		{"mask", func(p *PoolByMask) { p.Mask = 31 }},
		{"mask", func(p *PoolByMask) { p.Mask = 12 }},
		{"dns1", func(p *PoolByMask) { p.DNS1 = "" }},
		{"dns2", func(p *PoolByMask) { p.DNS2 = "x" }},
	} {
		request := good
		bad.change(&request)
		_, err := poolOf(request)
		var failure *Error
		if !errors.As(err, &failure) || failure.Kind != Invalid || failure.Field != bad.field {
			t.Errorf("%s: got %v", bad.field, err)
		}
	}
}

func TestARangeMustFitItsPool(t *testing.T) {
	v4 := &AddressPool{Gateway: netip.MustParseAddr("192.168.1.1"), Prefix: 24}
	v6 := &AddressPool{Gateway: netip.MustParseAddr("2001:db8::1"), Prefix: 64}
	for _, fact := range []struct {
		pool       *AddressPool
		start, end string
		field      string // "" = fine
	}{
		{v4, "192.168.1.1", "192.168.1.254", ""},
		{v4, "192.168.1.9", "192.168.1.9", ""},
		{v4, "192.168.1.10", "192.168.1.9", "endIp"},
		{v4, "192.168.2.1", "192.168.2.9", "startIp"},
		{v4, "192.168.1.1", "192.168.2.1", "endIp"},
		{v4, "192.168.1.0", "192.168.1.9", "startIp"},
		{v4, "192.168.1.1", "192.168.1.255", "endIp"},
		{v4, "2001:db8::1", "2001:db8::2", "startIp"},
		{v6, "2001:db8::10", "2001:db8::ffff", ""},
		{v6, "2001:db8::1:0", "2001:db8::1:ffff", ""},
		{v6, "2001:db8::1:0", "2001:db8::2:0", "endIp"},
		{v6, "2001:db8::", "2001:db8::2", "startIp"},
	} {
		err := checkRange(fact.pool, netip.MustParseAddr(fact.start), netip.MustParseAddr(fact.end))
		var failure *Error
		switch {
		case fact.field == "" && err != nil, fact.field != "" && (!errors.As(err, &failure) || failure.Field != fact.field):
			t.Errorf("%s … %s: got %v, want field %q", fact.start, fact.end, err, fact.field)
		}
	}
}

func FuzzCheckRange(f *testing.F) {
	f.Add("10.0.0.1", "10.0.0.9", "10.0.0.1", 24)
	f.Add("::1", "ffff::", "::1", 64)
	f.Fuzz(func(t *testing.T, start, end, gateway string, prefix int) {
		from, err := ParseAddress("startIp", start)
		if err != nil {
			return
		}
		to, err := ParseAddress("endIp", end)
		if err != nil {
			return
		}
		way, err := ParseAddress("gateway", gateway)
		if err != nil || prefix < 0 || prefix > way.BitLen() {
			return
		}
		pool := &AddressPool{Gateway: way, Prefix: prefix}
		if checkRange(pool, from, to) != nil {
			return
		}
		addresses := poolAddresses(pool, 1, from, to)
		if len(addresses) > maxPoolAddresses || !pool.Subnet().Contains(addresses[len(addresses)-1].IP) {
			t.Errorf("%s … %s of %s: %d addresses", from, to, pool.Subnet(), len(addresses))
		}
	})
}

package ams

import (
	"context"

	"gantry/server/broker"
)

// Address is one address of a pool as selectIpListByPoolId shows it.
type Address struct {
	ID         int64  `json:"id"`
	NodeID     int64  `json:"nodeId"`
	VMID       *int64 `json:"vmId" doc:"VMID of the holder on the hypervisor"`
	HostID     *int64 `json:"hostId" doc:"id of the holder"`
	PoolID     int64  `json:"poolId"`
	IP         string `json:"ip"`
	SubnetMask string `json:"subnetMask" doc:"dotted; the prefix length for IPv6"`
	Gateway    string `json:"gateway"`
	DNS1       string `json:"dns1"`
	DNS2       string `json:"dns2"`
	Status     int    `json:"status" doc:"0 free, 1 used, 3 gateway or held back"`
}

// WireReserved is the original's status of gateways.
const WireReserved = 3

// FreeAddressOf makes the object of an address that nobody holds.
func FreeAddressOf(address *broker.Address) Address {
	version := 6
	if address.IP.Is4() {
		version = 4
	}
	record := Address{
		ID: address.ID, NodeID: address.NodeID, HostID: address.VM, PoolID: address.PoolID, IP: address.IP.String(),
		SubnetMask: dottedMask(address.Prefix, version), Gateway: address.Gateway.String(),
		DNS1: address.DNS1, DNS2: address.DNS2, Status: int(address.State),
	}
	if address.State == broker.AddressReserved {
		record.Status = WireReserved
	}
	return record
}

// AddressOf makes the object; the holder's VMID is looked up.
func AddressOf(ctx context.Context, store broker.VMStore, address *broker.Address) (Address, error) {
	record := FreeAddressOf(address)
	if address.VM == nil {
		return record, nil
	}
	vm, err := store.FindVM(ctx, *address.VM)
	if broker.Is(err, broker.NotFound) {
		return record, nil
	}
	if err != nil {
		return Address{}, broker.Wrap(err, "find the holder of an address")
	}
	vmid := int64(vm.VMID)
	record.VMID = &vmid
	return record, nil
}

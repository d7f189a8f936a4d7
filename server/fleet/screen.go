package fleet

import (
	"context"
	"fmt"
	"net"

	"gantry/internal/consoleapi"
	"gantry/internal/tlspin"
	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// ConsoleTarget opens a way to a VM's screen for console proxies.
func (f *Fleet) ConsoleTarget(ctx context.Context, vmID int64) (consoleapi.Target, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	vm, opened, err := f.console(ctx, vmID)
	if err != nil {
		return consoleapi.Target{}, err
	}
	target := consoleapi.Target{
		Network: opened.Network, Address: opened.Address, Header: opened.Header, VNCPassword: opened.Password, ViewerPassword: vm.ConsolePassword,
		VMLabel: fmt.Sprintf("%s (%d)", vm.Name, vm.VMID),
	}
	if opened.Dial != nil {
		target.Network = consoleapi.NetworkBroker
	}
	if opened.TLSPin != "" {
		if target.TLSPin, err = tlspin.Parse(opened.TLSPin); err != nil {
			return consoleapi.Target{}, broker.Wrap(err, "read the console's certificate pin")
		}
	}
	if opened.Network == consoleapi.NetworkWebSocket {
		target.Subprotocol = "binary" // the only one that PVE's vncwebsocket takes
	}
	return target, nil
}

// ConsoleStream opens a VM's screen that only its driver reaches; Unsupported where console proxies reach it by themselves.
func (f *Fleet) ConsoleStream(ctx context.Context, vmID int64) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, opened, err := f.console(ctx, vmID)
	if err != nil {
		return nil, err
	}
	if opened.Dial == nil {
		return nil, broker.Because(broker.Unsupported, broker.ReasonUnsupported, "screens through the broker")
	}
	return opened.Dial(ctx)
}

// console asks the driver for the screen of a guest that is ours and runs.
func (f *Fleet) console(ctx context.Context, vmID int64) (*broker.VM, hypervisor.ConsoleTarget, error) {
	none := hypervisor.ConsoleTarget{}
	vm, err := f.store.FindVM(ctx, vmID)
	if err != nil {
		return nil, none, err
	}
	driver, ref, err := f.Guest(ctx, vm)
	if err != nil {
		return nil, none, err
	}
	guest, err := driver.FindGuest(ctx, ref)
	if err != nil {
		return nil, none, err
	}
	if guest.Owner != vm.Owner {
		return nil, none, broker.Because(broker.Conflict, broker.ReasonForeignGuest, vm.VMID)
	}
	if guest.Power == hypervisor.PowerStopped || guest.Power == hypervisor.PowerSuspended {
		return nil, none, &consoleapi.Refusal{Reason: consoleapi.ReasonGuestOff}
	}
	opened, err := driver.Console(ctx, ref)
	return vm, opened, err
}

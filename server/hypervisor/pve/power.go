package pve

import (
	"context"
	"math"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// button is what a power action does in a state: the call below status/, or nothing to do, or no sense.
type button struct {
	call       string
	parameters map[string]any
	nothing    bool
	senseless  bool
	// forget drops the state that a suspended guest has on disk, which is how one is stopped.
	forget bool
}

// press decides what to send. A guest in an unknown state is sent what is asked for: PVE will tell.
func press(action hypervisor.PowerAction, power hypervisor.Power, options hypervisor.PowerOptions) (button, error) {
	off := power == hypervisor.PowerStopped
	suspended := power == hypervisor.PowerSuspended
	switch action {
	case hypervisor.Start:
		if power == hypervisor.PowerPaused {
			return button{call: "resume"}, nil
		}
		return button{call: "start", nothing: power == hypervisor.PowerRunning}, nil
	case hypervisor.Stop:
		// Without overrule-shutdown a stop waits for the lock that a shutdown holds, and fails after 10 s.
		return button{call: "stop", parameters: map[string]any{"overrule-shutdown": 1}, nothing: off, forget: suspended}, nil
	case hypervisor.Shutdown:
		return button{call: "shutdown", parameters: shutdownParameters(options), nothing: off, senseless: suspended}, nil
	case hypervisor.Reboot:
		return button{call: "reboot", senseless: off || suspended}, nil
	case hypervisor.Reset:
		return button{call: "reset", senseless: off || suspended}, nil
	case hypervisor.Suspend:
		return button{call: "suspend", parameters: map[string]any{"todisk": 1}, nothing: suspended, senseless: off}, nil
	case hypervisor.Resume:
		if suspended {
			return button{call: "start"}, nil
		}
		return button{call: "resume", nothing: power == hypervisor.PowerRunning, senseless: off}, nil
	}
	return button{}, broker.InvalidField("action", "unknown power action %q", string(action))
}

func shutdownParameters(options hypervisor.PowerOptions) map[string]any {
	parameters := map[string]any{}
	if options.Timeout > 0 {
		parameters["timeout"] = int(math.Ceil(min(options.Timeout, 24*time.Hour).Seconds()))
	}
	if options.Force {
		parameters["forceStop"] = 1
	}
	return parameters
}

// Power takes three requests: the owner, the state, the button. The operation of a Reboot is PVE's qmreboot task; see rebooted
// for when OperationState calls it finished.
func (d *driver) Power(ctx context.Context, ref hypervisor.GuestRef, action hypervisor.PowerAction, options hypervisor.PowerOptions) (hypervisor.Operation, error) {
	if _, err := press(action, hypervisor.PowerUnknown, options); err != nil {
		return hypervisor.Operation{}, err
	}
	guest, err := d.own(ctx, ref)
	if err != nil {
		return hypervisor.Operation{}, err
	}
	status, err := d.status(ctx, guest.node, guest.id)
	if err != nil {
		return hypervisor.Operation{}, err
	}
	pressed, err := press(action, status.power(), options)
	switch {
	case err != nil:
		return hypervisor.Operation{}, err
	case pressed.nothing:
		return hypervisor.Operation{}, nil
	case pressed.senseless:
		return hypervisor.Operation{}, broker.Because(broker.Conflict, broker.ReasonVMNotRunning, ref.ID)
	case pressed.forget:
		return d.client.begin(ctx, "POST", guest.path("/config"), map[string]any{"delete": "vmstate", "digest": guest.digest()})
	}
	operation, err := d.client.begin(ctx, "POST", guest.path("/status/"+pressed.call), pressed.parameters)
	if action == hypervisor.Stop && unknownParameter(err, "overrule-shutdown") { // older than 8.2: refused before anything was done
		return d.client.begin(ctx, "POST", guest.path("/status/stop"), nil)
	}
	return operation, err
}

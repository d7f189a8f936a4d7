package memory

import (
	"context"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// powerChange is what a button does: done lists the states in which there is nothing to do, from those in which it can be
// pressed, to the state afterwards.
type powerChange struct {
	kind hypervisor.OperationKind
	done []hypervisor.Power
	from []hypervisor.Power
	to   hypervisor.Power
}

var powerChanges = map[hypervisor.PowerAction]powerChange{
	hypervisor.Start:    {hypervisor.OperationStart, powers("running"), powers("stopped", "suspended"), hypervisor.PowerRunning},
	hypervisor.Stop:     {hypervisor.OperationStop, powers("stopped"), powers("running", "paused", "suspended"), hypervisor.PowerStopped},
	hypervisor.Shutdown: {hypervisor.OperationShutdown, powers("stopped"), powers("running", "paused"), hypervisor.PowerStopped},
	hypervisor.Reboot:   {hypervisor.OperationReboot, nil, powers("running"), hypervisor.PowerRunning},
	hypervisor.Reset:    {hypervisor.OperationReset, nil, powers("running"), hypervisor.PowerRunning},
	hypervisor.Suspend:  {hypervisor.OperationSuspend, powers("suspended"), powers("running"), hypervisor.PowerSuspended},
	hypervisor.Resume:   {hypervisor.OperationResume, powers("running"), powers("suspended", "paused"), hypervisor.PowerRunning},
}

func powers(names ...hypervisor.Power) []hypervisor.Power { return names }

func (d *driver) Power(ctx context.Context, ref hypervisor.GuestRef, action hypervisor.PowerAction, _ hypervisor.PowerOptions) (hypervisor.Operation, error) {
	wanted, known := powerChanges[action]
	if !known {
		return hypervisor.Operation{}, broker.InvalidField("action", "unknown power action %q", action)
	}
	if action == hypervisor.Suspend && !d.Info().Capabilities.SuspendToDisk {
		return hypervisor.Operation{}, unsupported("suspend to disk")
	}
	c := d.cluster
	return d.change(ctx, Call{Method: "Power", Guest: ref.ID, Node: ref.Node, Action: action}, func(fault Fault) (hypervisor.Operation, error) {
		found, err := c.owned(ref)
		if err != nil {
			return hypervisor.Operation{}, err
		}
		if action == hypervisor.Stop && found.busy != nil && found.busy.kind == hypervisor.OperationShutdown {
			c.end(found.busy, broker.Errorf(broker.Failed, "overruled by stop"))
		}
		if found, err = c.idle(ref); err != nil {
			return hypervisor.Operation{}, err
		}
		if among(found.power, wanted.done) {
			return hypervisor.Operation{}, nil
		}
		if !among(found.power, wanted.from) {
			return hypervisor.Operation{}, broker.Because(broker.Conflict, broker.ReasonVMNotRunning, ref.ID)
		}
		return c.begin(found.node, found, ref.ID, wanted.kind, fault, func() error {
			fresh := found.power == hypervisor.PowerStopped || action == hypervisor.Reboot || action == hypervisor.Reset
			found.power = wanted.to
			if wanted.to == hypervisor.PowerRunning && fresh {
				found.started = c.now()
			}
			return nil
		}, nil), nil
	})
}

func among(power hypervisor.Power, list []hypervisor.Power) bool {
	for _, each := range list {
		if each == power {
			return true
		}
	}
	return false
}

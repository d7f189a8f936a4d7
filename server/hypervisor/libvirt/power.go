package libvirt

import (
	"context"
	"errors"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

const (
	// shutdownPatience is how long a guest has for a Shutdown without a timeout, as long as PVE gives it; rebootPatience for a Reboot.
	shutdownPatience = 3 * time.Minute
	rebootPatience   = 3 * time.Minute
	statePause       = 100 * time.Millisecond
	// settlePatience is how long a change that is under way already has to come to its end.
	settlePatience = 10 * time.Second
)

// errOverruled ends a Shutdown or Reboot that still waits when the plug is pulled.
var errOverruled = errors.New("overruled by a stop")

// Power takes the calls of begin, and its own in the background.
func (d *driver) Power(ctx context.Context, ref hypervisor.GuestRef, action hypervisor.PowerAction, options hypervisor.PowerOptions) (hypervisor.Operation, error) {
	buttons := map[hypervisor.PowerAction]struct {
		kind hypervisor.OperationKind
		look func(*guest) (bool, error)
		do   work
	}{
		hypervisor.Start:    {hypervisor.OperationStart, whenRunning, d.start},
		hypervisor.Resume:   {hypervisor.OperationResume, d.lookResume, d.start},
		hypervisor.Stop:     {hypervisor.OperationStop, whenStopped, d.stop},
		hypervisor.Shutdown: {hypervisor.OperationShutdown, whenOff, d.shutdown(options)},
		hypervisor.Reboot:   {hypervisor.OperationReboot, mustRun, d.reboot},
		hypervisor.Reset:    {hypervisor.OperationReset, mustRun, d.reset},
		hypervisor.Suspend:  {hypervisor.OperationSuspend, lookSuspend, d.suspend},
	}
	button, known := buttons[action]
	if !known {
		return hypervisor.Operation{}, broker.InvalidField("action", "unknown power action %q", string(action))
	}
	if action == hypervisor.Stop {
		if err := d.overrule(ctx, ref); err != nil {
			return hypervisor.Operation{}, err
		}
	}
	look := func(_ context.Context, g *guest) (bool, error) { return button.look(g) }
	return d.begin(ctx, ref, button.kind, look, button.do)
}

// overrule ends a Shutdown or Reboot of this process that still waits for the guest.
func (d *driver) overrule(ctx context.Context, ref hypervisor.GuestRef) error {
	waiting := d.jobs.working(ref.ID)
	if waiting == nil || (waiting.id.kind != hypervisor.OperationShutdown && waiting.id.kind != hypervisor.OperationReboot) {
		return nil
	}
	if _, err := d.owned(ctx, ref); err != nil {
		return err
	}
	waiting.cancel(errOverruled)
	select {
	case <-waiting.over:
		return nil
	case <-ctx.Done():
		return lost(ctx.Err(), true)
	}
}

func notRunning(g *guest) error {
	return broker.Because(broker.Conflict, broker.ReasonVMNotRunning, g.id)
}

func whenRunning(g *guest) (bool, error) { return g.power() == hypervisor.PowerRunning, nil }

func whenStopped(g *guest) (bool, error) { return g.power() == hypervisor.PowerStopped, nil }

func whenOff(g *guest) (bool, error) {
	return g.power() == hypervisor.PowerStopped || g.power() == hypervisor.PowerSuspended, nil
}

func mustRun(g *guest) (bool, error) {
	if powerOf(g.state) == hypervisor.PowerStopped {
		return false, notRunning(g)
	}
	return false, nil
}

func lookSuspend(g *guest) (bool, error) {
	if g.power() == hypervisor.PowerSuspended {
		return true, nil
	}
	return mustRun(g)
}

func (d *driver) lookResume(g *guest) (bool, error) {
	if g.power() == hypervisor.PowerStopped {
		return false, notRunning(g)
	}
	return whenRunning(g)
}

// start also goes on with what was suspended or paused.
func (d *driver) start(ctx context.Context, g *guest, _ func(float64)) ([]string, error) {
	if powerOf(g.state) == hypervisor.PowerPaused {
		err := change(ctx, d.client, func(l *rpc) error { return l.DomainResume(g.domain) })
		return nil, d.reached(ctx, g, err, hypervisor.PowerRunning) // one that is being started is paused for a moment
	}
	_, err := ask(ctx, d.client, func(l *rpc) (golibvirt.Domain, error) { return l.DomainCreateWithFlags(g.domain, 0) })
	return nil, d.reached(ctx, g, err, hypervisor.PowerRunning)
}

// reached forgives an error when the guest is where it should be: somebody else was quicker, or the answer was lost.
func (d *driver) reached(ctx context.Context, g *guest, err error, wanted hypervisor.Power) error {
	if err == nil {
		return nil
	}
	until, cancel := context.WithTimeout(ctx, settlePatience)
	defer cancel()
	ticker := time.NewTicker(statePause)
	defer ticker.Stop()
	for settling := true; settling; {
		if seen := d.refresh(ctx, g); seen == nil && g.power() == wanted {
			return nil
		}
		// In conflict with what somebody else, or a process that died, is still having done: it gets there.
		if settling = broker.Is(err, broker.Conflict); settling {
			select {
			case <-ticker.C:
			case <-until.Done():
				settling = false
			}
		}
	}
	if broker.Is(err, broker.Conflict) { // it was not when we looked
		return &broker.Error{Kind: broker.Failed, Detail: broker.DetailOf(err), Err: err}
	}
	return err
}

// stop drops a suspended guest's memory: the guest is off for good then, as after pulling the plug.
func (d *driver) stop(ctx context.Context, g *guest, _ func(float64)) ([]string, error) {
	if powerOf(g.state) == hypervisor.PowerStopped {
		err := change(ctx, d.client, func(l *rpc) error { return l.DomainManagedSaveRemove(g.domain, 0) })
		return nil, d.reached(ctx, g, err, hypervisor.PowerStopped)
	}
	err := change(ctx, d.client, func(l *rpc) error { return l.DomainDestroy(g.domain) })
	return nil, d.reached(ctx, g, err, hypervisor.PowerStopped)
}

func (d *driver) reset(ctx context.Context, g *guest, _ func(float64)) ([]string, error) {
	return nil, change(ctx, d.client, func(l *rpc) error { return l.DomainReset(g.domain, 0) })
}

func (d *driver) suspend(ctx context.Context, g *guest, _ func(float64)) ([]string, error) {
	err := d.client.transfer(ctx, func(l *rpc) error { return l.DomainManagedSave(g.domain, 0) })
	return nil, d.reached(ctx, g, err, hypervisor.PowerSuspended)
}

// shutdown asks by guest agent where one answers, else by the power button, and waits.
func (d *driver) shutdown(options hypervisor.PowerOptions) work {
	return func(ctx context.Context, g *guest, _ func(float64)) ([]string, error) {
		patience := options.Timeout
		if patience <= 0 {
			patience = shutdownPatience
		}
		waiting, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		err := change(waiting, d.client, func(l *rpc) error { return l.DomainShutdownFlags(g.domain, 0) })
		if err == nil || broker.Is(err, broker.Conflict) {
			err = d.awaitOff(waiting, g)
		}
		switch {
		case err == nil:
			return nil, nil
		case context.Cause(ctx) != nil:
			return nil, cutShort(ctx)
		case waiting.Err() == nil:
			return nil, err
		case options.Force:
			return d.stop(ctx, g, nil)
		}
		return nil, broker.Errorf(broker.Failed, "the guest did not shut down within %s", patience)
	}
}

// cutShort says why a wait was cut short.
func cutShort(ctx context.Context) error {
	if errors.Is(context.Cause(ctx), errOverruled) {
		return broker.Errorf(broker.Failed, "%s", errOverruled)
	}
	return interrupted()
}

// awaitOff returns when the guest is off.
func (d *driver) awaitOff(ctx context.Context, g *guest) error {
	ticker := time.NewTicker(statePause)
	defer ticker.Stop()
	for {
		state, err := d.domainState(ctx, g.domain)
		switch {
		case err == nil && powerOf(state) == hypervisor.PowerStopped:
			return nil
		case err != nil && !broker.Is(err, broker.Unreachable):
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// reboot presses the power button; libvirt resets the guest when it has gone down, and says so with an event. A guest that goes down
// another way meanwhile has not rebooted.
func (d *driver) reboot(ctx context.Context, g *guest, _ func(float64)) ([]string, error) {
	waiting, cancel := context.WithTimeout(ctx, rebootPatience)
	defer cancel()
	s, err := d.client.session(waiting)
	if err != nil {
		return nil, err
	}
	// The stream's goroutine ends with its context or with the connection.
	listening, stop := context.WithCancel(waiting)
	events, err := do(waiting, s, false, func(l *rpc) (<-chan any, error) {
		return l.SubscribeEvents(listening, golibvirt.DomainEventIDReboot, golibvirt.OptDomain{g.domain})
	})
	if err != nil {
		stop()
		return nil, err
	}
	defer func() {
		stop()
		go func() {
			for range events { // what comes while it unsubscribes
			}
		}()
	}()
	if err := change(waiting, d.client, func(l *rpc) error { return l.DomainReboot(g.domain, 0) }); err != nil {
		return nil, err
	}
	ticker := time.NewTicker(statePause)
	defer ticker.Stop()
	for {
		select {
		case event, open := <-events:
			if !open {
				return nil, lost(errNotLibvirt, true)
			}
			if message, is := event.(*golibvirt.DomainEventCallbackRebootMsg); is && message.Msg.Dom.UUID == g.domain.UUID {
				return nil, nil
			}
		case <-ticker.C:
			state, err := d.domainState(waiting, g.domain)
			if err == nil && powerOf(state) == hypervisor.PowerStopped {
				return nil, broker.Errorf(broker.Failed, "the guest went off instead of rebooting")
			}
		case <-waiting.Done():
			if context.Cause(ctx) != nil {
				return nil, cutShort(ctx)
			}
			return nil, broker.Errorf(broker.Failed, "the guest did not reboot within %s", rebootPatience)
		}
	}
}

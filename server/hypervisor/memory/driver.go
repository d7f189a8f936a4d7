package memory

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

type driver struct {
	cluster *Cluster
	closed  atomic.Bool
}

func (d *driver) Info() hypervisor.Info {
	capabilities := hypervisor.Capabilities{
		SuspendToDisk: true, CPULimit: true, IOLimits: true, BandwidthLimit: true, NestedVirtualization: true, SMBIOS: true,
		CPUModels: true, GuestAgent: true, History: true, ImageFetch: true, Architectures: true, Arguments: true, Console: true,
	}
	if d.cluster.config.Capabilities != nil {
		capabilities = *d.cluster.config.Capabilities
	}
	return hypervisor.Info{Kind: "memory", Capabilities: capabilities}
}

func (d *driver) Close() error {
	d.closed.Store(true)
	return nil
}

// read carries a call out that changes nothing.
func (d *driver) read(ctx context.Context, call Call, work func() error) error {
	_, err := d.call(ctx, call, func(Fault) (hypervisor.Operation, error) { return hypervisor.Operation{}, work() })
	return err
}

// change carries a call out that changes something.
func (d *driver) change(ctx context.Context, call Call, work func(Fault) (hypervisor.Operation, error)) (hypervisor.Operation, error) {
	call.Changed = true
	return d.call(ctx, call, work)
}

func (d *driver) call(ctx context.Context, call Call, work func(Fault) (hypervisor.Operation, error)) (hypervisor.Operation, error) {
	c := d.cluster
	if d.closed.Load() {
		return hypervisor.Operation{}, broker.Errorf(broker.Unreachable, "the driver is closed")
	}
	if err := c.pause(ctx, c.config.Latency); err != nil {
		return hypervisor.Operation{}, err
	}
	c.mu.Lock()
	c.settle()
	fault := c.matchFault(call)
	var operation hypervisor.Operation
	var err error
	switch {
	case fault.Effect == Refuse:
		err = fault.Err
	case fault.Effect == LoseRequest:
		err = lost()
	case fault.Effect == Hang:
		c.mu.Unlock()
		<-ctx.Done()
		return hypervisor.Operation{}, aborted(ctx)
	default:
		operation, err = work(fault)
		c.settle()
	}
	call.Changed = call.Changed && err == nil && fault.Effect != LoseRequest
	if len(c.calls) >= keptCalls {
		c.calls = append(c.calls[:0], c.calls[keptCalls/2:]...)
	}
	c.calls = append(c.calls, call)
	c.mu.Unlock()
	if err == nil && fault.Effect == LoseReply {
		return hypervisor.Operation{}, lost()
	}
	return operation, err
}

func (c *Cluster) pause(ctx context.Context, length time.Duration) error {
	if ctx.Err() != nil {
		return aborted(ctx)
	}
	if length <= 0 {
		return nil
	}
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return aborted(ctx)
	}
}

func aborted(ctx context.Context) error {
	return &broker.Error{Kind: broker.Unreachable, Reason: broker.ReasonHypervisorUnreachable, Detail: "the call was given up", Err: context.Cause(ctx)}
}

func lost() error {
	return broker.Errorf(broker.UnknownOutcome, "the reply was lost")
}

func unsupported(what string) error {
	return broker.Because(broker.Unsupported, broker.ReasonUnsupported, what)
}

func noSuchGuest(id int) error {
	return broker.Because(broker.NotFound, broker.ReasonVMNotFound, id)
}

// reachable finds a node and checks that it answers.
func (c *Cluster) reachable(name string) (*node, error) {
	found := c.node(name)
	if found == nil {
		return nil, broker.Because(broker.NotFound, broker.ReasonNodeNotFound, name)
	}
	if found.offline {
		return nil, broker.Because(broker.Unreachable, broker.ReasonHypervisorUnreachable, "node "+name+" is down")
	}
	return found, nil
}

// find looks a guest up on whatever node it is.
func (c *Cluster) find(id int) (*guest, error) {
	found := c.guests[id]
	if found == nil {
		return nil, noSuchGuest(id)
	}
	if _, err := c.reachable(found.node); err != nil {
		return nil, err
	}
	return found, nil
}

// owned looks a guest up for a change: its owner mark must be ref's and no operation may be at work on it.
func (c *Cluster) owned(ref hypervisor.GuestRef) (*guest, error) {
	found, err := c.find(ref.ID)
	if err != nil {
		return nil, err
	}
	if !found.complete {
		return nil, broker.Errorf(broker.Locked, "guest %d is being created", ref.ID)
	}
	if !strings.EqualFold(found.spec.Ref.Owner, ref.Owner) {
		return nil, broker.Because(broker.Conflict, broker.ReasonForeignGuest, ref.ID)
	}
	return found, nil
}

// idle is owned, and nothing else works on the guest.
func (c *Cluster) idle(ref hypervisor.GuestRef) (*guest, error) {
	found, err := c.owned(ref)
	if err != nil {
		return nil, err
	}
	if found.lock != "" {
		return nil, broker.Errorf(broker.Locked, "guest %d is locked (%s)", ref.ID, found.lock)
	}
	if found.busy != nil {
		return nil, broker.Errorf(broker.Locked, "guest %d is locked by %s", ref.ID, found.busy.kind)
	}
	return found, nil
}

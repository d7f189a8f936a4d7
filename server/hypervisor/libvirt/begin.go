package libvirt

import (
	"context"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

const (
	// endPatience bounds how long an operation tries to put its end down, over a libvirtd that restarts.
	endPatience = time.Minute
	endPause    = 500 * time.Millisecond
	// lease is how long a process of another machine is believed to be at an operation.
	lease = 15 * time.Minute
)

// work is what an operation does in the background; its strings are warnings.
type work func(ctx context.Context, g *guest, report func(float64)) ([]string, error)

// begin starts an operation on a guest that exists. look decides before anything is written: true means that there is nothing to do.
func (d *driver) begin(ctx context.Context, ref hypervisor.GuestRef, kind hypervisor.OperationKind, look func(context.Context, *guest) (bool, error), do work) (hypervisor.Operation, error) {
	facts, err := d.facts(ctx)
	if err != nil {
		return hypervisor.Operation{}, err
	}
	id := newOperationID(kind, ref.ID, d.now())
	claimed, err := d.jobs.claim(id)
	if err != nil {
		if _, foreign := d.owned(ctx, ref); foreign != nil {
			return hypervisor.Operation{}, foreign
		}
		return hypervisor.Operation{}, err
	}
	g, err := d.prepare(ctx, ref, kind, look)
	if err != nil || g == nil {
		d.jobs.release(claimed)
		return hypervisor.Operation{}, err
	}
	if err := d.noteBegin(ctx, g, id); err != nil {
		d.jobs.release(claimed)
		return hypervisor.Operation{}, err
	}
	d.jobs.run(claimed, d.now, func(ctx context.Context, report func(float64)) ([]string, error) {
		warnings, err := do(ctx, g, report)
		d.noteEnd(ctx, g, id, err)
		return warnings, err
	})
	return hypervisor.Operation{ID: id.text, Node: facts.name}, nil
}

// prepare loads the guest; nil without an error when there is nothing to do.
func (d *driver) prepare(ctx context.Context, ref hypervisor.GuestRef, kind hypervisor.OperationKind, look func(context.Context, *guest) (bool, error)) (*guest, error) {
	g, err := d.owned(ctx, ref)
	if err != nil {
		return nil, err
	}
	if g.record.State == guestDeleting && kind != hypervisor.OperationDelete {
		return nil, broker.Errorf(broker.Locked, "guest %d is being deleted", ref.ID)
	}
	done, err := look(ctx, g)
	if err != nil || done {
		return nil, err
	}
	if kind != hypervisor.OperationStop { // pulling the plug overrules everything
		for _, noted := range g.record.Operations {
			if _, mine := d.jobs.state(noted.ID); !mine && noted.running(d.now()) {
				other, _ := parseOperationID(noted.ID)
				return nil, broker.Errorf(broker.Locked, "guest %d is busy: %s by another process", ref.ID, other.kind)
			}
		}
	}
	return g, nil
}

func (d *driver) noteBegin(ctx context.Context, g *guest, id operationID) error {
	g.record.note(recordOperation{ID: id.text, Runner: thisRunner(), Until: d.now().Add(lease).Unix()})
	return d.put(ctx, g)
}

// ended is what is put down of an operation that is over.
func ended(id operationID, err error) recordOperation {
	out := recordOperation{ID: id.text}
	if err != nil {
		out.Kind, out.Detail = string(broker.KindOf(err)), broker.DetailOf(err)
	}
	return out
}

// noteEnd puts the end down, whatever ended ctx. When it can't, the runner's death will tell.
func (d *driver) noteEnd(ctx context.Context, g *guest, id operationID, failed error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endPatience)
	defer cancel()
	g.record.note(ended(id, failed))
	_ = d.insist(ctx, func() error { return d.put(ctx, g) })
}

// insist repeats something that may be repeated until the host answers.
func (d *driver) insist(ctx context.Context, try func() error) error {
	ticker := time.NewTicker(endPause)
	defer ticker.Stop()
	for {
		err := try()
		switch broker.KindOf(err) {
		case broker.Unreachable, broker.UnknownOutcome, broker.Locked:
		default:
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-d.jobs.life.Done():
			return err
		case <-ticker.C:
		}
	}
}

// always is the look of operations that are never superfluous.
func always(context.Context, *guest) (bool, error) { return false, nil }

package memory

import (
	"context"
	"fmt"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

const keptOperations = 100_000

type operation struct {
	hypervisor.Operation
	kind     hypervisor.OperationKind
	guest    int
	started  time.Time
	ends     time.Time // zero = when told
	fault    Fault
	effect   func() error // on success, once
	undo     func()       // on failure, once
	progress float64

	finished bool
	err      error
	warnings []string
}

// begin starts an operation. effect runs when it ends well, undo when it fails; both under the cluster's lock.
func (c *Cluster) begin(node string, subject *guest, id int, kind hypervisor.OperationKind, fault Fault, effect func() error, undo func()) hypervisor.Operation {
	c.sequence++
	started := c.now()
	op := &operation{
		Operation: hypervisor.Operation{ID: fmt.Sprintf("MEM:%s:%08X:%s:%d:", node, c.sequence, kind, id), Node: node},
		kind:      kind, guest: id, started: started, fault: fault, effect: effect, undo: undo, progress: -1,
	}
	if !c.config.Manual {
		op.ends = started
		if c.config.Duration != nil {
			op.ends = started.Add(c.config.Duration(kind))
		}
	}
	if subject != nil {
		subject.busy = op
	}
	c.operations[op.ID] = op
	c.order = append(c.order, op)
	c.running = append(c.running, op)
	c.forgetOldest()
	return op.Operation
}

func (c *Cluster) forgetOldest() {
	if len(c.order) <= keptOperations || !c.order[0].finished {
		return
	}
	delete(c.operations, c.order[0].ID)
	c.order[0] = nil
	c.order = c.order[1:]
}

// settle ends the operations whose time has come.
func (c *Cluster) settle() {
	if len(c.running) == 0 {
		return
	}
	now := c.now()
	due := c.running
	c.running = nil
	var still []*operation
	for _, op := range due {
		if op.finished {
			continue
		}
		if op.ends.IsZero() || op.ends.After(now) {
			still = append(still, op)
			continue
		}
		c.end(op, nil)
	}
	c.running = append(still, c.running...)
}

// end finishes an operation with err or, when the fault it began with says so, with the fault's.
func (c *Cluster) end(op *operation, err error) {
	if op.finished {
		return
	}
	op.finished = true
	if subject := c.guests[op.guest]; subject != nil && subject.busy == op {
		subject.busy = nil
	}
	if err == nil && op.fault.Effect == FailOperation {
		err = op.fault.Err
	}
	if err == nil && op.effect != nil {
		err = op.effect()
	}
	if err != nil && op.undo != nil {
		op.undo()
	}
	if err == nil && op.fault.Effect == Warn {
		op.warnings = op.fault.Warnings
	}
	op.err = err
	op.effect, op.undo = nil, nil
}

// Running are the operations at work, oldest first.
func (c *Cluster) Running() []hypervisor.Operation {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle()
	var out []hypervisor.Operation
	for _, op := range c.running {
		out = append(out, op.Operation)
	}
	return out
}

// SetManual switches Config.Manual for operations that begin from now on.
func (c *Cluster) SetManual(manual bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.config.Manual = manual
}

// Finish ends a running operation well (unless a fault says otherwise). It tells whether it was running.
func (c *Cluster) Finish(id string) bool { return c.endByID(id, nil) }

// Fail ends a running operation with an error. It tells whether it was running.
func (c *Cluster) Fail(id string, err error) bool { return c.endByID(id, err) }

func (c *Cluster) endByID(id string, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	op := c.operations[id]
	if op == nil || op.finished {
		return false
	}
	c.end(op, err)
	c.dropFinished()
	return true
}

// FinishAll ends all running operations well.
func (c *Cluster) FinishAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, op := range append([]*operation(nil), c.running...) {
		c.end(op, nil)
	}
	c.dropFinished()
}

func (c *Cluster) dropFinished() {
	var still []*operation
	for _, op := range c.running {
		if !op.finished {
			still = append(still, op)
		}
	}
	c.running = still
}

// SetProgress sets what OperationState reports for a running operation, 0…1.
func (c *Cluster) SetProgress(id string, progress float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if op := c.operations[id]; op != nil {
		op.progress = progress
	}
}

// Forget makes the cluster lose an operation's record, as PVE does with old tasks; a running one ends without an effect.
func (c *Cluster) Forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	op := c.operations[id]
	if op == nil {
		return
	}
	op.undo = nil
	c.end(op, broker.Errorf(broker.Failed, "the operation vanished"))
	c.dropFinished()
	delete(c.operations, id)
	for i, each := range c.order {
		if each == op {
			c.order = append(c.order[:i:i], c.order[i+1:]...)
			break
		}
	}
}

func (d *driver) OperationState(ctx context.Context, asked hypervisor.Operation) (hypervisor.OperationState, error) {
	if asked.Done() {
		return hypervisor.OperationState{Finished: true, Progress: 1}, nil
	}
	var state hypervisor.OperationState
	err := d.read(ctx, Call{Method: "OperationState", Node: asked.Node}, func() error {
		op := d.cluster.operations[asked.ID]
		if op == nil {
			return broker.Errorf(broker.NotFound, "operation %s is not known", asked.ID)
		}
		if found := d.cluster.node(op.Node); found.offline {
			return broker.Because(broker.Unreachable, broker.ReasonHypervisorUnreachable, "node "+op.Node+" is down")
		}
		state = hypervisor.OperationState{Finished: op.finished, Err: op.err, Warnings: op.warnings, Progress: op.share(d.cluster.now())}
		return nil
	})
	return state, err
}

func (op *operation) share(now time.Time) float64 {
	switch {
	case op.finished:
		return 1
	case op.progress >= 0:
		return op.progress
	case op.ends.IsZero():
		return -1
	}
	whole := op.ends.Sub(op.started)
	if whole <= 0 {
		return -1
	}
	return min(1, max(0, float64(now.Sub(op.started))/float64(whole)))
}

func (d *driver) FindOperation(ctx context.Context, ref hypervisor.GuestRef, kind hypervisor.OperationKind, since time.Time) (hypervisor.Operation, error) {
	var out hypervisor.Operation
	err := d.read(ctx, Call{Method: "FindOperation", Guest: ref.ID, Node: ref.Node}, func() error {
		for i := len(d.cluster.order) - 1; i >= 0; i-- {
			op := d.cluster.order[i]
			if op.kind != kind || op.guest != ref.ID || op.started.Before(since) || ref.ID == 0 && op.Node != ref.Node {
				continue
			}
			out = op.Operation
			return nil
		}
		return broker.Errorf(broker.NotFound, "no %s of guest %d since %s", kind, ref.ID, since.UTC().Format(time.RFC3339))
	})
	return out, err
}

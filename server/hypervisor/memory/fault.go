package memory

import (
	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// Call is one call that reached the cluster.
type Call struct {
	Method string // of hypervisor.Driver, e.g. "CreateGuest"
	Guest  int
	Node   string
	Action hypervisor.PowerAction
	// Changed tells that the call was carried out and was one that changes something.
	Changed bool
}

// Effect is what a fault does.
type Effect int

const (
	// Refuse answers with Fault.Err; nothing changes.
	Refuse Effect = iota + 1
	// LoseRequest answers UnknownOutcome; the request never arrived.
	LoseRequest
	// LoseReply carries the call out and answers UnknownOutcome.
	LoseReply
	// FailOperation lets the operation begin and end with Fault.Err.
	FailOperation
	// Warn lets the operation end well with Fault.Warnings.
	Warn
	// Hang answers nothing until the caller's context ends.
	Hang
)

// Fault makes calls go wrong. Zero fields match every call.
type Fault struct {
	Method string
	Guest  int
	Action hypervisor.PowerAction
	// Times is how many calls it hits; 0 = all until removed. After is how many matching calls it lets pass first.
	Times, After int
	Effect       Effect
	Err          error
	Warnings     []string
}

type armedFault struct {
	Fault
	seen, hit int
}

// Inject arms a fault; the first armed one that matches a call decides. The returned function removes it.
func (c *Cluster) Inject(fault Fault) (remove func()) {
	armed := &armedFault{Fault: fault}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, armed)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for i, each := range c.faults {
			if each == armed {
				c.faults = append(c.faults[:i:i], c.faults[i+1:]...)
				return
			}
		}
	}
}

// Locked is the error of a guest whose configuration is locked for now.
func Locked() error {
	return broker.Errorf(broker.Locked, "the guest is locked by another operation")
}

// Unreachable is the error of a hypervisor that does not answer.
func Unreachable() error {
	return broker.Because(broker.Unreachable, broker.ReasonHypervisorUnreachable, "no route to host")
}

// Calls are all calls so far (the newest 200,000).
func (c *Cluster) Calls() []Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Call(nil), c.calls...)
}

// Changes counts the calls that changed something.
func (c *Cluster) Changes() int {
	count := 0
	for _, each := range c.Calls() {
		if each.Changed {
			count++
		}
	}
	return count
}

func (c *Cluster) matchFault(call Call) Fault {
	for _, each := range c.faults {
		if each.Method != "" && each.Method != call.Method || each.Guest != 0 && each.Guest != call.Guest ||
			each.Action != "" && each.Action != call.Action || each.Times > 0 && each.hit >= each.Times {
			continue
		}
		each.seen++
		if each.seen <= each.After {
			continue
		}
		each.hit++
		return each.Fault
	}
	return Fault{}
}

package crash

import (
	"errors"
	"fmt"
	"strconv"
	"testing"

	"gantry/server/broker"
)

// trial is how an order is carried out.
type trial struct {
	// undo makes the hypervisor fail the order, so that the broker takes it back.
	undo bool
	// arrange is called just before the order is placed. What it does to the hypervisor ends with the trial.
	arrange func()
	disturb disturbance
}

// carryOut prepares an order, places it and follows it to its end; then it verifies everything. It returns the task, what the
// hypervisor was asked for, and the borders.
func (i *installation) carryOut(t *testing.T, each order, how trial) (*broker.Task, []string, []place) {
	t.Helper()
	i.serverReady(t)
	eventually(t, "the node is online again", func() error {
		// Not by i.store, which keeps for a second what it has read.
		for _, status := range i.pairs(t, fmt.Sprintf("SELECT id, status FROM nodes WHERE id = %d", i.nodeID)) {
			if status == strconv.Itoa(int(broker.NodeOnline)) {
				return nil
			}
		}
		return errors.New("it is offline")
	})
	if each.prepare != nil {
		each.prepare(i, t)
	}
	i.forget(t)
	if how.undo {
		i.failNext(t, each.failing)
	}
	if how.arrange != nil {
		how.arrange()
	}
	if how.disturb == nil {
		how.disturb = undisturbed
	}
	each.place(i, t)
	ended, places := i.follow(t, how.disturb)
	asked := i.changes(t)
	i.noFaults(t)
	i.verify(t)
	if t.Failed() {
		i.tell(t, ended)
	}
	if each.cleanUp != nil {
		i.serverReady(t)
		each.cleanUp(i, t)
	}
	return ended, asked, places
}

// tell shows how a task came to its end.
func (i *installation) tell(t *testing.T, task *broker.Task) {
	t.Helper()
	steps, err := i.store.ListTaskSteps(t.Context(), task.ID)
	check(t, err)
	t.Logf("task %d (%s) is %s: %s %s", task.ID, task.Kind, task.State, task.Error, task.Note)
	for _, step := range steps {
		t.Logf("  %s undo=%t %s %s %s", step.Name, step.Undo, step.State, step.Note, step.Operation)
	}
}

// usual carries an order out with nothing in its way, or with nothing but the failure that makes the broker take it back.
func (i *installation) usual(t *testing.T, each order, undo bool) ([]string, []place) {
	t.Helper()
	ended, asked, places := i.carryOut(t, each, trial{undo: undo})
	if end := i.end(undo); ended.State != end {
		i.tell(t, ended)
		t.Fatalf("without a disturbance the task is %s, should be %s", ended.State, end)
	}
	return asked, places
}

func (i *installation) end(undo bool) broker.TaskState {
	if undo {
		return broker.TaskUndone
	}
	return broker.TaskDone
}

package crash

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"gantry/lab/fault"
	"gantry/server/broker"
	"gantry/server/task"
)

// ordersOf are the orders of some kinds.
func ordersOf(kinds ...string) []order {
	return slices.DeleteFunc(slices.Clone(orders), func(each order) bool { return !slices.Contains(kinds, each.kind) })
}

// ordersThatChange are those whose end counts most: the volumes that they make or take away must not be lost, nor be there twice.
func ordersThatChange() []order {
	return ordersOf(broker.CreateKind, broker.ReinstallKind, broker.DeleteKind, broker.DownloadImageKind, broker.DeleteImageKind)
}

// The hypervisor's node loses its power at each border, forwards and backwards, and comes back: what ran there has died, locks stay.
// The broker has an API token, so that only the daemon can remove a lock.
func TestNodeLosesPowerAtEachBorder(t *testing.T) {
	t.Parallel()
	i := install(t, kind{imports: true})
	i.powerCuts = true
	defer i.deleteAll(t)
	for _, each := range ordersThatChange() {
		t.Run(each.name, func(t *testing.T) {
			for direction, undo := range map[string]bool{"do": false, "undo": true} {
				_, places := i.usual(t, each, undo)
				for _, at := range places {
					if at.Undo == undo {
						t.Run(direction+"/"+at.String(), func(t *testing.T) { i.powerCut(t, each, undo, at) })
					}
				}
			}
		})
	}
}

// The same while a task of the node is at work: it is held at one of its own steps.
func TestNodeLosesPowerDuringItsTasks(t *testing.T) {
	t.Parallel()
	i := install(t, kind{imports: true})
	i.powerCuts = true
	defer i.deleteAll(t)
	for _, each := range ordersThatChange() {
		t.Run(each.name, func(t *testing.T) {
			for direction, undo := range map[string]bool{"do": false, "undo": true} {
				_, places := i.usual(t, each, undo)
				for number, at := range places {
					if at.Undo != undo || at.Moment != task.AfterCommit || !waits(places, number) {
						continue
					}
					for _, step := range []string{"begin", "lock", "disk", "config", "apply", "boot", "end"} {
						t.Run(direction+"/"+at.String()+"/"+step, func(t *testing.T) {
							i.holdTasks = step
							defer func() { i.holdTasks = "" }()
							i.powerCut(t, each, undo, at)
						})
					}
				}
			}
		})
	}
	// The log is the daemon's own witness.
	if log, err := os.ReadFile(i.daemon.file(".log")); err != nil || !strings.Contains(string(log), "route=/unlock") {
		t.Errorf("no lock was ever removed by the daemon (%v)", err)
	}
}

// waits tells whether the broker entered a step again after a border: it had waited for an operation.
func waits(places []place, border int) bool {
	return border+1 < len(places) && places[border+1].Moment == task.BeforeDo && places[border+1].Time > 1
}

// powerCut kills the lab at a border and starts it again. The order may end either way, but it must end.
func (i *installation) powerCut(t *testing.T, each order, undo bool, at place) {
	t.Helper()
	disturb, killed := onceAt(at, func(k knock) {
		i.lab.kill(t)
		k.letGo()
		i.lab.start(t)
		i.lab.greeted(t, &labHello{})
	})
	ended, _, _ := i.carryOut(t, each, trial{undo: undo, disturb: func(k knock, here place) {
		if i.holdTasks != "" && !*killed {
			i.hold(t, here, at)
		}
		disturb(k, here)
	}})
	if !*killed || (ended.State != broker.TaskDone && ended.State != broker.TaskUndone) {
		t.Errorf("killed: %t; the task is %s: %s %s", *killed, ended.State, ended.Error, ended.Note)
		i.tell(t, ended)
	}
}

// deleteAll deletes all machines: then nothing at all may be left of them.
func (i *installation) deleteAll(t *testing.T) {
	t.Helper()
	i.serverReady(t)
	vms, _, err := i.store.ListVMs(t.Context(), broker.VMFilter{}, everything)
	check(t, err)
	for _, vm := range vms {
		i.destroy(t, vm.ID)
		i.finish(t)
	}
	i.powerCuts = false
	i.verify(t)
}

// hold makes the next task of the hypervisor stand still at i.holdTasks, from the step before a border on.
func (i *installation) hold(t *testing.T, here, border place) {
	t.Helper()
	if here.Step == border.Step && here.Undo == border.Undo && here.Moment == task.BeforeDo && here.Time == border.Time {
		check(t, i.faults.control("POST", "/rules/task", fault.TaskRule{Step: i.holdTasks, Times: 1, Delay: time.Hour}, nil))
	}
}

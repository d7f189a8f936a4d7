package crash

import (
	"slices"
	"testing"

	"gantry/server/broker"
	"gantry/server/task"
)

// The broker is killed at each border of each step of each workflow, forwards and backwards, and started again on the same data. Each order ends
// as it would have ended, and the hypervisor was asked for exactly what it would have been asked for. Both databases have to stand it in the
// orders that make and take away; the others differ by what is asked of the hypervisor only.
func TestServerIsKilledAtEachBorder(t *testing.T) {
	t.Parallel()
	for name, database := range map[string]struct {
		kind   kind
		orders []order
	}{
		"SQLite":  {kind{imports: true, compares: true}, orders},
		"MariaDB": {kind{imports: true, compares: true, mariadb: true}, ordersThatChange()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := install(t, database.kind)
			for _, each := range database.orders {
				t.Run(each.name, func(t *testing.T) {
					t.Run("do", func(t *testing.T) { i.killServerAtEachBorder(t, each, false) })
					t.Run("undo", func(t *testing.T) { i.killServerAtEachBorder(t, each, true) })
				})
			}
		})
	}
}

// The same where the node's daemon fetches and imports images.
func TestServerIsKilledAtEachBorderBesideTheDaemon(t *testing.T) {
	t.Parallel()
	i := install(t, kind{compares: true})
	for _, each := range ordersByDaemon() {
		t.Run(each.name, func(t *testing.T) {
			before := 0
			arrange := each.place
			each.place = func(i *installation, t *testing.T) int64 {
				before = i.imported(t)
				return arrange(i, t)
			}
			each.cleanUp = func(i *installation, t *testing.T) {
				if now := i.imported(t) - before; now > 1 {
					t.Errorf("%d imports", now)
				}
			}
			i.killServerAtEachBorder(t, each, false)
		})
	}
}

// ofSSH are workflows that work on a node by SSH and systemd, which the lab does not have.
var ofSSH = []string{broker.InstallDaemonKind}

func TestEveryWorkflowIsOrdered(t *testing.T) {
	for kind := range allSteps() {
		if !slices.Contains(ofSSH, kind) && !slices.ContainsFunc(orders, func(each order) bool { return each.kind == kind }) {
			t.Errorf("nothing here orders a %s", kind)
		}
	}
}

func (i *installation) killServerAtEachBorder(t *testing.T, each order, undo bool) {
	usual, places := i.usual(t, each, undo)
	i.coversAllSteps(t, each.kind, places, undo)
	for _, death := range places {
		if death.Undo != undo {
			continue // kills forwards are those of the order that ends well
		}
		t.Run(death.String(), func(t *testing.T) {
			disturb, killed := onceAt(death, func(knock) {
				i.server.kill(t)
				i.server.start(t)
			})
			ended, asked, _ := i.carryOut(t, each, trial{undo: undo, disturb: disturb})
			if !*killed || ended.State != i.end(undo) {
				t.Errorf("killed: %t; the task is %s (%s), should be %s", *killed, ended.State, ended.Error, i.end(undo))
			}
			wanted := usual
			if twice := each.again[death]; twice != "" {
				wanted = slices.Sorted(slices.Values(append(slices.Clone(usual), twice)))
			}
			if !slices.Equal(asked, wanted) {
				t.Errorf("the hypervisor was asked for\n%q\ninstead of\n%q", asked, wanted)
			}
		})
	}
}

// coversAllSteps checks that an order came to all borders of all steps of its workflow, so that the loop over borders is one over all steps.
func (i *installation) coversAllSteps(t *testing.T, kind string, places []place, undo bool) {
	t.Helper()
	for _, step := range i.workflows[kind] {
		if undo && step.Undo == nil {
			continue
		}
		at := slices.Index(places, place{Step: step.Name, Moment: task.BeforeCommit, Undo: undo, Time: 1})
		before := slices.Index(places, place{Step: step.Name, Moment: task.BeforeDo, Undo: undo, Time: 1})
		if at < 0 || before < 0 || at+1 >= len(places) || places[at+1].Moment != task.AfterCommit {
			t.Errorf("step %s was not tried: %v", step.Name, places)
		}
	}
}

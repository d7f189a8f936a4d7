package crash

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"gantry/lab/fault"
	"gantry/server/broker"
	"gantry/server/task"
)

// Each request that changes something is disturbed on its way, forwards and backwards. A request whose effect is there is not sent again; one
// that was not carried out is.
func TestRepliesAreLost(t *testing.T) {
	t.Parallel()
	i := install(t, kind{imports: true, compares: true})
	for _, each := range orders {
		t.Run(each.name, func(t *testing.T) {
			for direction, undo := range map[string]bool{"do": false, "undo": true} {
				usual, _ := i.usual(t, each, undo)
				for number, request := range usual {
					earlier := count(usual[:number], request)
					for name, rule := range map[string]fault.Rule{
						"lost before": {LoseBefore: true}, "lost after": {LoseAfter: true},
						"595": {Status: 595, Reason: "No route to host"}, "596": {Status: 596, Reason: "Connection timed out"},
					} {
						t.Run(fmt.Sprintf("%s/%s/%d/%s", direction, request, earlier, name), func(t *testing.T) {
							rule.Method, rule.Path, _ = strings.Cut(strings.NewReplacer("ID", "*", "VOLUME", "**").Replace(request), " ")
							rule.Skip, rule.Times = earlier, 1
							ended, asked, _ := i.carryOut(t, each, trial{undo: undo, arrange: func() {
								check(t, i.faults.control("POST", "/rules/request", rule, nil))
							}})
							if undo && rule.LoseAfter && ended.State == broker.TaskDone {
								return // what failed and could not say so was tried again, with luck
							}
							if ended.State != i.end(undo) {
								t.Errorf("the task is %s (%s), should be %s", ended.State, ended.Error, i.end(undo))
							}
							wanted := usual
							if !rule.LoseAfter || each.twice(request, undo) && len(asked) > len(usual) {
								wanted = slices.Sorted(slices.Values(append(slices.Clone(usual), request)))
							}
							if !slices.Equal(asked, wanted) {
								t.Errorf("the hypervisor was asked for\n%q\ninstead of\n%q", asked, wanted)
								i.tell(t, ended)
							}
						})
					}
				}
			}
		})
	}
}

func count(all []string, one string) int {
	number := 0
	for _, each := range all {
		if each == one {
			number++
		}
	}
	return number
}

// taskTypes are the tasks that requests start.
func taskTypes(requests []string) []string {
	var types []string
	for _, request := range requests {
		last := request[strings.LastIndex(request, "/")+1:]
		switch {
		case last == "VOLUME":
			types = append(types, "imgdel")
		case strings.HasPrefix(request, "DELETE "):
			types = append(types, "qmdestroy")
		case last == "qemu":
			types = append(types, "qmcreate")
		case last == "resize":
			types = append(types, "resize")
		case last == "download-url":
			types = append(types, "download")
		default:
			types = append(types, "qm"+last)
		}
	}
	slices.Sort(types)
	return slices.Compact(types)
}

// taskSteps are the steps of a task at which it can go wrong.
func taskSteps(kind string) []string {
	switch kind {
	case "qmconfig":
		return []string{"begin", "lock", "disk", "config", "apply", "end"}
	case "qmcreate":
		return []string{"begin", "lock", "disk", "config", "end"}
	case "qmdestroy":
		return []string{"begin", "lock", "disk", "end"}
	case "qmstart":
		return []string{"begin", "lock", "boot", "end"}
	case "download", "imgdel":
		return []string{"begin", "end"}
	}
	return []string{"begin", "lock", "end"}
}

// Each task of the hypervisor goes wrong at each of its own steps. An order ends done, or undone with the hypervisor's words.
func TestTasksGoWrong(t *testing.T) {
	t.Parallel()
	i := install(t, kind{imports: true})
	for _, each := range orders {
		t.Run(each.name, func(t *testing.T) {
			usual, _ := i.usual(t, each, false)
			for _, kind := range taskTypes(usual) {
				i.tasksGoWrong(t, each, kind)
			}
		})
	}
}

// The same where the node's daemon imported the system disk, and a task of the hypervisor attaches it.
func TestTasksGoWrongBesideTheDaemon(t *testing.T) {
	t.Parallel()
	i := install(t, kind{})
	for _, each := range ordersOf(broker.CreateKind, broker.ReinstallKind) {
		t.Run(each.name, func(t *testing.T) { i.tasksGoWrong(t, each, "qmconfig") })
	}
}

func (i *installation) tasksGoWrong(t *testing.T, each order, kind string) {
	for _, step := range taskSteps(kind) {
		for name, rule := range map[string]fault.TaskRule{
			"error": {Error: "no luck"}, "lock timeout": {LockTimeout: true}, "warning": {Warnings: []string{"take care"}},
		} {
			if kind == "qmreboot" && step == "end" && name != "warning" {
				continue // the guest starts all the same, a moment after the broker looked; the next poll tells
			}
			t.Run(kind+"/"+step+"/"+name, func(t *testing.T) {
				rule.Type, rule.Step, rule.Times = kind, step, 1
				ended, _, _ := i.carryOut(t, each, trial{arrange: func() {
					check(t, i.faults.control("POST", "/rules/task", rule, nil))
				}})
				switch {
				case ended.State == broker.TaskDone:
				case rule.Error != "" && ended.State == broker.TaskUndone && strings.Contains(ended.Error, "no luck"):
				default:
					t.Errorf("the task is %s: %q, %q", ended.State, ended.Error, ended.Note)
					i.tell(t, ended)
				}
				if name == "warning" && kind != "imgdel" && !i.noted(t, ended, "take care") {
					t.Error("nobody is told of the warning")
					i.tell(t, ended)
				}
			})
		}
	}
}

// noted tells whether a task's history has a text.
func (i *installation) noted(t *testing.T, task *broker.Task, text string) bool {
	t.Helper()
	steps, err := i.store.ListTaskSteps(t.Context(), task.ID)
	check(t, err)
	return slices.ContainsFunc(steps, func(step broker.TaskStep) bool { return strings.Contains(step.Note, text) })
}

// The node can't be reached for a while, from each border on at which the broker is about to call it or waits for it.
func TestNodeIsAway(t *testing.T) {
	t.Parallel()
	i := install(t, kind{imports: true, compares: true})
	for _, each := range orders {
		t.Run(each.name, func(t *testing.T) {
			for direction, undo := range map[string]bool{"do": false, "undo": true} {
				usual, places := i.usual(t, each, undo)
				for number, at := range places {
					if at.Undo != undo || at.Moment != task.BeforeDo && !waits(places, number) {
						continue
					}
					t.Run(direction+"/"+at.String(), func(t *testing.T) {
						var back sync.WaitGroup
						over := make(chan struct{})
						disturb, done := onceAt(at, func(k knock) {
							check(t, i.faults.control("POST", "/nodes/"+nodeName+"/down", nil, nil))
							back.Go(func() { i.comeBack(t, over) })
							k.letGo()
						})
						ended, asked, _ := i.carryOut(t, each, trial{undo: undo, disturb: disturb})
						close(over)
						back.Wait()
						if !*done || ended.State != i.end(undo) {
							t.Errorf("disturbed: %t; the task is %s (%s), should be %s", *done, ended.State, ended.Error, i.end(undo))
						}
						if repeated := len(asked) - len(usual); repeated < 0 || repeated > 2 {
							t.Errorf("the hypervisor was asked for\n%q\ninstead of\n%q", asked, usual)
						}
					})
				}
			}
		})
	}
}

// comeBack ends the node's absence when two requests have met it, or when the trial is over.
func (i *installation) comeBack(t *testing.T, over <-chan struct{}) {
	for {
		var requests []fault.Request
		if err := i.faults.control("GET", "/requests", nil, &requests); err != nil {
			t.Error(err)
			return
		}
		met := 0
		for _, request := range requests {
			if request.Status == 595 {
				met++
			}
		}
		select {
		case <-over:
			met = 2
		default:
		}
		if met >= 2 {
			if err := i.faults.control("POST", "/nodes/"+nodeName+"/up", nil, nil); err != nil {
				t.Error(err)
			}
			return
		}
	}
}

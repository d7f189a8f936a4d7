package storm

import (
	"time"

	"gantry/lab/fault"
)

// every makes rules that act on each step-th matching request, count times in all.
func every(step, count int, rule fault.Rule) []fault.Rule {
	rules := make([]fault.Rule, count)
	rule.Times = 1
	for i := range rules {
		rule.Skip = step*(i+1) - 1
		rules[i] = rule
	}
	return rules
}

// requestFaults are what goes wrong with calls. The steps are primes, so that faults meet in all ways.
func requestFaults() (rules []fault.Rule) {
	const (
		create = "/nodes/*/qemu"
		resize = "/nodes/*/qemu/*/resize"
		start  = "/nodes/*/qemu/*/status/start"
		stop   = "/nodes/*/qemu/*/status/stop"
		guest  = "/nodes/*/qemu/*"
		config = "/nodes/*/qemu/*/config"
		state  = "/nodes/*/tasks/*/status"
	)
	lostBefore, lostAfter, locked := fault.Rule{LoseBefore: true}, fault.Rule{LoseAfter: true}, fault.Rule{LockTimeout: true}
	noRoute := fault.Rule{Status: 595, Reason: "No route to host"}
	brokenOff := fault.Rule{Status: 596, Reason: "Connection timed out"}
	slow := fault.Rule{Latency: 30 * time.Millisecond}
	for _, each := range []struct {
		method, path string
		step, count  int
		rule         fault.Rule
	}{
		{"POST", create, 41, 20, lostAfter}, {"POST", create, 53, 15, lostBefore}, {"POST", create, 61, 15, brokenOff},
		{"POST", create, 67, 10, noRoute}, {"POST", create, 17, 50, slow},
		{"PUT", resize, 43, 20, lostAfter}, {"PUT", resize, 59, 15, lostBefore}, {"PUT", resize, 37, 20, locked}, {"PUT", resize, 71, 10, brokenOff},
		{"POST", start, 47, 20, lostAfter}, {"POST", start, 61, 15, lostBefore}, {"POST", start, 31, 20, locked}, {"POST", start, 73, 10, noRoute},
		{"POST", stop, 29, 20, lostAfter}, {"POST", stop, 37, 15, locked},
		{"DELETE", guest, 23, 30, lostAfter}, {"DELETE", guest, 31, 20, lostBefore}, {"DELETE", guest, 41, 15, brokenOff},
		{"GET", state, 97, 20, brokenOff}, {"GET", state, 89, 20, lostBefore}, {"GET", state, 19, 100, slow},
		{"GET", config, 101, 20, noRoute}, {"GET", config, 83, 20, lostBefore},
		{"GET", "/cluster/resources", 5, 5, noRoute},
	} {
		each.rule.Method, each.rule.Path = each.method, each.path
		rules = append(rules, every(each.step, each.count, each.rule)...)
	}
	return rules
}

// taskFaults are what goes wrong while the hypervisor works. Where an order is taken back, only what passes goes wrong: a guest
// that can never be removed rightly stays, with its task stuck, until somebody has looked.
func taskFaults() (rules []fault.TaskRule) {
	for _, each := range []struct {
		step, count int
		rule        fault.TaskRule
	}{
		{37, 20, fault.TaskRule{Type: "qmcreate", Step: "disk", Error: "copy failed: No space left on device"}},
		{59, 10, fault.TaskRule{Type: "qmcreate", Step: "config", Error: "unable to write the configuration"}},
		{29, 20, fault.TaskRule{Type: "qmcreate", Warnings: []string{"the image is old"}}},
		{43, 15, fault.TaskRule{Type: "qmstart", Step: "boot", Error: "start failed: QEMU exited with code 1"}},
		{31, 15, fault.TaskRule{Type: "qmstart", Step: "lock", LockTimeout: true}},
		{23, 20, fault.TaskRule{Type: "qmdestroy", Step: "lock", LockTimeout: true}},
		{13, 40, fault.TaskRule{Type: "qmcreate", Step: "begin", Delay: 50 * time.Millisecond}},
	} {
		each.rule.Times = 1
		for i := range each.count {
			each.rule.Skip = each.step*(i+1) - 1
			rules = append(rules, each.rule)
		}
	}
	return rules
}

// misbehave lets the lab fail from now on.
func (s *scene) misbehave() {
	faults := s.lab.Faults()
	for _, rule := range requestFaults() {
		faults.Add(rule)
	}
	for _, rule := range taskFaults() {
		faults.AddTask(rule)
	}
}

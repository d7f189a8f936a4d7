// Package fault makes the lab misbehave on purpose and remembers what was asked of it.
package fault

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"
)

// Rule matches API requests and says what goes wrong with them.
type Rule struct {
	// Method is the HTTP verb, "" = any. Path is the path below /api2/json; * stands for one part, ** for any number.
	Method string `json:"method,omitempty"`
	Path   string `json:"path,omitempty"`
	// Skip lets that many matching requests pass first; Times is how often the rule acts after that, 0 = always.
	Skip  int `json:"skip,omitempty"`
	Times int `json:"times,omitempty"`

	// Latency is waited before the request is looked at.
	Latency time.Duration `json:"latency,omitempty"`
	// Status and Reason answer instead of the lab, e.g. 595 "No route to host" or 500 "got timeout".
	Status int    `json:"status,omitempty"`
	Reason string `json:"reason,omitempty"`
	// LoseBefore cuts the connection without doing anything. LoseAfter carries the request out and cuts the connection.
	LoseBefore bool `json:"loseBefore,omitempty"`
	LoseAfter  bool `json:"loseAfter,omitempty"`
	// Hang keeps the connection open without an answer until the client gives up or the rule is removed.
	Hang bool `json:"hang,omitempty"`
	// LockTimeout answers as a node whose configuration lock of the guest is held by someone else.
	LockTimeout bool `json:"lockTimeout,omitempty"`
}

// TaskRule matches tasks and says how they fail.
type TaskRule struct {
	// Type is the task's type (qmcreate, imgdel, …), ID its id (often a VMID), Node its node; "" = any.
	Type string `json:"type,omitempty"`
	ID   string `json:"id,omitempty"`
	Node string `json:"node,omitempty"`
	// Step is where the rule acts: "begin", "lock", "disk" (each volume), "config", "apply" (changes are written, but pending), "boot",
	// "end"; "" = begin.
	Step  string `json:"step,omitempty"`
	Skip  int    `json:"skip,omitempty"`
	Times int    `json:"times,omitempty"`

	// Delay is waited at that step.
	Delay time.Duration `json:"delay,omitempty"`
	// Error fails the task with this text. LockTimeout fails it as a held configuration lock does.
	Error       string `json:"error,omitempty"`
	LockTimeout bool   `json:"lockTimeout,omitempty"`
	// Warnings are printed; the task ends with "WARNINGS: n" when nothing else fails.
	Warnings []string `json:"warnings,omitempty"`
}

// Request is one line of the journal.
type Request struct {
	Time   time.Time      `json:"time"`
	Method string         `json:"method"`
	Path   string         `json:"path"` // below /api2/json
	Params map[string]any `json:"params,omitempty"`
	User   string         `json:"user,omitempty"` // empty when not authenticated
	Status int            `json:"status"`         // 0 while it is being answered, or when the reply was lost
}

type activeRule[R any] struct {
	id      int
	rule    R
	seen    int
	removed chan struct{}
}

// Faults holds the rules and the journal. It is safe for concurrent use.
type Faults struct {
	mu       sync.Mutex
	nextID   int
	rules    []*activeRule[Rule]
	tasks    []*activeRule[TaskRule]
	down     map[string]string
	journal  []*Request
	expire   func()
	refresh  func()
	keepLast int
}

// New makes a set without rules. expire voids all tickets; refresh makes pvestatd run now.
func New(expire, refresh func()) *Faults {
	return &Faults{down: map[string]string{}, expire: expire, refresh: refresh, keepLast: 200_000}
}

// Add adds a rule for requests and returns its number.
func (f *Faults) Add(rule Rule) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nextID++
	f.rules = append(f.rules, &activeRule[Rule]{id: f.nextID, rule: rule, removed: make(chan struct{})})
	return f.nextID
}

// AddTask adds a rule for tasks and returns its number.
func (f *Faults) AddTask(rule TaskRule) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nextID++
	if rule.Step == "" {
		rule.Step = "begin"
	}
	f.tasks = append(f.tasks, &activeRule[TaskRule]{id: f.nextID, rule: rule, removed: make(chan struct{})})
	return f.nextID
}

// Remove takes a rule away; hanging requests of it go on.
func (f *Faults) Remove(id int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = without(f.rules, func(number int) bool { return number == id })
	f.tasks = without(f.tasks, func(number int) bool { return number == id })
}

// Clear takes all rules away and brings all nodes up.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := func(int) bool { return true }
	f.rules, f.tasks = without(f.rules, all), without(f.tasks, all)
	clear(f.down)
}

func without[R any](rules []*activeRule[R], match func(id int) bool) []*activeRule[R] {
	var kept []*activeRule[R]
	for _, rule := range rules {
		if match(rule.id) {
			close(rule.removed)
			continue
		}
		kept = append(kept, rule)
	}
	return kept
}

// due counts a match and tells whether the rule acts this time.
func (r *activeRule[R]) due(skip, times int) bool {
	r.seen++
	return r.seen > skip && (times == 0 || r.seen <= skip+times)
}

// ExpireTickets voids all login tickets made so far.
func (f *Faults) ExpireTickets() { f.expire() }

// RefreshStatus makes the status daemon run now, so that /cluster/resources is fresh.
func (f *Faults) RefreshStatus() { f.refresh() }

// NodeDown makes a node unreachable: requests to it get 595 with the reason ("" = "No route to host").
func (f *Faults) NodeDown(node, reason string) {
	if reason == "" {
		reason = "No route to host"
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down[node] = reason
}

// NodeUp brings it back.
func (f *Faults) NodeUp(node string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.down, node)
}

// Down returns why a node is unreachable, "" when it is up.
func (f *Faults) Down(node string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.down[node]
}

// Match returns the rules that act on the request, with channels that close when a rule is removed.
func (f *Faults) Match(method, path string) ([]Rule, []<-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var rules []Rule
	var removed []<-chan struct{}
	for _, active := range f.rules {
		rule := active.rule
		if (rule.Method == "" || rule.Method == method) && Glob(rule.Path, path) && active.due(rule.Skip, rule.Times) {
			rules = append(rules, rule)
			removed = append(removed, active.removed)
		}
	}
	return rules, removed
}

// Step applies the task rules at one step of a task.
func (f *Faults) Step(ctx context.Context, node, kind, id, step string) error {
	for _, rule := range f.matchTasks(node, kind, id, func(rule TaskRule) bool {
		return rule.Step == step && (rule.Error != "" || rule.LockTimeout || rule.Delay > 0)
	}) {
		if rule.Delay > 0 {
			select {
			case <-time.After(rule.Delay):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if rule.LockTimeout {
			return errors.New("can't lock file '/var/lock/qemu-server/lock-" + id + ".conf' - got timeout")
		}
		if rule.Error != "" {
			return errors.New(rule.Error)
		}
	}
	return nil
}

// Warnings are those that the rules want in the task.
func (f *Faults) Warnings(node, kind, id string) []string {
	var texts []string
	for _, rule := range f.matchTasks(node, kind, id, func(rule TaskRule) bool { return len(rule.Warnings) > 0 }) {
		texts = append(texts, rule.Warnings...)
	}
	return texts
}

func (f *Faults) matchTasks(node, kind, id string, wanted func(TaskRule) bool) []TaskRule {
	f.mu.Lock()
	defer f.mu.Unlock()
	var rules []TaskRule
	for _, active := range f.tasks {
		rule := active.rule
		if (rule.Node == "" || rule.Node == node) && (rule.Type == "" || rule.Type == kind) && (rule.ID == "" || rule.ID == id) &&
			wanted(rule) && active.due(rule.Skip, rule.Times) {
			rules = append(rules, rule)
		}
	}
	return rules
}

// Glob matches a path: * is one part or a piece of one, ** any number of parts; "" matches all.
func Glob(pattern, path string) bool {
	if pattern == "" {
		return true
	}
	return globParts(strings.Split(strings.Trim(pattern, "/"), "/"), strings.Split(strings.Trim(path, "/"), "/"))
}

func globParts(pattern, parts []string) bool {
	if len(pattern) == 0 {
		return len(parts) == 0
	}
	if pattern[0] == "**" {
		for skip := 0; skip <= len(parts); skip++ {
			if globParts(pattern[1:], parts[skip:]) {
				return true
			}
		}
		return false
	}
	return len(parts) > 0 && globPart(pattern[0], parts[0]) && globParts(pattern[1:], parts[1:])
}

func globPart(pattern, part string) bool {
	before, after, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == part
	}
	if !strings.HasPrefix(part, before) {
		return false
	}
	rest := part[len(before):]
	for skip := 0; skip <= len(rest); skip++ {
		if globPart(after, rest[skip:]) {
			return true
		}
	}
	return false
}

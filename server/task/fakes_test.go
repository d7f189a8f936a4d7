package task_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
	"gantry/server/store"
	"gantry/server/task"
)

// patience bounds how long a test waits for what should come at once.
const patience = 2 * time.Minute

// operations is an operation source whose operations stand as the test says; it knows no others.
type operations struct {
	mu     *sync.Mutex
	states map[string]hypervisor.OperationState
	errs   map[string]error
	asked  map[string]int
}

func newOperations() operations {
	return operations{&sync.Mutex{}, map[string]hypervisor.OperationState{}, map[string]error{}, map[string]int{}}
}

func (o operations) set(id string, state hypervisor.OperationState, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.states[id], o.errs[id] = state, err
}

// questions is how often was asked for an operation.
func (o operations) questions(id string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked[id]
}

func (o operations) OperationState(_ context.Context, _, _ int64, operation hypervisor.Operation) (hypervisor.OperationState, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked[operation.ID]++
	if err := o.errs[operation.ID]; err != nil {
		return hypervisor.OperationState{}, err
	}
	state, known := o.states[operation.ID]
	if !known {
		return hypervisor.OperationState{}, broker.Errorf(broker.NotFound, "operation %s is not known", operation.ID)
	}
	return state, nil
}

// bench is an engine at work on a store, with a record of what happened.
type bench struct {
	t       testing.TB
	store   *store.Store
	ops     operations
	engine  *task.Engine
	changes chan broker.Task

	mu     sync.Mutex
	events []string
}

func (b *bench) note(event string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, event)
}

func (b *bench) noted() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.events...)
}

// newBench makes an engine that is not started yet.
func newBench(t testing.TB, s *store.Store, workflows func(b *bench) []task.Workflow, change ...func(config *task.Config)) *bench {
	t.Helper()
	b := &bench{t: t, store: s, ops: newOperations(), changes: make(chan broker.Task, 10_000)}
	config := task.Config{
		Store: s, Workflows: workflows(b), Operations: b.ops, OnChange: func(changed broker.Task) { b.changes <- changed },
		Random: func() float64 { return 0.5 },
	}
	for _, each := range change {
		each(&config)
	}
	var err error
	if b.engine, err = task.New(config); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) start() {
	b.t.Helper()
	if err := b.engine.Start(context.Background()); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(b.stop)
}

func (b *bench) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := b.engine.Stop(ctx); err != nil {
		b.t.Error(err)
	}
}

// add queues a task of the first workflow.
func (b *bench) add(kind string, change ...func(added *broker.Task)) int64 {
	b.t.Helper()
	now := time.Now()
	added := &broker.Task{
		Kind: kind, State: broker.TaskReady, CreatedAt: now, UpdatedAt: now, RunAfter: now, Deadline: now.Add(b.engine.Deadline(kind)),
	}
	for _, each := range change {
		each(added)
	}
	if err := b.store.InsertTask(context.Background(), added); err != nil {
		b.t.Fatal(err)
	}
	b.engine.Wake()
	return added.ID
}

// await returns when a task is as wanted.
func (b *bench) await(id int64, what string, wanted func(changed *broker.Task) bool) *broker.Task {
	b.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case changed := <-b.changes:
			if changed.ID == id && wanted(&changed) {
				return &changed
			}
		case <-timeout:
			found, _ := b.store.FindTask(context.Background(), id)
			b.t.Fatalf("task is not %s: %+v; events %v", what, found, b.noted())
		}
	}
}

func (b *bench) awaitState(id int64, state broker.TaskState) *broker.Task {
	b.t.Helper()
	return b.await(id, string(state), func(changed *broker.Task) bool { return changed.State == state })
}

// history gives a task's history as "name state" or "name undo state".
func (b *bench) history(id int64) (lines []string) {
	b.t.Helper()
	steps, err := b.store.ListTaskSteps(context.Background(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, step := range steps {
		line := step.Name
		if step.Undo {
			line += " undo"
		}
		lines = append(lines, line+" "+step.State)
	}
	return lines
}

// eachStore runs a test on an empty store of every kind.
func eachStore(t *testing.T, test func(t *testing.T, s *store.Store)) {
	t.Helper()
	for name, dsn := range databases {
		t.Run(name, func(t *testing.T) { test(t, openStore(t, dsn(t))) })
	}
}

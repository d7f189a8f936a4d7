package task

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"gantry/server/broker"
)

// Config says what an engine works with. Store, Workflows and Operations are required.
type Config struct {
	Store      broker.Store
	Workflows  []Workflow
	Operations OperationSource
	// Owner names this engine in leases; "" = a random name. No two engines may share one. An engine that is started under the
	// name of one that died goes on with its tasks at once.
	Owner string
	// Workers bounds how many steps run at once; 0 = 32. Tasks that wait need no worker.
	Workers int
	// Limits bound how many tasks at work share a key; the zero value is DefaultLimits.
	Limits broker.TaskLimits
	// Lease is how long a task stays with an engine that died; 0 = 30 s. It is renewed at a third of it.
	Lease time.Duration
	// Shared tells that other servers use the same database: it is looked at every Poll (0 = 500 ms), and operations that another
	// server waited for are adopted after a while. Without it, the engine reacts to Wake and to its own timers alone.
	Shared bool
	Poll   time.Duration
	// PauseScale multiplies the pauses after failures; 0 = 1. Tests that make things fail have little time.
	PauseScale float64
	Log        *slog.Logger
	// Now is the clock, nil = time.Now; Random gives 0 ≤ x < 1 for pauses, nil = math/rand.
	Now    func() time.Time
	Random func() float64
	// OnChange, when set, hears of each committed change of a task that this engine works on. It must not block.
	OnChange func(task broker.Task)
	// Boundary, when set, is called at each moment of each step at which a process could die. Tests kill there.
	Boundary func(moment Moment, task broker.Task)
}

// DefaultLimits are what a node and a storage bear without slowing each other down.
var DefaultLimits = broker.TaskLimits{PerNode: 4, PerStorage: 2, PerTemplate: 1}

// Engine claims tasks and carries them out. It is safe for concurrent use.
type Engine struct {
	Config
	workflows map[string]*Workflow
	woken     chan struct{}
	watchers  *watchers

	// stopping is closed by Stop: no more claims, and no more steps after the ones that run.
	stopping chan struct{}
	// calls is cancelled when Stop's patience is over; it carries all calls of steps.
	calls      context.Context
	cancel     context.CancelFunc
	background sync.WaitGroup
	once       sync.Once

	mu      sync.Mutex
	running map[int64]time.Time // task → end of its lease

	arriving atomic.Int64 // orders that are being taken
}

// New checks the configuration. It starts nothing.
func New(config Config) (*Engine, error) {
	if config.Store == nil || config.Operations == nil {
		return nil, errors.New("task engine: store and operation source are needed")
	}
	if config.Owner == "" {
		config.Owner = rand.Text()
	}
	if config.Workers <= 0 {
		config.Workers = 32
	}
	if config.Limits == (broker.TaskLimits{}) {
		config.Limits = DefaultLimits
	}
	if config.Lease <= 0 {
		config.Lease = 30 * time.Second
	}
	if config.Poll <= 0 {
		config.Poll = 500 * time.Millisecond
	}
	if config.PauseScale <= 0 {
		config.PauseScale = 1
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Random == nil {
		config.Random = mathrand.Float64
	}
	e := &Engine{
		Config: config, workflows: map[string]*Workflow{}, woken: make(chan struct{}, 1), stopping: make(chan struct{}),
		running: map[int64]time.Time{},
	}
	for _, workflow := range config.Workflows {
		if workflow.Kind == "" || len(workflow.Steps) == 0 || e.workflows[workflow.Kind] != nil {
			return nil, fmt.Errorf("task engine: workflow %q has no steps or is there twice", workflow.Kind)
		}
		e.workflows[workflow.Kind] = &workflow
	}
	e.calls, e.cancel = context.WithCancel(context.Background())
	e.watchers = newWatchers(e)
	return e, nil
}

// Start takes back what the last engine of this name was at when it died, adopts what waited, and begins to claim. The context
// bounds the start alone.
func (e *Engine) Start(ctx context.Context) error {
	if err := e.Store.EndLeases(ctx, e.Owner, e.Now()); err != nil {
		return fmt.Errorf("take back tasks: %w", err)
	}
	waiting, err := e.Store.WaitingTasks(ctx, 0)
	if err != nil {
		return fmt.Errorf("adopt waiting tasks: %w", err)
	}
	for _, task := range waiting {
		e.watchers.watch(task, firstLook)
	}
	e.background.Go(e.claimLoop)
	e.background.Go(e.heartbeat)
	return nil
}

// Wake tells that a task was committed. It returns at once.
func (e *Engine) Wake() {
	select {
	case e.woken <- struct{}{}:
	default:
	}
}

// Arriving tells that an order is being taken, until ended is called. While many are, fewer workers begin: who orders waits for the
// answer, and the machines are not ready any later for it.
func (e *Engine) Arriving() (ended func()) {
	e.arriving.Add(1)
	return func() {
		if e.arriving.Add(-1) == rush-1 {
			e.Wake()
		}
	}
}

const (
	// rush is how many orders at a time are many.
	rush = 4
	// rushWorkers are then at work, so that a stream of orders without end does not stop everything else.
	rushWorkers = 4
)

// Deadline gives how long a task of the kind may take; an unknown kind gets an hour.
func (e *Engine) Deadline(kind string) time.Duration {
	if workflow := e.workflows[kind]; workflow != nil {
		return workflow.deadline()
	}
	return time.Hour
}

// Title gives the names of a kind and of one of its steps; nil when they are unknown.
func (e *Engine) Title(kind, step string) (workflowTitle, stepTitle map[broker.Language]string) {
	workflow := e.workflows[kind]
	if workflow == nil {
		return nil, nil
	}
	for i := range workflow.Steps {
		if workflow.Steps[i].Name == step {
			return workflow.Title, workflow.Steps[i].Title
		}
	}
	return workflow.Title, nil
}

// Stop claims nothing more, lets running steps finish their call and gives their tasks back. When ctx ends before that, the calls
// are cancelled; what they were at is begun again as a further attempt.
func (e *Engine) Stop(ctx context.Context) error {
	e.once.Do(func() { close(e.stopping) })
	ended := make(chan struct{})
	go func() {
		e.background.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		e.cancel()
		return nil
	case <-ctx.Done():
	}
	e.cancel()
	// Steps that heed their context end now.
	select {
	case <-ended:
		return nil
	case <-time.After(lastPatience):
		return errors.New("stop task engine: a step does not return")
	}
}

// lastPatience is what steps get to return after their context was cancelled.
const lastPatience = 2 * time.Second

func (e *Engine) stops() bool {
	select {
	case <-e.stopping:
		return true
	default:
		return false
	}
}

func (w *Workflow) deadline() time.Duration {
	if w.Deadline > 0 {
		return w.Deadline
	}
	return time.Hour
}

func (w *Workflow) undoDeadline() time.Duration {
	if w.UndoDeadline > 0 {
		return w.UndoDeadline
	}
	return 6 * time.Hour
}

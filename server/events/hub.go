// Package events tells whoever listens what changed: tasks, and that the hypervisors were looked at anew. It watches the store,
// so that it sees what other replicas did, and only while somebody listens.
package events

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"gantry/server/broker"
)

const (
	// DefaultInterval is how often the store is looked at while somebody listens.
	DefaultInterval = 700 * time.Millisecond
	// Buffer is how many events may wait for one listener; who is slower is cut off and has to begin anew.
	Buffer = 256
	// MaxListeners bounds how many listen at once.
	MaxListeners = 200
	// watched is how many tasks of each sort one look takes in.
	watched = 200
	// overlap is how far back a look goes behind the last one: a transaction may end later than the time that it wrote.
	overlap = 5 * time.Second
	// lookTimeout bounds one look.
	lookTimeout = 5 * time.Second
)

// Store is what the hub watches; broker.Store has it.
type Store interface {
	ListTasks(ctx context.Context, filter broker.TaskFilter, page broker.Page) ([]broker.Task, int64, error)
	TasksFinishedAfter(ctx context.Context, since time.Time, count int) ([]broker.Task, error)
	ListClusters(ctx context.Context) ([]broker.Cluster, error)
}

// Event is one thing that changed: a task, or with Task nil the observed state of machines and nodes.
type Event struct {
	Task *broker.Task
}

// Config sets a Hub up. Store is required.
type Config struct {
	Store Store
	// Interval of 0 means DefaultInterval.
	Interval time.Duration
	Now      func() time.Time
	Log      *slog.Logger
}

// Hub gives events to listeners. It is safe for concurrent use.
type Hub struct {
	config Config

	mutex     sync.Mutex
	listeners map[*listener]struct{}
	closed    bool
	stop      context.CancelFunc // of the watch under way; nil while nobody listens
	done      chan struct{}
}

type listener struct{ events chan Event }

// New makes a Hub. Close it.
func New(config Config) *Hub {
	if config.Interval <= 0 {
		config.Interval = DefaultInterval
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	return &Hub{config: config, listeners: map[*listener]struct{}{}}
}

// Listen gives the events from now on. The channel is closed when the hub closes and when the listener is too slow; cancel ends it
// earlier and may be called more than once. Busy when too many listen, Unreachable when the hub is closed.
func (h *Hub) Listen() (events <-chan Event, cancel func(), err error) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	switch {
	case h.closed:
		return nil, nil, broker.Errorf(broker.Unreachable, "the server is stopping")
	case len(h.listeners) >= MaxListeners:
		return nil, nil, broker.Errorf(broker.Busy, "too many listen to the events at once")
	}
	added := &listener{events: make(chan Event, Buffer)}
	h.listeners[added] = struct{}{}
	if h.stop == nil {
		ctx, stop := context.WithCancel(context.Background())
		h.stop, h.done = stop, make(chan struct{})
		go h.watch(ctx, h.done)
	}
	return added.events, func() { h.remove(added) }, nil
}

func (h *Hub) remove(gone *listener) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if _, found := h.listeners[gone]; !found {
		return
	}
	delete(h.listeners, gone)
	close(gone.events)
	if len(h.listeners) == 0 && h.stop != nil {
		h.stop()
		h.stop = nil
	}
}

// Close ends all listeners and the watch.
func (h *Hub) Close() {
	h.mutex.Lock()
	h.closed = true
	for each := range h.listeners {
		delete(h.listeners, each)
		close(each.events)
	}
	if h.stop != nil {
		h.stop()
		h.stop = nil
	}
	done := h.done
	h.mutex.Unlock()
	if done != nil {
		<-done
	}
}

// publish hands an event to everybody, and cuts off who does not keep up.
func (h *Hub) publish(ctx context.Context, event Event) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if ctx.Err() != nil { // a watch that was stopped has other listeners after it
		return
	}
	for each := range h.listeners {
		select {
		case each.events <- event:
		default:
			delete(h.listeners, each)
			close(each.events)
		}
	}
}

// mark is how a task stood when it was published last.
type mark struct {
	updated, seen time.Time
	state         broker.TaskState
	progress      int
	note          string
}

func (h *Hub) watch(ctx context.Context, done chan<- struct{}) {
	defer close(done)
	ticker := time.NewTicker(h.config.Interval)
	defer ticker.Stop()
	look := &look{hub: h, since: h.config.Now(), known: map[int64]mark{}}
	for {
		if err := look.once(ctx); err != nil && ctx.Err() == nil {
			h.config.Log.Warn("look for events", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// look remembers what was published.
type look struct {
	hub      *Hub
	since    time.Time
	known    map[int64]mark
	observed time.Time
}

func (l *look) once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	now := l.hub.config.Now()
	active, _, err := l.hub.config.Store.ListTasks(ctx, broker.TaskFilter{Active: true}, broker.Page{Number: 1, Size: watched})
	if err != nil {
		return err
	}
	ended, err := l.hub.config.Store.TasksFinishedAfter(ctx, l.since.Add(-overlap), watched)
	if err != nil {
		return err
	}
	for _, tasks := range [][]broker.Task{active, ended} {
		for i := range tasks {
			l.tell(ctx, &tasks[i], now)
		}
	}
	for id, mark := range l.known { // what no look showed for a while is not shown again
		if now.Sub(mark.seen) > 2*overlap {
			delete(l.known, id)
		}
	}
	l.since = now
	return l.tellObserved(ctx)
}

func (l *look) tell(ctx context.Context, task *broker.Task, now time.Time) {
	stands := mark{updated: task.UpdatedAt, state: task.State, progress: task.Progress, note: task.Note}
	before := l.known[task.ID]
	before.seen = time.Time{}
	if stands.updated.Before(before.updated) { // the two lists of a look are not of the same moment
		return
	}
	if before != stands {
		l.hub.publish(ctx, Event{Task: task})
	}
	stands.seen = now
	l.known[task.ID] = stands
}

// tellObserved publishes that some cluster was looked at since.
func (l *look) tellObserved(ctx context.Context) error {
	clusters, err := l.hub.config.Store.ListClusters(ctx)
	if err != nil {
		return err
	}
	newest := l.observed
	for _, cluster := range clusters {
		if cluster.SeenAt != nil && cluster.SeenAt.After(newest) {
			newest = *cluster.SeenAt
		}
	}
	if !newest.After(l.observed) {
		return nil
	}
	first := l.observed.IsZero()
	l.observed = newest
	if !first {
		l.hub.publish(ctx, Event{})
	}
	return nil
}

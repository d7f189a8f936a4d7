package task

import (
	"context"
	"sync"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

const (
	// An operation is looked at after firstLook, then every firstLook or tenth part of the time that it takes already, up to
	// longestLook: its end is noticed with a delay of a twentieth on average, and long ones cost little.
	firstLook   = 5 * time.Millisecond
	lookPart    = 10
	longestLook = time.Second
	// unreachableLook is the pace while the hypervisor does not answer.
	unreachableLook = 5 * time.Second
	// looksAtOnce bounds the questions under way to one cluster.
	looksAtOnce = 8
	// lookTimeout bounds one question.
	lookTimeout = 30 * time.Second
	// progressPause is how often at most the progress of an operation is stored.
	progressPause = time.Second
)

// watchers wait for all operations outside, with one goroutine a cluster that has any.
type watchers struct {
	engine *Engine

	mu       sync.Mutex
	clusters map[int64]*watcher
	results  map[int64]heldResult // task → what its watcher found out, until the task is claimed
}

type heldResult struct {
	operation string
	state     hypervisor.OperationState
	at        time.Time
}

func newWatchers(e *Engine) *watchers {
	return &watchers{engine: e, clusters: map[int64]*watcher{}, results: map[int64]heldResult{}}
}

// watch looks at a waiting task's operation until it has ended, first after pause. A task that is watched already keeps its pace
// when that is quicker.
func (w *watchers) watch(task broker.Task, pause time.Duration) {
	if task.Operation == "" || w.engine.stops() {
		return
	}
	next := w.engine.Now().Add(pause)
	w.mu.Lock()
	defer w.mu.Unlock()
	cluster := w.clusters[task.ClusterID]
	if cluster == nil {
		cluster = &watcher{all: w, id: task.ClusterID, watched: map[int64]*watched{}, changed: make(chan struct{}, 1)}
		w.clusters[task.ClusterID] = cluster
		w.engine.background.Go(cluster.serve)
	}
	known := cluster.watched[task.ID]
	if known != nil && known.task.Operation == task.Operation && !known.next.After(next) {
		return
	}
	cluster.watched[task.ID] = &watched{task: task, since: next.Add(-pause), next: next, pause: pause}
	cluster.signal()
}

// take gives and forgets what was found out about a task's operation; nil when nothing was.
func (w *watchers) take(task int64, operation string) *hypervisor.OperationState {
	w.mu.Lock()
	defer w.mu.Unlock()
	held, known := w.results[task]
	delete(w.results, task)
	if !known || held.operation != operation {
		return nil
	}
	return &held.state
}

// forgetOld drops results of tasks that another engine has claimed meanwhile.
func (w *watchers) forgetOld() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for task, held := range w.results {
		if w.engine.Now().Sub(held.at) > w.engine.Lease {
			delete(w.results, task)
		}
	}
}

// ask puts the question. An operation that is no longer known has ended: the step must look for itself.
func (w *watchers) ask(task *broker.Task) (hypervisor.OperationState, error) {
	ctx, cancel := context.WithTimeout(w.engine.calls, lookTimeout)
	defer cancel()
	operation := hypervisor.Operation{ID: task.Operation, Node: task.OperationNode}
	state, err := w.engine.Operations.OperationState(ctx, task.ClusterID, task.NodeID, operation)
	if broker.Is(err, broker.NotFound) {
		return hypervisor.OperationState{Finished: true, Err: err}, nil
	}
	return state, err
}

// watcher looks at the operations of one cluster. Its fields are guarded by watchers.mu.
type watcher struct {
	all     *watchers
	id      int64
	watched map[int64]*watched
	changed chan struct{}
}

type watched struct {
	task  broker.Task
	since time.Time
	next  time.Time
	pause time.Duration
	// asked: a question is under way.
	asked bool
	// noted is what progress was stored, and when.
	noted   int
	notedAt time.Time
}

func (c *watcher) signal() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// serve ends when the cluster has no operations left.
func (c *watcher) serve() {
	slots := make(chan struct{}, looksAtOnce)
	var questions sync.WaitGroup
	defer questions.Wait()
	for {
		due, pause, left := c.due()
		if !left {
			return
		}
		for _, each := range due {
			select {
			case slots <- struct{}{}:
			case <-c.all.engine.stopping:
				return
			}
			questions.Go(func() {
				c.look(each)
				<-slots
			})
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-c.changed:
		case <-c.all.engine.stopping:
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// due gives what is to be looked at now, how long nothing else is, and whether anything is left at all.
func (c *watcher) due() (due []*watched, pause time.Duration, left bool) {
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	if len(c.watched) == 0 {
		delete(c.all.clusters, c.id)
		return nil, 0, false
	}
	now := c.all.engine.Now()
	pause = longSleep
	for _, each := range c.watched {
		switch {
		case each.asked:
		case each.next.After(now):
			pause = min(pause, each.next.Sub(now))
		default:
			each.asked = true
			due = append(due, each)
		}
	}
	return due, pause, true
}

func (c *watcher) look(each *watched) {
	e := c.all.engine
	state, err := c.all.ask(&each.task)
	if err != nil {
		e.Log.Warn("ask how an operation stands", "task", each.task.ID, "operation", each.task.Operation, "error", err)
	}
	if err == nil && state.Finished {
		c.ended(each, state)
		return
	}
	known := err != nil || c.progressed(each, state)
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	each.asked = false
	each.pause = max(each.pause, min(e.Now().Sub(each.since)/lookPart, longestLook))
	if err != nil {
		each.pause = e.scaled(unreachableLook)
	} else if each.pause == e.scaled(unreachableLook) {
		each.pause = longestLook
	}
	each.next = e.Now().Add(each.pause)
	if !known && c.watched[each.task.ID] == each {
		delete(c.watched, each.task.ID) // the task waits for something else by now
	}
	c.signal()
}

// ended wakes the task and keeps the result for it.
func (c *watcher) ended(each *watched, state hypervisor.OperationState) {
	e := c.all.engine
	c.all.mu.Lock()
	c.all.results[each.task.ID] = heldResult{operation: each.task.Operation, state: state, at: e.Now()}
	c.all.mu.Unlock()
	ctx, cancel := context.WithTimeout(e.calls, databaseTimeout)
	defer cancel()
	err := e.Store.WakeTask(ctx, each.task.ID, each.task.Operation, e.Now())
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	defer c.signal()
	if err != nil && !broker.Is(err, broker.NotFound) {
		// The operation has ended, but the task does not know yet: look, and tell it, again.
		e.Log.Error("wake task", "task", each.task.ID, "error", err)
		each.asked, each.next = false, e.Now().Add(afterFailure)
		return
	}
	if c.watched[each.task.ID] == each {
		delete(c.watched, each.task.ID)
	}
	if err == nil {
		e.Wake()
	}
}

// progressed stores how far an operation is. It tells whether the task still waits for it, as far as known.
func (c *watcher) progressed(each *watched, state hypervisor.OperationState) bool {
	e := c.all.engine
	workflow := e.workflows[each.task.Kind]
	if state.Progress < 0 || workflow == nil || each.task.Undoing || each.task.Step >= len(workflow.Steps) {
		return true
	}
	percent := workflow.progress(each.task.Step, state.Progress)
	if percent <= max(each.noted, each.task.Progress) || e.Now().Sub(each.notedAt) < progressPause {
		return true
	}
	each.noted, each.notedAt = percent, e.Now()
	ctx, cancel := context.WithTimeout(e.calls, databaseTimeout)
	defer cancel()
	err := e.Store.NoteProgress(ctx, each.task.ID, each.task.Operation, percent, each.task.Note)
	if broker.Is(err, broker.NotFound) {
		return false
	}
	if err != nil {
		e.Log.Error("note progress", "task", each.task.ID, "error", err)
		return true
	}
	if e.OnChange != nil {
		changed := each.task
		changed.Progress = percent
		e.OnChange(changed)
	}
	return true
}

package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// ErrInterrupted is the cause of a task that was stopped through the API.
var ErrInterrupted = errors.New("received interrupt")

// Task is one worker process.
type Task struct {
	UPID UPID
	Text string // the UPID as text

	pool   *Pool
	cancel context.CancelCauseFunc
	done   chan struct{}

	mu       sync.Mutex
	log      []string
	warnings int
	exit     string // empty while running
	end      int64
}

// Hooks let the lab's faults reach into tasks. Nil members do nothing.
type Hooks struct {
	// Step is called when a task begins ("begin"), at the named steps of its work and before it ends ("end"); an error fails the task.
	Step func(ctx context.Context, task *Task, step string) error
	// Warnings are printed to the task's log as warnings before it ends.
	Warnings func(task *Task) []string
}

// Pool holds all tasks of the cluster. Its journal is an append-only file of JSON lines.
type Pool struct {
	now   func() time.Time
	hooks Hooks
	boot  time.Time

	mu      sync.Mutex
	tasks   map[string]*Task
	order   []*Task // by start
	nextPID int64
	journal *os.File
	closing bool
	running sync.WaitGroup
}

type entry struct {
	Start string   `json:"start,omitempty"`
	End   string   `json:"end,omitempty"`
	Exit  string   `json:"exit,omitempty"`
	Time  int64    `json:"time,omitempty"`
	Log   []string `json:"log,omitempty"`
	Of    string   `json:"of,omitempty"`
}

// Open reads the journal and makes ready to append to it. Tasks that had not ended are shown as stopped with the exit status that a
// node shows after it lost power.
func Open(file string, now func() time.Time, hooks Hooks) (*Pool, error) {
	pool := &Pool{now: now, hooks: hooks, boot: now().Add(-time.Hour), tasks: map[string]*Task{}, nextPID: 1000}
	if err := pool.load(file); err != nil {
		return nil, err
	}
	journal, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the task journal: %w", err)
	}
	pool.journal = journal
	for _, task := range pool.order {
		if task.exit == "" {
			task.exit, task.end = "unexpected status", task.UPID.StartTime
			if len(task.log) == 0 {
				task.exit = "unable to read tail (got 0 bytes)"
			}
			close(task.done)
			pool.write(entry{End: task.Text, Exit: task.exit, Time: task.end})
		}
	}
	return pool, nil
}

func (p *Pool) load(file string) error {
	source, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open the task journal: %w", err)
	}
	defer source.Close()
	lines := bufio.NewScanner(source)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var line entry
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			continue // the last line of a lab that was killed while writing
		}
		switch {
		case line.Start != "":
			id, err := ParseUPID(line.Start)
			if err != nil {
				continue
			}
			task := &Task{UPID: id, Text: line.Start, pool: p, done: make(chan struct{})}
			p.tasks[line.Start] = task
			p.order = append(p.order, task)
			p.nextPID = max(p.nextPID, id.PID+1)
		case line.Of != "" && p.tasks[line.Of] != nil:
			p.tasks[line.Of].log = append(p.tasks[line.Of].log, line.Log...)
		case line.End != "" && p.tasks[line.End] != nil && p.tasks[line.End].exit == "":
			task := p.tasks[line.End]
			task.exit, task.end = line.Exit, line.Time
			close(task.done)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read the task journal: %w", err)
	}
	return nil
}

// write appends one line; a journal that cannot be written must not stop the lab's guests, so the error is dropped as syslog would.
func (p *Pool) write(line entry) {
	text, err := json.Marshal(line)
	if err != nil {
		return
	}
	_, _ = p.journal.Write(append(text, '\n'))
}

// Start runs work as a task of the node and returns at once.
func (p *Pool) Start(node, kind, id, user string, work func(ctx context.Context, task *Task) error) *Task {
	return p.StartUndoing(node, kind, id, user, work, func(err error) error { return err })
}

// StartUndoing is Start for a task that something was prepared for: when the work fails, also when a fault or an interrupt keeps it
// from beginning, undo takes that back. It returns the error that the task ends with.
func (p *Pool) StartUndoing(node, kind, id, user string, work func(ctx context.Context, task *Task) error, undo func(error) error) *Task {
	ctx, cancel := context.WithCancelCause(context.Background())
	now := p.now()
	p.mu.Lock()
	p.nextPID++
	upid := UPID{Node: node, PID: p.nextPID, PStart: int64(now.Sub(p.boot)/(10*time.Millisecond)) & 0x7fffffff,
		StartTime: now.Unix(), Type: kind, ID: id, User: user}
	task := &Task{UPID: upid, Text: upid.String(), pool: p, cancel: cancel, done: make(chan struct{})}
	p.tasks[task.Text] = task
	p.order = append(p.order, task)
	p.running.Add(1)
	p.write(entry{Start: task.Text})
	p.mu.Unlock()
	go func() {
		defer p.running.Done()
		defer cancel(nil)
		task.finish(ctx, work, undo)
	}()
	return task
}

func (t *Task) finish(ctx context.Context, work func(context.Context, *Task) error, undo func(error) error) {
	err := t.Step(ctx, "begin")
	if err == nil {
		err = work(ctx, t)
	}
	if err != nil {
		err = undo(err)
	} else {
		err = t.Step(ctx, "end")
	}
	if context.Cause(ctx) == ErrInterrupted && err != nil {
		err = ErrInterrupted
	}
	if t.pool.hooks.Warnings != nil {
		for _, text := range t.pool.hooks.Warnings(t) {
			t.Warn(text)
		}
	}
	t.mu.Lock()
	warnings := t.warnings
	t.mu.Unlock()
	exit, last := "OK", "TASK OK"
	switch {
	case err != nil:
		exit = strings.TrimRight(err.Error(), "\n")
		last = "TASK ERROR: " + exit
	case warnings > 0:
		exit = fmt.Sprintf("WARNINGS: %d", warnings)
		last = "TASK " + exit
	}
	t.Log(last)
	p := t.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing {
		close(t.done)
		return
	}
	t.mu.Lock()
	// PVE keeps one line of a status: an index entry has no room for more.
	t.exit, t.end = strings.ReplaceAll(exit, "\n", " "), p.now().Unix()
	t.mu.Unlock()
	p.write(entry{End: t.Text, Exit: t.exit, Time: t.end})
	close(t.done)
}

// Step tells the fault hooks where the task is. An error must end the task.
func (t *Task) Step(ctx context.Context, name string) error {
	if t.pool.hooks.Step != nil {
		if err := t.pool.hooks.Step(ctx, t, name); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// Logf prints to the task's log.
func (t *Task) Logf(format string, args ...any) { t.Log(fmt.Sprintf(format, args...)) }

// Log prints one or more lines to the task's log.
func (t *Task) Log(line string) {
	lines := strings.Split(strings.TrimRight(line, "\n"), "\n")
	t.mu.Lock()
	t.log = append(t.log, lines...)
	t.mu.Unlock()
	t.pool.mu.Lock()
	if !t.pool.closing {
		t.pool.write(entry{Of: t.Text, Log: lines})
	}
	t.pool.mu.Unlock()
}

// Warn prints a warning; a task with warnings ends with the exit status "WARNINGS: n".
func (t *Task) Warn(text string) {
	t.mu.Lock()
	t.warnings++
	t.mu.Unlock()
	t.Logf("WARN: %s", text)
}

// Interrupt stops the task as a signal does. A finished task stays as it is.
func (t *Task) Interrupt() {
	if t.cancel != nil {
		t.cancel(ErrInterrupted)
	}
}

// Done is closed when the task has ended.
func (t *Task) Done() <-chan struct{} { return t.done }

// State is a consistent view of a task.
type State struct {
	Running bool
	Exit    string
	End     int64
	Log     []string
}

// State reads the task's state.
func (t *Task) State() State {
	t.mu.Lock()
	defer t.mu.Unlock()
	return State{Running: t.exit == "", Exit: t.exit, End: t.end, Log: t.log}
}

// Find returns the task with the UPID, or nil.
func (p *Pool) Find(upid string) *Task {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tasks[upid]
}

// All returns all tasks of a node ("" = all nodes), the latest first.
func (p *Pool) All(node string) []*Task {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := make([]*Task, 0, len(p.order))
	for i := len(p.order) - 1; i >= 0; i-- {
		if node == "" || p.order[i].UPID.Node == node {
			found = append(found, p.order[i])
		}
	}
	return found
}

// Close interrupts what runs, waits for it (bounded), and writes nothing more: after a restart those tasks show as cut off.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closing = true
	tasks := append([]*Task(nil), p.order...)
	p.mu.Unlock()
	for _, task := range tasks {
		task.Interrupt()
	}
	ended := make(chan struct{})
	go func() { p.running.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
	}
	return p.journal.Close()
}

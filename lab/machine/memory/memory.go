// Package memory is a machine.Backend whose guests exist only as records: they start and stop at once, by the thousand, and still
// show a picture on their screen. Volumes are tiny marker files, so that a lab finds them again after a restart.
package memory

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"gantry/lab/machine"
)

// Options change how guests behave; the zero value is a guest with a willing operating system and guest agent.
type Options struct {
	// IgnorePowerdown tells that the guest has no ACPI: a shutdown runs into its timeout.
	IgnorePowerdown func(spec machine.Spec) bool
	// Agent answers guest-agent commands instead of the built-in answers; machine.ErrNoAgent means that none runs.
	Agent func(spec machine.Spec, command string, arguments any) ([]byte, error)
	// Started is called with each spec that is started, e.g. to check limits.
	Started func(spec machine.Spec)
	// Now is the clock; nil = time.Now.
	Now func() time.Time
}

// Backend holds the guests. Make it with New.
type Backend struct {
	options Options
	nextPID atomic.Int64
}

// New makes a backend.
func New(options Options) *Backend {
	if options.Now == nil {
		options.Now = time.Now
	}
	backend := &Backend{options: options}
	backend.nextPID.Store(100_000)
	return backend
}

// runFile marks a running guest in its run folder, as a QEMU process would by its pid file.
const runFile = "memory.running"

type runRecord struct {
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
}

// Start runs a guest.
func (b *Backend) Start(_ context.Context, spec machine.Spec) (machine.Process, error) {
	for _, disk := range spec.Disks {
		if disk.Path == "" {
			continue
		}
		if _, err := os.Stat(disk.Path); err != nil {
			return nil, fmt.Errorf("could not open '%s': no such file or directory", disk.Path)
		}
	}
	record := runRecord{PID: int(b.nextPID.Add(1)), Started: b.options.Now()}
	text, err := json.Marshal(record)
	if err != nil {
		return nil, fmt.Errorf("note the running guest: %w", err)
	}
	if err := os.WriteFile(filepath.Join(spec.RunDir, runFile), text, 0o600); err != nil {
		return nil, fmt.Errorf("note the running guest: %w", err)
	}
	if b.options.Started != nil {
		b.options.Started(spec)
	}
	return b.process(spec, record), nil
}

// Attach brings a guest back that ran when the lab was killed.
func (b *Backend) Attach(_ context.Context, spec machine.Spec) (machine.Process, error) {
	text, err := os.ReadFile(filepath.Join(spec.RunDir, runFile))
	if err != nil {
		return nil, machine.ErrNotRunning
	}
	var record runRecord
	if err := json.Unmarshal(text, &record); err != nil {
		return nil, machine.ErrNotRunning
	}
	for next := b.nextPID.Load(); int64(record.PID) > next; next = b.nextPID.Load() {
		b.nextPID.CompareAndSwap(next, int64(record.PID))
	}
	return b.process(spec, record), nil
}

func (b *Backend) process(spec machine.Spec, record runRecord) *process {
	return &process{backend: b, spec: spec, record: record, done: make(chan struct{}), screen: newScreen(spec.Name, spec.VMID)}
}

type process struct {
	backend *Backend
	spec    machine.Spec
	record  runRecord
	screen  *screen
	agent   agent

	mu     sync.Mutex
	paused bool
	ended  bool
	done   chan struct{}
}

func (p *process) PID() int              { return p.record.PID }
func (p *process) Done() <-chan struct{} { return p.done }

// running returns ErrNotRunning after the end.
func (p *process) running() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return machine.ErrNotRunning
	}
	return nil
}

func (p *process) Powerdown(ctx context.Context) error {
	if err := p.running(); err != nil {
		return err
	}
	if p.backend.options.IgnorePowerdown != nil && p.backend.options.IgnorePowerdown(p.spec) {
		return nil
	}
	return p.Kill(ctx)
}

func (p *process) Reset(context.Context) error {
	p.screen.reset()
	return p.running()
}

func (p *process) setPaused(paused bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return machine.ErrNotRunning
	}
	p.paused = paused
	return nil
}

func (p *process) Pause(context.Context) error  { return p.setPaused(true) }
func (p *process) Resume(context.Context) error { return p.setPaused(false) }

func (p *process) Kill(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return machine.ErrNotRunning
	}
	p.ended = true
	_ = os.Remove(filepath.Join(p.spec.RunDir, runFile))
	close(p.done)
	return nil
}

var keyNames = regexp.MustCompile(`^[a-z0-9_]+(-[a-z0-9_]+)*$`)

// SendKeys takes all that could be names of keys; nothing in the guest reads them.
func (p *process) SendKeys(_ context.Context, keys string) error {
	if !keyNames.MatchString(keys) {
		return fmt.Errorf("invalid parameter: %s", keys)
	}
	return p.running()
}

func (p *process) ResizeDisk(context.Context, string, int64) error { return p.running() }

func (p *process) Stats(context.Context) (machine.Stats, error) {
	if err := p.running(); err != nil {
		return machine.Stats{}, err
	}
	seconds := max(int64(p.backend.options.Now().Sub(p.record.Started).Seconds()), 0)
	stats := machine.Stats{Started: p.record.Started, CPU: 0.01, MemoryBytes: int64(p.spec.MemoryMB) << 20 / 4,
		DiskReadBytes: 4 << 20, DiskWrittenBytes: seconds * 512, NICs: map[string]machine.NICStats{}}
	for _, nic := range p.spec.NICs {
		stats.NICs[nic.Tap] = machine.NICStats{In: seconds * 100, Out: seconds * 60}
	}
	return stats, nil
}

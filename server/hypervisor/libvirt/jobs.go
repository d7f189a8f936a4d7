package libvirt

import (
	"context"
	"sync"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// keepEnded is how long a job that ended is remembered here: deletes, whose guest took its record along, and fetches.
const keepEnded = time.Hour

// jobs are the operations of this process.
type jobs struct {
	mu     sync.Mutex
	all    map[string]*job
	guests map[int]*job // at work on a guest
	life   context.Context
	end    context.CancelFunc
	wait   sync.WaitGroup
	ended  bool
}

// job is one operation.
type job struct {
	id     operationID
	life   context.Context
	cancel context.CancelCauseFunc
	over   chan struct{}

	// Guarded by jobs.mu.
	state   hypervisor.OperationState
	endedAt time.Time
}

func (j *jobs) start() {
	j.all, j.guests = map[string]*job{}, map[int]*job{}
	j.life, j.end = context.WithCancel(context.Background())
}

// stop interrupts all and waits for them, for a while.
func (j *jobs) stop(patience time.Duration) {
	j.mu.Lock()
	j.ended = true
	j.mu.Unlock()
	j.end()
	over := make(chan struct{})
	go func() {
		j.wait.Wait()
		close(over)
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-over:
	case <-timer.C:
	}
}

func (j *jobs) state(id string) (hypervisor.OperationState, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	known, found := j.all[id]
	if !found {
		return hypervisor.OperationState{}, false
	}
	return known.state, true
}

func (j *jobs) newest(guest int, kind hypervisor.OperationKind) (operationID, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var newest operationID
	found := false
	for _, each := range j.all {
		if each.id.guest == guest && each.id.kind == kind && (!found || each.id.started.After(newest.started)) {
			newest, found = each.id, true
		}
	}
	return newest, found
}

// claim makes sure that one operation at a time works on a guest. The claim is given up with release, or by the job that takes it over.
func (j *jobs) claim(id operationID) (*job, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ended {
		return nil, broker.Errorf(broker.Unreachable, "the connection was closed")
	}
	if other := j.guests[id.guest]; other != nil && id.guest != 0 {
		return nil, broker.Errorf(broker.Locked, "guest %d is busy: %s", id.guest, other.id.kind)
	}
	claimed := &job{id: id, over: make(chan struct{}), state: hypervisor.OperationState{Progress: -1}}
	claimed.life, claimed.cancel = context.WithCancelCause(j.life)
	if id.guest != 0 {
		j.guests[id.guest] = claimed
	}
	return claimed, nil
}

func (j *jobs) release(claimed *job) {
	claimed.cancel(nil)
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.guests[claimed.id.guest] == claimed {
		delete(j.guests, claimed.id.guest)
	}
}

// working is the job that is at work on a guest; nil when none is.
func (j *jobs) working(guest int) *job {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.guests[guest]
}

// run does a claimed job's work in the background. now is the clock.
func (j *jobs) run(claimed *job, now func() time.Time, work func(ctx context.Context, report func(float64)) ([]string, error)) {
	j.mu.Lock()
	for id, each := range j.all {
		if each.state.Finished && now().Sub(each.endedAt) > keepEnded {
			delete(j.all, id)
		}
	}
	j.all[claimed.id.text] = claimed
	j.wait.Add(1)
	j.mu.Unlock()
	go func() {
		defer j.wait.Done()
		defer claimed.cancel(nil)
		warnings, err := work(claimed.life, func(progress float64) {
			j.mu.Lock()
			defer j.mu.Unlock()
			claimed.state.Progress = progress
		})
		j.mu.Lock()
		defer j.mu.Unlock()
		claimed.state = hypervisor.OperationState{Finished: true, Err: err, Warnings: warnings}
		if err == nil {
			claimed.state.Progress = 1
		}
		claimed.endedAt = now()
		if j.guests[claimed.id.guest] == claimed {
			delete(j.guests, claimed.id.guest)
		}
		close(claimed.over)
	}()
}

package task

import (
	"context"
	"time"

	"gantry/server/broker"
)

const (
	// databaseTimeout bounds each of the engine's own calls of the store.
	databaseTimeout = 30 * time.Second
	// longSleep is when an engine that nothing woke looks at the database all the same.
	longSleep = time.Minute
	// afterFailure is the pause after the database failed.
	afterFailure = time.Second
)

// claimLoop gives workers what is due. An idle engine sleeps until somebody wakes it or the next task is due.
func (e *Engine) claimLoop() {
	ended := make(chan bool, e.Workers)
	busy := 0
	hungry := true // a claim may find something
	for {
		var pause time.Duration
		if free := e.Workers - busy; free == 0 {
			pause = longSleep // a worker that ends wakes the loop
		} else {
			claimed := 0
			if hungry {
				tasks := e.claim(free)
				claimed = len(tasks)
				for _, task := range tasks {
					busy++
					e.background.Go(func() { ended <- e.carryOut(task) })
				}
				// With all workers at work there may be more.
				if claimed == free {
					continue
				}
			}
			pause = e.untilDue()
			if pause == 0 && !hungry {
				hungry = true
				continue
			}
			hungry = false
			if pause == 0 {
				// What is due and was not claimed is held back by limits. Ending tasks wake the loop; but a lease of another
				// server may also run out meanwhile.
				pause = e.Poll
			}
		}
		timer := time.NewTimer(pause)
		select {
		case <-e.stopping:
			timer.Stop()
			for range busy {
				<-ended
			}
			return
		case <-e.woken:
			hungry = true
		case freed := <-ended:
			busy--
			hungry = hungry || freed
		case <-timer.C:
		}
		timer.Stop()
	}
}

// claim takes tasks that are due.
func (e *Engine) claim(count int) []broker.Task {
	ctx, cancel := context.WithTimeout(e.calls, databaseTimeout)
	defer cancel()
	now := e.Now()
	until := now.Add(e.Lease)
	tasks, err := e.Store.ClaimTasks(ctx, e.Owner, count, e.Limits, now, until)
	if err != nil {
		e.Log.Error("claim tasks", "error", err)
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, task := range tasks {
		e.running[task.ID] = until
	}
	return tasks
}

// untilDue tells how long nothing is due: 0 when something is.
func (e *Engine) untilDue() time.Duration {
	ctx, cancel := context.WithTimeout(e.calls, databaseTimeout)
	defer cancel()
	next, err := e.Store.NextRunAfter(ctx)
	if err != nil {
		e.Log.Error("look for due tasks", "error", err)
		return afterFailure
	}
	pause := longSleep
	if !next.IsZero() {
		pause = min(pause, max(next.Sub(e.Now()), 0))
	}
	if e.Shared {
		pause = min(pause, e.Poll)
	}
	return pause
}

// heartbeat renews the leases of running tasks, and adopts operations that another server no longer waits for.
func (e *Engine) heartbeat() {
	const adoption = 15 * time.Second
	ticker := time.NewTicker(e.Lease / 6)
	defer ticker.Stop()
	adopted := e.Now()
	for {
		select {
		case <-ticker.C:
		case <-e.stopping:
			// The running steps end; their leases last at least two thirds of a lease.
			return
		}
		e.renew()
		e.watchers.forgetOld()
		if e.Shared && e.Now().Sub(adopted) >= adoption {
			adopted = e.Now()
			e.adopt(adoption)
		}
	}
}

func (e *Engine) renew() {
	now := e.Now()
	until := now.Add(e.Lease)
	var due []int64
	e.mu.Lock()
	for task, end := range e.running {
		if end.Sub(now) < e.Lease*5/6 {
			due = append(due, task)
		}
	}
	e.mu.Unlock()
	if len(due) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(e.calls, e.Lease/3)
	defer cancel()
	if err := e.Store.RenewLeases(ctx, e.Owner, due, until); err != nil {
		e.Log.Error("renew leases", "error", err)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, task := range due {
		if _, still := e.running[task]; still {
			e.running[task] = until
		}
	}
}

// adopt watches all operations that tasks of this database wait for, at a slow pace: whoever began to wait for one looks more
// often, unless it has died.
func (e *Engine) adopt(pace time.Duration) {
	ctx, cancel := context.WithTimeout(e.calls, databaseTimeout)
	defer cancel()
	waiting, err := e.Store.WaitingTasks(ctx, 0)
	if err != nil {
		e.Log.Error("adopt waiting tasks", "error", err)
		return
	}
	for _, task := range waiting {
		e.watchers.watch(task, pace)
	}
}

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

// claimer gives workers what is due. Without work it sleeps until somebody wakes it or the next task is due.
type claimer struct {
	*Engine
	busy  int
	ended chan bool // a worker ended; true: another task may begin now
	// hungry: a claim may find something.
	hungry bool
	// gathering is until when it lets more workers end before it claims.
	gathering time.Time
}

const (
	// gather is how long a claim waits for more workers to end.
	gather = 5 * time.Millisecond
	// rushGather is that while many orders arrive: each claim takes the database for a millisecond, in which it could take an order.
	rushGather = 50 * time.Millisecond
)

func (e *Engine) claimLoop() {
	c := &claimer{Engine: e, ended: make(chan bool, e.Workers), hungry: true}
	for {
		timer := time.NewTimer(c.next())
		select {
		case <-e.stopping:
			timer.Stop()
			for range c.busy {
				<-c.ended
			}
			return
		case <-e.woken:
			c.hungry = true
		case freed := <-c.ended:
			c.busy--
			c.hungry = c.hungry || freed
		case <-timer.C:
		}
		timer.Stop()
	}
}

// next claims if there may be something to claim, and tells how long to sleep if nothing happens.
func (c *claimer) next() time.Duration {
	free, patience := c.Workers-c.busy, gather
	rushing := c.arriving.Load() >= rush
	if rushing {
		free, patience = min(c.Workers, rushWorkers)-c.busy, rushGather
	}
	if free <= 0 {
		return longSleep // a worker that ends wakes the loop, and so does the end of a rush of orders
	}
	if !c.hungry {
		if pause := c.untilDue(); pause > 0 {
			return pause
		}
		c.hungry = true
	}
	// Under load, workers end one after the other, and a claim for several costs as little as one for each.
	if rushing || c.busy > 0 && free < c.Workers/4 {
		now := c.Now()
		if c.gathering.IsZero() {
			c.gathering = now.Add(patience)
		}
		if left := c.gathering.Sub(now); left > 0 {
			return left
		}
	}
	c.gathering = time.Time{}
	tasks := c.claim(free)
	for _, task := range tasks {
		c.busy++
		c.background.Go(func() { c.ended <- c.carryOut(task) })
	}
	if c.hungry = len(tasks) == free; c.hungry {
		return longSleep // there may be more, but all workers are at work
	}
	if pause := c.untilDue(); pause > 0 {
		return pause
	}
	// What is due and was not claimed is held back by limits. Ending tasks wake the loop; but something else may become due.
	return c.Poll
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

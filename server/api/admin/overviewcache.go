package admin

import (
	"context"
	"sync"
	"time"

	"gantry/server/broker"
)

// restFactor is how many times as long as it took an overview is good for: however many look at the dashboard of however large an
// installation, the store spends a small part of its time on it. A small installation's is as good as fresh.
const restFactor = 8

// overviewCache keeps the last overview. It is safe for concurrent use: who comes while one is made waits for it.
type overviewCache struct {
	mutex sync.Mutex
	last  *broker.Overview
	east  time.Duration
	until time.Time
}

func (c *overviewCache) overview(ctx context.Context, store broker.OverviewStore, now time.Time, east time.Duration) (*broker.Overview, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	began := time.Now()
	if c.last != nil && c.east == east && began.Before(c.until) {
		return c.last, nil
	}
	fresh, err := store.Overview(ctx, now, east)
	if err != nil {
		return nil, err
	}
	c.last, c.east, c.until = fresh, east, time.Now().Add(restFactor*time.Since(began))
	return fresh, nil
}

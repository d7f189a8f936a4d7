package server

import (
	"context"
	"time"
)

// sweepInterval is how late the end of a machine's time may be noticed.
const sweepInterval = 30 * time.Second

// sweep stops what has expired and empties the recycle bin until ctx ends.
func (s *running) sweep(ctx context.Context) {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		if err := s.broker.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("look for machines whose time is over", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

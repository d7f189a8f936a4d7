package server

import (
	"context"
	"time"
)

// sweepInterval is how late the end of a machine's time may be noticed.
const sweepInterval = 30 * time.Second

// trafficRounds is every how many sweeps machines' traffic is looked at.
const trafficRounds = 2

// sweep stops what has expired and empties the recycle bin until ctx ends.
func (s *running) sweep(ctx context.Context) {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for round := 0; ; round++ {
		if err := s.broker.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("look for machines whose time is over", "error", err)
		}
		if round%trafficRounds == 0 { // traffic is stored once a minute
			if err := s.broker.SweepTraffic(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("look for machines whose traffic is used up", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// reencrypt moves stored secrets to the key that encrypts now, when it is a new one.
func (s *running) reencrypt(ctx context.Context) {
	changed, err := s.store.Reencrypt(ctx)
	if err != nil && ctx.Err() == nil {
		s.log.Error("encrypt stored secrets with the new key; the next start tries again", "error", err)
	}
	if changed {
		s.log.Info("all stored secrets are encrypted with the new key; older keys are not needed any more")
	}
}

package vncproxy

import (
	"context"
	"time"

	"gantry/internal/consoleapi"
)

// watch is what the sweep saw of a session last. One goroutine sweeps all sessions, so a session needs no timer of its own.
type watch struct {
	inputs   int64
	inputAt  time.Time
	pingedAt time.Time
	down, up stall
}

// stall follows one flow.
type stall struct {
	in, out int64
	since   time.Time
}

// stuck tells how long data has been on its way without a byte getting through.
func (s *stall) stuck(f *flow, now time.Time) time.Duration {
	in, out := f.in.Load(), f.out.Load()
	if in == out || out != s.out || s.since.IsZero() {
		s.since = now
	}
	s.in, s.out = in, out
	return now.Sub(s.since)
}

// sweep ends sessions that are over, idle or stalled, and pings the others, until ctx ends.
func (p *Proxy) sweep(ctx context.Context) {
	interval := min(p.config.IdleTimeout, p.config.StallTimeout, p.config.PingInterval) / 4
	ticker := time.NewTicker(min(max(interval, time.Millisecond), 5*time.Second))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			for _, s := range p.sessions.list() {
				p.inspect(ctx, s, now)
			}
		}
	}
}

func (p *Proxy) inspect(ctx context.Context, s *session, now time.Time) {
	w := &s.watch
	if inputs := s.inputs.Load(); inputs != w.inputs || w.inputAt.IsZero() {
		w.inputs, w.inputAt = inputs, now
	}
	downStuck, upStuck := w.down.stuck(&s.down, now), w.up.stuck(&s.up, now)
	switch {
	case !now.Before(s.closesAt):
		s.end(consoleapi.Refuse(consoleapi.ReasonSessionOver))
	case now.Sub(w.inputAt) >= p.config.IdleTimeout:
		s.end(consoleapi.Refuse(consoleapi.ReasonIdle))
	case downStuck >= p.config.StallTimeout:
		s.end(consoleapi.Refuse(consoleapi.ReasonStalled))
	case upStuck >= p.config.StallTimeout:
		s.end(consoleapi.Refuse(consoleapi.ReasonTargetClosed))
	case w.pingedAt.IsZero():
		w.pingedAt = now
	case now.Sub(w.pingedAt) >= p.config.PingInterval:
		w.pingedAt = now
		go p.ping(ctx, s)
	}
}

// ping asks both sides for a sign of life. While data is stuck in one of them the pong waits behind it; that is for inspect
// to judge.
func (p *Proxy) ping(ctx context.Context, s *session) {
	ctx, cancel := context.WithTimeout(ctx, p.config.PingInterval+p.config.StallTimeout)
	defer cancel()
	if err := s.browser.conn.Ping(ctx); err != nil {
		s.end(browserFailure(err))
		return
	}
	if err := s.target.ping(ctx); err != nil {
		s.end(targetLost(err))
	}
}

// check asks the broker at every interval which sessions have to end, until ctx ends. While the broker can't be reached
// the sessions stay open.
func (p *Proxy) check(ctx context.Context) {
	ticker := time.NewTicker(p.config.CheckInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			p.checkOnce(ctx)
		}
	}
}

func (p *Proxy) checkOnce(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, p.config.RedeemTimeout)
	defer cancel()
	sessions := p.sessions.list()
	for len(sessions) > 0 {
		batch := sessions[:min(len(sessions), consoleapi.MaxCheckedSessions)]
		sessions = sessions[len(batch):]
		ids := make([]string, len(batch))
		for i, s := range batch {
			ids[i] = s.id
		}
		ended, err := p.broker.Check(ctx, ids)
		if err != nil {
			p.log.Warn("broker could not be asked about open consoles", "error", err)
			return
		}
		for _, row := range ended {
			if s := p.sessions.find(row.SessionID); s != nil {
				s.end(consoleapi.Refuse(row.Reason))
			}
		}
	}
}

package fleet

import (
	"context"
	"errors"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// keepHistory stores what was gathered, once a minute, until ctx ends; then what the last minute has so far.
func (f *Fleet) keepHistory(ctx context.Context) {
	step := broker.HistorySeries()[0].Step
	for {
		now := f.now()
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
			defer cancel()
			if err := f.StoreHistory(last); err != nil {
				f.log.Warn("store the last samples", "error", err)
			}
			return
		case <-time.After(now.Truncate(step).Add(step).Sub(now)):
		}
		if err := f.StoreHistory(ctx); err != nil && ctx.Err() == nil {
			f.log.Error("store samples", "error", err)
		}
	}
}

// StoreHistory writes what was gathered since the last time, and the coarser series that are due.
func (f *Fleet) StoreHistory(ctx context.Context) error {
	minute, series := f.sampler.take(), broker.HistorySeries()
	now := f.now().UTC()
	at := now.Add(-time.Second).Truncate(series[0].Step) // at the very end of a minute it is that minute
	failures := []error{
		f.saveSamples(ctx, broker.GuestHistory, at, minute.guests), f.saveSamples(ctx, broker.NodeHistory, at, minute.nodes),
		f.store.SaveNodeLoads(ctx, minute.loads),
	}
	if len(minute.points) > 0 {
		failures = append(failures, f.store.CountTraffic(ctx, minute.points))
	}
	return errors.Join(append(failures, f.consolidate(ctx, now, series))...)
}

func (f *Fleet) saveSamples(ctx context.Context, subject broker.HistorySubject, at time.Time, samples []broker.HistorySample) error {
	if len(samples) == 0 {
		return nil
	}
	return f.store.SaveHistory(ctx, subject, broker.HistorySeries()[0].Step, at, samples)
}

// consolidate makes the samples of coarser series whose time is over. After a start it also makes the ones before: the time that the program
// was stopped in may have ended while it was.
func (f *Fleet) consolidate(ctx context.Context, now time.Time, series []broker.Series) error {
	for i := 1; i < len(series); i++ {
		end := now.Truncate(series[i].Step)
		done, known := f.consolidated[i]
		if known && !end.After(done) {
			continue
		}
		begins := []time.Time{end.Add(-series[i].Step)}
		if !known {
			begins = append([]time.Time{end.Add(-2 * series[i].Step)}, begins...)
		}
		for _, begin := range begins {
			for _, subject := range []broker.HistorySubject{broker.GuestHistory, broker.NodeHistory} {
				if err := f.store.ConsolidateHistory(ctx, subject, series[i-1].Step, series[i].Step, begin); err != nil {
					return err
				}
			}
		}
		if i == 1 {
			if err := f.store.DropHistory(ctx, now); err != nil {
				return err
			}
		}
		f.consolidated[i] = end
	}
	return nil
}

// stored reads a history that Gantry keeps, under the names that Proxmox VE's rrddata has.
func (f *Fleet) stored(ctx context.Context, subject broker.HistorySubject, id int64, timeframe, consolidation string) ([]map[string]float64, error) {
	if err := hypervisor.CheckHistory(timeframe, consolidation); err != nil {
		return nil, err
	}
	rows := []map[string]float64{}
	for _, series := range broker.HistorySeries() {
		if series.Timeframe != timeframe {
			continue
		}
		times, samples, err := f.store.ReadHistory(ctx, subject, id, series.Step, f.now().Add(-series.Step*broker.HistorySlots))
		if err != nil {
			return nil, err
		}
		for i := range samples {
			rows = append(rows, rowOf(subject, times[i], &samples[i], consolidation == "MAX"))
		}
	}
	return rows, nil
}

func rowOf(subject broker.HistorySubject, at time.Time, sample *broker.HistorySample, highest bool) map[string]float64 {
	pick := func(measure broker.Measure) float64 {
		if highest {
			return float64(measure.Max)
		}
		return float64(measure.Average)
	}
	row := map[string]float64{"time": float64(at.Unix()), "cpu": pick(sample.CPU), "maxcpu": float64(sample.MaxCPU)}
	if subject == broker.NodeHistory {
		row["memused"], row["memtotal"] = pick(sample.Memory), float64(sample.MaxMemory)
		return row
	}
	row["mem"], row["maxmem"], row["maxdisk"] = pick(sample.Memory), float64(sample.MaxMemory), float64(sample.MaxDisk)
	row["netin"], row["netout"] = pick(sample.NetIn), pick(sample.NetOut)
	row["diskread"], row["diskwrite"] = pick(sample.DiskRead), pick(sample.DiskWrite)
	return row
}

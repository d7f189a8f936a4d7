package store_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"gantry/server/broker"
	"gantry/server/store"
)

// noon begins a minute, half an hour, a week of the series.
var noon = time.Unix(1_790_000_000/604_800*604_800, 0).UTC()

func sample(id int64, cpu float32) broker.HistorySample {
	return broker.HistorySample{
		ID: id, CPU: broker.Measure{Average: cpu, Max: cpu * 2}, NetIn: broker.Measure{Average: 100 * cpu, Max: 100}, MaxCPU: 4, MaxMemory: 1 << 30, MaxDisk: 7,
	}
}

func TestSeriesAreRoundRobin(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		save := func(at time.Time, samples ...broker.HistorySample) {
			t.Helper()
			check(t, s.SaveHistory(t.Context(), broker.GuestHistory, time.Minute, at, samples))
		}
		read := func(id int64, since time.Time) []float32 {
			t.Helper()
			times, samples, err := s.ReadHistory(t.Context(), broker.GuestHistory, id, time.Minute, since)
			check(t, err)
			if !slices.IsSortedFunc(times, time.Time.Compare) {
				t.Errorf("times %v", times)
			}
			var cpu []float32
			for _, each := range samples {
				cpu = append(cpu, each.CPU.Average)
			}
			return cpu
		}
		// 1 and 255 share a bucket, 256 is in the next one.
		before := s.Statements()
		save(noon, sample(256, 3), sample(1, 1), sample(255, 2))
		if sent := s.Statements() - before; sent > 5 { // four of them begin and end the transaction on SQLite
			t.Errorf("a minute takes %d statements", sent)
		}
		for id, want := range map[int64]float32{1: 1, 255: 2, 256: 3} {
			if got := read(id, noon); !slices.Equal(got, []float32{want}) {
				t.Errorf("%d: %v, want %v", id, got, want)
			}
		}
		if got := read(2, noon); got != nil {
			t.Errorf("of nobody: %v", got)
		}
		times, samples, err := s.ReadHistory(t.Context(), broker.GuestHistory, 1, time.Minute, noon)
		if err != nil || !times[0].Equal(noon) || samples[0] != sample(1, 1) {
			t.Errorf("%v %+v, %v", times, samples, err)
		}
		if _, nodes, err := s.ReadHistory(t.Context(), broker.NodeHistory, 1, time.Minute, noon); err != nil || nodes != nil {
			t.Errorf("the node of the same id: %v, %v", nodes, err)
		}
		// Each slot is used again when its turn comes: the table does not grow.
		for i := range 2 * broker.HistorySlots {
			save(noon.Add(time.Duration(i)*time.Minute), sample(1, float32(i)))
		}
		got := read(1, noon)
		if len(got) != broker.HistorySlots || got[0] != broker.HistorySlots || got[len(got)-1] != 2*broker.HistorySlots-1 {
			t.Errorf("%d samples, from %v to %v", len(got), got[0], got[len(got)-1])
		}
		if got := read(1, noon.Add((2*broker.HistorySlots-3)*time.Minute)); len(got) != 3 {
			t.Errorf("of the last three minutes: %v", got)
		}
	})
}

func TestCoarserSeriesAreMadeOfFinerOnes(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		for i := range 60 {
			at := noon.Add(time.Duration(i) * time.Minute)
			check(t, s.SaveHistory(t.Context(), broker.GuestHistory, time.Minute, at, []broker.HistorySample{sample(7, float32(i)), sample(700, 1)}))
		}
		half := 30 * time.Minute
		for range 2 { // doing it again changes nothing
			check(t, s.ConsolidateHistory(t.Context(), broker.GuestHistory, time.Minute, half, noon))
			check(t, s.ConsolidateHistory(t.Context(), broker.GuestHistory, time.Minute, half, noon.Add(half)))
		}
		times, samples, err := s.ReadHistory(t.Context(), broker.GuestHistory, 7, half, noon)
		if err != nil || len(samples) != 2 || !times[1].Equal(noon.Add(half)) {
			t.Fatalf("%v %+v, %v", times, samples, err)
		}
		near := func(got, want float32) bool { return math.Abs(float64(got-want)) < 0.01 }
		first, second := samples[0], samples[1]
		if !near(first.CPU.Average, 14.5) || !near(first.CPU.Max, 58) || !near(second.CPU.Average, 44.5) || !near(second.CPU.Max, 118) || first.MaxCPU != 4 || first.NetIn.Max != 100 {
			t.Errorf("first %+v\nsecond %+v", first, second)
		}
		if _, other, err := s.ReadHistory(t.Context(), broker.GuestHistory, 700, half, noon); err != nil || len(other) != 2 || other[0].CPU.Average != 1 {
			t.Errorf("in another bucket: %+v, %v", other, err)
		}
		check(t, s.ConsolidateHistory(t.Context(), broker.GuestHistory, time.Minute, half, noon.Add(9*time.Hour))) // nothing there
		check(t, s.DropHistory(t.Context(), noon.Add(2*time.Hour)))
		if _, gone, err := s.ReadHistory(t.Context(), broker.GuestHistory, 7, time.Minute, noon); err != nil || len(gone) >= 60 {
			t.Errorf("%d old samples are left, %v", len(gone), err)
		}
		if _, kept, err := s.ReadHistory(t.Context(), broker.GuestHistory, 7, half, noon); err != nil || len(kept) != 2 {
			t.Errorf("%d samples of the day are left, %v", len(kept), err)
		}
	})
}

func TestTrafficIsCountedOverRestartsAndMonths(t *testing.T) {
	november := time.Date(2026, 11, 30, 23, 0, 0, 0, time.UTC)
	point := func(minute int, in, out int64) broker.TrafficPoint {
		return broker.TrafficPoint{VM: 5, At: november.Add(time.Duration(minute) * time.Minute), NetIn: in, NetOut: out}
	}
	for name, row := range map[string]struct {
		batches [][]broker.TrafficPoint
		want    []broker.Traffic
	}{
		"the first point counts nothing": {[][]broker.TrafficPoint{{point(0, 1000, 1000)}}, nil},
		"growth":                         {[][]broker.TrafficPoint{{point(0, 100, 10)}, {point(1, 150, 30)}, {point(2, 151, 30)}}, []broker.Traffic{{VM: 5, Period: 202611, In: 51, Out: 20}}},
		"a restart":                      {[][]broker.TrafficPoint{{point(0, 100, 10)}, {point(1, 30, 40)}}, []broker.Traffic{{VM: 5, Period: 202611, In: 30, Out: 40}}},
		"what was before a restart":      {[][]broker.TrafficPoint{{point(0, 100, 10)}, {point(1, 500, 10), point(2, 30, 4)}}, []broker.Traffic{{VM: 5, Period: 202611, In: 430, Out: 4}}},
		"another month":                  {[][]broker.TrafficPoint{{point(0, 0, 0)}, {point(59, 7, 0)}, {point(60, 10, 0)}}, []broker.Traffic{{VM: 5, Period: 202612, In: 3}, {VM: 5, Period: 202611, In: 7}}},
		"two servers that see the same":  {[][]broker.TrafficPoint{{point(0, 0, 0)}, {point(2, 90, 0)}, {point(2, 90, 0)}, {point(1, 50, 0)}, {point(3, 95, 0)}}, []broker.Traffic{{VM: 5, Period: 202611, In: 95}}},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, s *store.Store) {
				for _, batch := range row.batches {
					check(t, s.CountTraffic(t.Context(), append(batch, broker.TrafficPoint{VM: 4, At: batch[0].At, NetIn: 1})))
				}
				got, err := s.TrafficMonths(t.Context(), 5, 10)
				if err != nil || !slices.Equal(got, row.want) {
					t.Errorf("got %+v, want %+v (%v)", got, row.want, err)
				}
				used, err := s.Traffic(t.Context(), 202611, []int64{4, 5})
				if err != nil || len(used) > 1 || len(row.want) > 0 && used[5] != row.want[len(row.want)-1] {
					t.Errorf("of the month: %+v, %v", used, err)
				}
			})
		})
	}
}

func TestOldTrafficIsDropped(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		old := start.AddDate(-4, 0, 0)
		for _, at := range []time.Time{old, start} {
			check(t, s.CountTraffic(t.Context(), []broker.TrafficPoint{{VM: 5, At: at}, {VM: 5, At: at.Add(time.Second), NetIn: 9}}))
		}
		check(t, s.DropHistory(t.Context(), start))
		if months, err := s.TrafficMonths(t.Context(), 5, 10); err != nil || len(months) != 1 || months[0].Period != broker.TrafficPeriod(start) {
			t.Errorf("months %+v, %v", months, err)
		}
	})
}

func TestMachinesOverTheirTraffic(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		cluster, node := place(t, s)
		add := func(status broker.VMStatus, limit, used int64) int64 {
			vm := newVM(cluster.ID, node.ID)
			vm.Status, vm.Spec.TrafficBytes = status, limit
			check(t, s.InsertVM(t.Context(), vm))
			check(t, s.CountTraffic(t.Context(), []broker.TrafficPoint{{VM: vm.ID, At: start}}))
			check(t, s.CountTraffic(t.Context(), []broker.TrafficPoint{{VM: vm.ID, At: start.Add(time.Minute), NetIn: used / 2, NetOut: used - used/2}}))
			return vm.ID
		}
		over := []int64{add(broker.VMRunning, 100, 100), add(broker.VMRunning, 100, 500)}
		add(broker.VMRunning, 100, 99)
		add(broker.VMRunning, broker.Unlimited, 1<<50) // unlimited is no number
		add(broker.VMRunning, 0, 1<<50)                // nor is what nobody set
		add(broker.VMStopped, 100, 500)
		stillOver := add(broker.VMOverTraffic, 100, 500)
		lifted := []int64{add(broker.VMOverTraffic, 100, 50), add(broker.VMOverTraffic, broker.Unlimited, 500), add(broker.VMOverTraffic, 100, 0)}
		gotOver, gotLifted, err := s.TrafficDue(t.Context(), broker.TrafficPeriod(start), 10)
		if err != nil || !slices.Equal(gotOver, over) || !slices.Equal(gotLifted, lifted) {
			t.Errorf("over %v, want %v; lifted %v, want %v (%v)", gotOver, over, gotLifted, lifted, err)
		}
		// A new month lifts all.
		gotOver, gotLifted, err = s.TrafficDue(t.Context(), broker.TrafficPeriod(start.AddDate(0, 1, 0)), 10)
		if err != nil || len(gotOver) != 0 || !slices.Contains(gotLifted, stillOver) || len(gotLifted) != 4 {
			t.Errorf("next month: over %v, lifted %v, %v", gotOver, gotLifted, err)
		}
	})
}

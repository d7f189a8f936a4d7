package broker

import (
	"context"
	"time"
)

// Series is one resolution of the history that Gantry keeps itself. There are HistorySlots samples of each, as Proxmox VE has them.
type Series struct {
	Timeframe string
	Step      time.Duration
}

// HistorySlots is how many samples each series keeps.
const HistorySlots = 70

// HistorySeries are all series, finest first. Each consists of whole samples of the one before.
func HistorySeries() []Series {
	return []Series{
		{"hour", time.Minute}, {"day", 30 * time.Minute}, {"week", 3 * time.Hour}, {"month", 12 * time.Hour}, {"year", 7 * 24 * time.Hour},
	}
}

// HistorySubject is whose history it is.
type HistorySubject int

const (
	GuestHistory HistorySubject = 0 // by VM.ID
	NodeHistory  HistorySubject = 1 // by Node.ID
)

// Measure is what something was in the time of a sample.
type Measure struct{ Average, Max float32 }

// HistorySample is one subject's sample. Rates are in bytes a second.
type HistorySample struct {
	ID                         int64
	CPU, Memory                Measure // CPU 0 … 1; memory in bytes
	NetIn, NetOut              Measure
	DiskRead, DiskWrite        Measure
	MaxCPU, MaxMemory, MaxDisk float32 // processors, bytes, bytes
}

// HistoryStore keeps series and traffic.
type HistoryStore interface {
	// SaveHistory writes the samples of the time that begins at at, in one statement for up to some thousands of them. at is a multiple of
	// the step.
	SaveHistory(ctx context.Context, subject HistorySubject, step time.Duration, at time.Time, samples []HistorySample) error
	// ReadHistory gives a subject's samples that began at or after since, oldest first.
	ReadHistory(ctx context.Context, subject HistorySubject, id int64, step time.Duration, since time.Time) ([]time.Time, []HistorySample, error)
	// ConsolidateHistory makes the samples of step that begin at at out of those of finer that lie in it.
	ConsolidateHistory(ctx context.Context, subject HistorySubject, finer, step time.Duration, at time.Time) error
	// DropHistory removes what is older than its series keeps (of subjects that are gone: nobody writes over their slots), and traffic of more
	// than three years ago.
	DropHistory(ctx context.Context, now time.Time) error

	// CountTraffic adds to the traffic of the month of each point what its counters grew by since the point before. Counters that went
	// down began anew. A VM's first point counts nothing; one that is not later than the last is ignored, so that several servers may
	// count the same guests. Points of one VM are in order.
	CountTraffic(ctx context.Context, points []TrafficPoint) error
	// Traffic gives what VMs had in a month; those without any are absent.
	Traffic(ctx context.Context, period int, vms []int64) (map[int64]Traffic, error)
	// TrafficMonths gives a VM's months, newest first.
	TrafficMonths(ctx context.Context, vm int64, count int) ([]Traffic, error)
	// TrafficDue lists VMs that ran and are over their quota of a month, and VMOverTraffic ones that are not over it (any more). VMs that a
	// task works on are left out.
	TrafficDue(ctx context.Context, period int, count int) (over, lifted []int64, err error)
}

// TrafficPoint is what a guest's counters were at a time.
type TrafficPoint struct {
	VM            int64
	At            time.Time
	NetIn, NetOut int64
}

// Traffic is what a VM had in a month. Bytes.
type Traffic struct {
	VM      int64
	Period  int // 202611 = November 2026, UTC
	In, Out int64
}

// TrafficPeriod is the month of a time.
func TrafficPeriod(at time.Time) int {
	at = at.UTC()
	return at.Year()*100 + int(at.Month())
}

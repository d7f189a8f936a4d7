package broker

import (
	"context"
	"time"
)

// OverviewStore tells how the whole installation stands, from what is stored alone.
type OverviewStore interface {
	// Overview sums up. Days are counted back from now in a zone that lies that far east of UTC.
	Overview(ctx context.Context, now time.Time, east time.Duration) (*Overview, error)
	// TasksFinishedAfter lists tasks that ended since, newest first, count at most.
	TasksFinishedAfter(ctx context.Context, since time.Time, count int) ([]Task, error)
}

// OverviewDays is how many days back an Overview counts, today among them.
const OverviewDays = 7

// OverviewRows is how many machines each list of an Overview names at most.
const OverviewRows = 8

// Overview is the state of the installation.
type Overview struct {
	// Statuses counts the VMs in service by what they are.
	Statuses map[VMStatus]int64
	Recycled int64
	// Drifted is how many VMs differ from what was ordered; Drifting names some of them.
	Drifted  int64
	Drifting []VM
	// Failing are VMs whose last task failed.
	Failing []VM
	// Busiest run now, those with the highest load first.
	Busiest []VM
	// Nodes is what VMs were promised of each node that has some, by node.
	Nodes map[int64]NodeUse
	// Days are the OverviewDays, oldest first.
	Days []DayCount
	// ActiveTasks and StuckTasks are how many there are.
	ActiveTasks, StuckTasks int64
}

// NodeUse is what machines were promised of a node, and how busy it was when it was looked at last.
type NodeUse struct {
	VMs, CPUs, MemoryMB int64
	// Load is its share of CPU, 0 … 1, and MemoryUsed in bytes; At is nil when it was never looked at.
	Load       float64
	MemoryUsed int64
	At         *time.Time
}

// DayCount counts machines that were made and destroyed on a day.
type DayCount struct {
	Day              time.Time // its beginning
	Created, Deleted int64
}

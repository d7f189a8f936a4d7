package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	// busyLoad is the load average from which figures are taken for spoiled by other work.
	busyLoad = 1.5
	// quietShare is the share of the processors that other work may use just before a section; quietPatience is how long a section
	// waits for that, looking for lookPeriod at a time.
	quietShare    = 0.10
	quietPatience = 20 * time.Second
	lookPeriod    = time.Second
)

// conditions tell what else the machine did. Load averages look back a minute, so only the one at the very beginning is not the
// benchmarks' own; before each section, the processors are looked at themselves.
type conditions struct{ load float64 }

func newConditions() (conditions, error) {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return conditions{}, err
	}
	first, _, _ := strings.Cut(string(text), " ")
	load, err := strconv.ParseFloat(first, 64)
	return conditions{load}, err
}

// await waits a while for a quiet machine and describes what it got.
func (c conditions) await(ctx context.Context) (string, error) {
	deadline := time.Now().Add(quietPatience)
	for {
		share, err := busyShare(ctx)
		if err != nil {
			return "", err
		}
		if share <= quietShare || time.Now().After(deadline) {
			return c.describe(share), nil
		}
	}
}

func (c conditions) describe(share float64) string {
	text := fmt.Sprintf("Load average %.2f when the run began, processors %.0f %% busy just before this section.", c.load, 100*share)
	if c.load > busyLoad || share > quietShare {
		text += " **The machine was busy with other work: these figures are worse than Gantry's own and are not to be published.**"
	}
	return text
}

// busyShare is the part of all processors' time that was used in a period.
func busyShare(ctx context.Context) (float64, error) {
	idleBefore, totalBefore, err := processorTicks()
	if err != nil {
		return 0, err
	}
	select {
	case <-time.After(lookPeriod):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	idle, total, err := processorTicks()
	if err != nil || total == totalBefore {
		return 0, err
	}
	return 1 - float64(idle-idleBefore)/float64(total-totalBefore), nil
}

// processorTicks reads the first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal. The guests' time that
// follows is part of user.
func processorTicks() (idle, total int64, err error) {
	fields := strings.Fields(firstLine("/proc/stat"))
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, 0, errors.New("/proc/stat does not begin with the processors' times")
	}
	for i, field := range fields[1:9] {
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, 0, err
		}
		total += ticks
		if i == 3 || i == 4 {
			idle += ticks
		}
	}
	return idle, total, nil
}

package stack

import (
	"slices"
	"time"
)

// Durations are samples of a time.
type Durations []time.Duration

// Quantile gives the sample below which that part (0 to 1) of all lie, by nearest rank.
func (d Durations) Quantile(part float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(d))
	return sorted[min(int(part*float64(len(sorted))), len(sorted)-1)]
}

// Median gives the middle sample.
func (d Durations) Median() time.Duration { return d.Quantile(0.5) }

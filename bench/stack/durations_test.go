package stack

import (
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	hundred := Durations{}
	for i := 100; i > 0; i-- {
		hundred = append(hundred, time.Duration(i))
	}
	for _, test := range []struct {
		samples Durations
		part    float64
		want    time.Duration
	}{
		{nil, 0.5, 0}, {Durations{7}, 0, 7}, {Durations{7}, 1, 7}, {Durations{3, 1, 2}, 0.5, 2},
		{hundred, 0, 1}, {hundred, 0.5, 51}, {hundred, 0.99, 100}, {hundred, 1, 100},
	} {
		if got := test.samples.Quantile(test.part); got != test.want {
			t.Errorf("quantile %v of %d samples is %d, want %d", test.part, len(test.samples), got, test.want)
		}
	}
	if hundred[0] != 100 {
		t.Error("the samples were sorted in place")
	}
}

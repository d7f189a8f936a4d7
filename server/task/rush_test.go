package task_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gantry/server/broker"
	"gantry/server/task"
)

// TestARushOfOrdersGoesFirst: while orders are taken a few workers go on, and all others as soon as that is over.
func TestARushOfOrdersGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const tasks = 10
		var begun atomic.Int64
		goOn := make(chan struct{})
		b := newBench(t, openStore(t, databases["sqlite"](t)), func(*bench) []task.Workflow {
			return []task.Workflow{{Kind: "one", Steps: []task.Step{{Name: "a", Do: func(context.Context, *task.Run) (task.Outcome, error) {
				begun.Add(1)
				<-goOn
				return task.Outcome{}, nil
			}}}}}
		}, func(config *task.Config) { config.Limits = broker.TaskLimits{PerNode: tasks} })
		b.start()
		var ended []func()
		for range 4 {
			ended = append(ended, b.engine.Arriving())
		}
		for range tasks {
			b.add("one")
		}
		expect := func(want int64, when string) {
			t.Helper()
			time.Sleep(time.Second) // of the bubble: claims gather for some milliseconds
			synctest.Wait()
			if got := begun.Load(); got != want {
				t.Errorf("%s: %d tasks have begun, want %d", when, got, want)
			}
		}
		expect(4, "four orders")
		goOn <- struct{}{}
		expect(5, "four orders, one task ended")
		ended[0]()
		expect(tasks, "three orders")
		close(goOn)
		for _, each := range ended[1:] {
			each()
		}
		synctest.Wait()
	})
}

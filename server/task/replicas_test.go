package task_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"gantry/server/broker"
	"gantry/server/task"
)

// TestTwoEnginesShareTheWork lets two servers work on one database: no step of a task runs twice, and never more than four tasks are
// at work on a node. The test ends only if both take part.
func TestTwoEnginesShareTheWork(t *testing.T) {
	const tasks, nodes = 120, 6
	for name, dsn := range databases {
		t.Run(name, func(t *testing.T) {
			d := dsn(t)
			var mu sync.Mutex
			entered := map[string]int{}
			atWork := map[string]map[int64]bool{}
			byEngine := map[int]bool{}
			both := make(chan struct{}) // closed when both engines have entered a step; until then none goes on
			workflows := func(engine int) func(*bench) []task.Workflow {
				return func(*bench) []task.Workflow {
					workflow := task.Workflow{Kind: "shared"}
					for _, name := range []string{"first", "second", "last"} {
						workflow.Steps = append(workflow.Steps, task.Step{Name: name, Do: func(_ context.Context, run *task.Run) (task.Outcome, error) {
							mu.Lock()
							if !byEngine[engine] {
								if byEngine[engine] = true; len(byEngine) == 2 {
									close(both)
								}
							}
							mu.Unlock()
							<-both
							mu.Lock()
							defer mu.Unlock()
							entered[fmt.Sprint(run.Task.ID, name, run.Task.Attempts)]++
							node := run.Task.NodeKey
							if atWork[node] == nil {
								atWork[node] = map[int64]bool{}
							}
							atWork[node][run.Task.ID] = true
							if len(atWork[node]) > 4 {
								t.Errorf("%d tasks at work on %s", len(atWork[node]), node)
							}
							if name == "last" {
								// The limit is released by the commit, a moment after this.
								delete(atWork[node], run.Task.ID)
								return task.Outcome{}, nil
							}
							// Between the steps the task waits, which lets the other engine have it.
							if run.Task.Note != name {
								return task.Outcome{After: time.Millisecond, Note: name}, nil
							}
							return task.Outcome{}, nil
						}})
					}
					return []task.Workflow{workflow}
				}
			}
			shared := func(config *task.Config) { config.Shared, config.Poll, config.Workers = true, 20*time.Millisecond, 8 }
			one := newBench(t, openStore(t, d), workflows(1), shared)
			two := newBench(t, openStore(t, d), workflows(2), shared)
			for i := range tasks {
				one.add("shared", func(added *broker.Task) { added.NodeKey, added.Tenant = fmt.Sprint("n", i%nodes), int64(i%5) })
			}
			one.start()
			two.start()
			done := map[int64]bool{}
			timeout := time.After(patience)
			for len(done) < tasks {
				select {
				case changed := <-one.changes:
					done[changed.ID] = done[changed.ID] || changed.State == broker.TaskDone
				case changed := <-two.changes:
					done[changed.ID] = done[changed.ID] || changed.State == broker.TaskDone
				case <-timeout:
					t.Fatalf("%d of %d tasks ended", len(done), tasks)
				}
				for id, ended := range done {
					if !ended {
						delete(done, id)
					}
				}
			}
			mu.Lock()
			defer mu.Unlock()
			// Each step is entered twice as attempt 1 (before and after its pause), the last one once.
			for what, times := range entered {
				if times > 2 {
					t.Errorf("%s was entered %d times", what, times)
				}
			}
			if len(entered) != 3*tasks {
				t.Errorf("%d steps were entered, want %d: some were tried again", len(entered), 3*tasks)
			}
		})
	}
}

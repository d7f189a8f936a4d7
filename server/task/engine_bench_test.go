package task_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"gantry/server/broker"
	"gantry/server/task"
)

// eightSteps is a workflow whose steps do nothing but keep state.
func eightSteps() task.Workflow {
	workflow := task.Workflow{Kind: "eight"}
	for i := range 8 {
		workflow.Steps = append(workflow.Steps, task.Step{
			Name: fmt.Sprintf("step-%d", i),
			Do: func(context.Context, *task.Run) (task.Outcome, error) {
				return task.Outcome{State: map[string]int{"step": i}}, nil
			},
			Undo: func(context.Context, *task.Run) (task.Outcome, error) { return task.Outcome{}, nil },
		})
	}
	return workflow
}

func eightTask(number int) *broker.Task {
	now := time.Now()
	return &broker.Task{
		Kind: "eight", State: broker.TaskReady, CreatedAt: now, UpdatedAt: now, RunAfter: now, Deadline: now.Add(time.Hour),
		Tenant: int64(number % 5),
	}
}

// BenchmarkJobs measures 8-step jobs from insert to done: thousands queued at once, and one at a time on an idle engine.
func BenchmarkJobs(b *testing.B) {
	for name, dsn := range databases {
		for _, mode := range []string{"queued", "idle"} {
			b.Run(name+"/"+mode, func(b *testing.B) {
				s := openStore(b, dsn(b))
				done := make(chan struct{}, 100)
				engine, err := task.New(task.Config{
					Store: s, Workflows: []task.Workflow{eightSteps()}, Operations: newOperations(),
					OnChange: func(changed broker.Task) {
						if changed.State.Final() {
							done <- struct{}{}
						}
					},
				})
				if err != nil {
					b.Fatal(err)
				}
				add := func(number int) {
					if err := s.InsertTask(context.Background(), eightTask(number)); err != nil {
						b.Fatal(err)
					}
				}
				if mode == "queued" {
					for i := range b.N {
						add(i)
					}
				}
				b.ResetTimer()
				if err := engine.Start(context.Background()); err != nil {
					b.Fatal(err)
				}
				for i := range b.N {
					if mode == "idle" {
						add(i)
						engine.Wake()
					}
					<-done
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
				b.StopTimer()
				if err := engine.Stop(context.Background()); err != nil {
					b.Error(err)
				}
			})
		}
	}
}

// Command idle measures what a broker costs that has nothing to do but to poll one cluster:
//
//	go run ./bench/idle [-seconds 60] [-machines 100]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"gantry/bench/stack"
)

// settling is left out of the measurement: what the orders left to do is done then.
const settling = 20 * time.Second

func main() {
	seconds := flag.Float64("seconds", 60, "time of the measurement")
	machines := flag.Int("machines", 100, "how many machines the broker has")
	database := flag.String("database", "", "DSN of the broker's database, else SQLite")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	period := time.Duration(*seconds * float64(time.Second))
	if err := run(ctx, stack.Options{Nodes: 1, Database: *database}, *machines, period); err != nil {
		fmt.Fprintln(os.Stderr, "bench/idle:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, options stack.Options, machines int, period time.Duration) (err error) {
	running, err := stack.Start(ctx, options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, running.Stop()) }()
	for range machines {
		order, err := running.Place(ctx, running.NodeID)
		if err != nil {
			return err
		}
		if _, err := running.Await(ctx, order.TaskID, 10*time.Millisecond); err != nil {
			return err
		}
	}
	if err := stack.Pause(ctx, settling); err != nil {
		return err
	}
	process, err := running.ServerProcess()
	if err != nil {
		return err
	}
	before, err := look(ctx, running, process)
	if err != nil {
		return err
	}
	if err := stack.Pause(ctx, period); err != nil {
		return err
	}
	after, err := look(ctx, running, process)
	if err != nil {
		return err
	}
	took := after.at.Sub(before.at).Seconds()
	fmt.Printf("idle for %.0f s, one cluster polled every 10 s, %d machines: %.2f SQL statements/s, %.2f %% of a processor, %.1f MiB resident\n",
		took, machines, (after.statements-before.statements)/took, 100*(after.processor-before.processor).Seconds()/took,
		float64(after.resident)/(1<<20))
	return nil
}

// sight is what a process has used at a moment.
type sight struct {
	at         time.Time
	statements float64
	processor  time.Duration
	resident   int64
}

func look(ctx context.Context, running *stack.Stack, process int) (seen sight, err error) {
	seen.at = time.Now()
	if seen.statements, err = running.Metric(ctx, "gantry_sql_statements_total"); err != nil {
		return seen, err
	}
	if seen.processor, err = stack.ProcessorTime(process); err != nil {
		return seen, err
	}
	seen.resident, err = stack.Resident(process)
	return seen, err
}

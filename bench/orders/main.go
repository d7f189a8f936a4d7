// Command orders measures orders over the whole path, from the call of a billing system to the guest:
//
//	go run ./bench/orders accept     how long cerateVM takes with 50 callers at once
//	go run ./bench/orders started    from order to started guest, one at a time, guests in memory
//	go run ./bench/orders sustained  how many orders a second, guests in memory
//	go run ./bench/orders running    from order to running guest under QEMU, beside the same PVE calls made bare
//
// Broker, lab and this program are processes of this machine and share its processors.
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

// settings are the flags.
type settings struct {
	orders, callers, nodes, rounds int
	database                       string
}

type measurement struct {
	options stack.Options
	measure func(ctx context.Context, running *stack.Stack, with settings) error
	// defaults of the flags.
	defaults settings
}

var measurements = map[string]measurement{
	"accept":    {measure: accept, defaults: settings{orders: 1000, callers: 50, nodes: 8}},
	"started":   {measure: started, defaults: settings{orders: 100, nodes: 1}},
	"sustained": {measure: sustained, defaults: settings{orders: 1000, callers: 64, nodes: 8}},
	"running":   {measure: running, defaults: settings{rounds: 9, nodes: 1}, options: stack.Options{QEMU: true}},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench/orders:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, arguments []string) (err error) {
	if len(arguments) == 0 {
		return errors.New("usage: orders accept|started|sustained|running [flags]")
	}
	chosen, known := measurements[arguments[0]]
	if !known {
		return fmt.Errorf("%q is none of accept, started, sustained, running", arguments[0])
	}
	with := chosen.defaults
	flags := flag.NewFlagSet(arguments[0], flag.ContinueOnError)
	flags.IntVar(&with.orders, "orders", with.orders, "how many orders")
	flags.IntVar(&with.callers, "callers", with.callers, "how many callers at once")
	flags.IntVar(&with.nodes, "nodes", with.nodes, "nodes of the lab")
	flags.IntVar(&with.rounds, "rounds", with.rounds, "pairs of an order and a bare run")
	flags.StringVar(&with.database, "database", "", "DSN of the broker's database, else SQLite")
	if err := flags.Parse(arguments[1:]); err != nil {
		return err
	}
	options := chosen.options
	options.Nodes, options.Database = with.nodes, with.database
	running, err := stack.Start(ctx, options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, running.Stop()) }()
	return chosen.measure(ctx, running, with)
}

// milliseconds prints a duration.
func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}

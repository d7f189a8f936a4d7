package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"gantry/bench/stack"
)

// batch is what came of many orders.
type batch struct {
	orders   []stack.Order
	accepted stack.Durations
	// began is when the first was sent, taken when the last was accepted.
	began, taken time.Time
}

// placeMany sends orders by callers that each send the next as soon as the last was answered, to all nodes in turn.
func placeMany(ctx context.Context, running *stack.Stack, orders, callers int) (batch, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	result := batch{orders: make([]stack.Order, orders), began: time.Now()}
	next := make(chan int)
	var calling sync.WaitGroup
	for range callers {
		calling.Go(func() {
			for number := range next {
				placed, err := running.Place(ctx, running.Nodes[number%len(running.Nodes)])
				if err != nil {
					cancel(err)
				}
				result.orders[number] = placed
			}
		})
	}
	for number := range orders {
		select {
		case next <- number:
		case <-ctx.Done():
		}
	}
	close(next)
	calling.Wait()
	result.taken = time.Now()
	for _, each := range result.orders {
		result.accepted = append(result.accepted, each.Accepted)
	}
	return result, context.Cause(ctx)
}

// awaitAll waits until all orders are carried out and gives the time at which the last was.
func (b batch) awaitAll(ctx context.Context, running *stack.Stack) (last time.Time, err error) {
	for _, each := range b.orders {
		ended, err := running.Await(ctx, each.TaskID, 50*time.Millisecond)
		if err != nil {
			return last, err
		}
		if ended.After(last) {
			last = ended
		}
	}
	return last, nil
}

// bursts is how many times callers order at the same moment.
const bursts = 10

// accept measures the answers of cerateVM: first to orders that come at the same moment while nothing else is at work, then to
// callers without pause, while the accepted orders are carried out. A burst that is not counted warms everything up.
func accept(ctx context.Context, running *stack.Stack, with settings) error {
	var together stack.Durations
	for round := range bursts + 1 {
		burst, err := placeMany(ctx, running, with.callers, with.callers)
		if err != nil {
			return err
		}
		if _, err := burst.awaitAll(ctx, running); err != nil {
			return err
		}
		if round > 0 {
			together = append(together, burst.accepted...)
		}
	}
	fmt.Printf("%d orders at the same moment, nothing else at work, %d times: %s\n", with.callers, bursts, distribution(together))
	result, err := placeMany(ctx, running, with.orders, with.callers)
	if err != nil {
		return err
	}
	fmt.Printf("%d callers without pause, %d orders, which are carried out meanwhile: %s, %.0f accepted/s\n", with.callers, with.orders,
		distribution(result.accepted), float64(with.orders)/result.taken.Sub(result.began).Seconds())
	fmt.Printf("cerateVM accept latency p99 at %d concurrent: %s (aim: at most 50 ms)\n", with.callers, milliseconds(result.accepted.Quantile(0.99)))
	_, err = result.awaitAll(ctx, running)
	return err
}

func distribution(times stack.Durations) string {
	return fmt.Sprintf("p50 %s, p99 %s, longest %s", milliseconds(times.Median()), milliseconds(times.Quantile(0.99)), milliseconds(times.Quantile(1)))
}

// sustained measures from the first order sent to the last machine started. The broker's own processor time depends least on what
// else the machine does.
func sustained(ctx context.Context, running *stack.Stack, with settings) error {
	process, err := running.ServerProcess()
	if err != nil {
		return err
	}
	before, err := stack.ProcessorTime(process)
	if err != nil {
		return err
	}
	result, err := placeMany(ctx, running, with.orders, with.callers)
	if err != nil {
		return err
	}
	last, err := result.awaitAll(ctx, running)
	if err != nil {
		return err
	}
	after, err := stack.ProcessorTime(process)
	if err != nil {
		return err
	}
	took := last.Sub(result.began)
	fmt.Printf("%d orders by %d callers on %d nodes: all accepted after %.1f s, all started after %.1f s: %.1f VMs/s; %s of processor time each in the broker\n",
		with.orders, with.callers, with.nodes, result.taken.Sub(result.began).Seconds(), took.Seconds(),
		float64(with.orders)/took.Seconds(), milliseconds((after-before)/time.Duration(with.orders)))
	return nil
}

// started measures one order after the other on an idle server.
func started(ctx context.Context, running *stack.Stack, with settings) error {
	var accepted, complete stack.Durations
	for range with.orders {
		begun := time.Now()
		placed, err := running.Place(ctx, running.NodeID)
		if err != nil {
			return err
		}
		if _, err := running.Await(ctx, placed.TaskID, 2*time.Millisecond); err != nil {
			return err
		}
		complete = append(complete, time.Since(begun))
		accepted = append(accepted, placed.Accepted)
	}
	fmt.Printf("%d orders one after the other, until getTask says done: p50 %s, p99 %s (of it cerateVM p50 %s)\n", with.orders,
		milliseconds(complete.Median()), milliseconds(complete.Quantile(0.99)), milliseconds(accepted.Median()))
	return nil
}

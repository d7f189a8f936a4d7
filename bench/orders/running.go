package main

import (
	"context"
	"fmt"
	"time"

	"gantry/bench/stack"
)

// running measures orders of real guests. Each is followed by the same calls, which the lab's journal has kept, made bare: without
// broker, on a connection that is kept, polling the task's state as quickly as the node answers with a pause of 10 ms. Each guest is
// removed before the next begins.
func running(ctx context.Context, running *stack.Stack, with settings) error {
	bare, err := running.Bare(ctx)
	if err != nil {
		return err
	}
	var ordered, called stack.Durations
	var parts []stack.Durations
	for range with.rounds {
		took, calls, err := orderOnce(ctx, running, bare)
		if err != nil {
			return err
		}
		ordered = append(ordered, took)
		times, err := bare.Replay(ctx, calls)
		if err != nil {
			return fmt.Errorf("make the calls bare: %w", err)
		}
		var total time.Duration
		for i, each := range times {
			if len(parts) == i {
				parts = append(parts, nil)
			}
			parts[i] = append(parts[i], each)
			total += each
		}
		called = append(called, total)
	}
	fmt.Printf("order to running guest (QEMU), median of %d: %s\n", with.rounds, milliseconds(ordered.Median()))
	fmt.Printf("the same PVE calls made bare,  median of %d: %s (", with.rounds, milliseconds(called.Median()))
	for i, name := range []string{"create", "resize", "start"} {
		fmt.Printf("%s %s, ", name, milliseconds(parts[i].Median()))
	}
	fmt.Printf("range %s to %s)\n", milliseconds(called.Quantile(0)), milliseconds(called.Quantile(1)))
	fmt.Printf("ratio of the medians: %.3f (aim: at most 1.15)\n", float64(ordered.Median())/float64(called.Median()))
	return nil
}

// orderOnce orders a machine, and gives the changing calls that the broker made for it once the machine is gone again.
func orderOnce(ctx context.Context, running *stack.Stack, bare *stack.Bare) (took time.Duration, calls []stack.LabCall, err error) {
	if err := bare.Forget(ctx); err != nil {
		return 0, nil, err
	}
	begun := time.Now()
	placed, err := running.Place(ctx, running.NodeID)
	if err != nil {
		return 0, nil, err
	}
	if _, err := running.Await(ctx, placed.TaskID, 5*time.Millisecond); err != nil {
		return 0, nil, err
	}
	took = time.Since(begun)
	if calls, err = bare.Changes(ctx); err != nil {
		return 0, nil, err
	}
	if len(calls) != 3 {
		return 0, nil, fmt.Errorf("an order took %d changing calls, not create, resize and start: %v", len(calls), calls)
	}
	return took, calls, running.Delete(ctx, placed.HostID)
}

package main

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// streams are how many consoles draw at once.
var streams = []int{1, 8, 32}

func proxyThroughput(network string, period time.Duration) error {
	from, err := startSource(network, true)
	if err != nil {
		return err
	}
	defer from.close()
	for _, count := range streams {
		proxy, err := startProxy(from.target)
		if err != nil {
			return err
		}
		rate, err := throughput(proxy.address, count, period)
		if err == nil {
			fmt.Printf("console throughput gantry %s source, %d streams: %.0f MB/s\n", network, count, rate/1e6)
		}
		if stopErr := proxy.stop(); err == nil {
			err = stopErr
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// throughput opens count consoles and gives the bytes a second of all together, after a warm-up of a quarter of the period.
func throughput(address string, count int, period time.Duration) (float64, error) {
	var total atomic.Int64
	var group sync.WaitGroup
	clients := make([]*client, 0, count)
	defer func() {
		for _, c := range clients {
			c.conn.Close()
		}
		group.Wait()
	}()
	for range count {
		c, err := openClient(address)
		if err != nil {
			return 0, fmt.Errorf("open stream: %w", err)
		}
		clients = append(clients, c)
		group.Go(func() { _ = c.drain(&total) }) // ends with the connection
	}
	time.Sleep(period / 4)
	before, began := total.Load(), time.Now()
	time.Sleep(period)
	bytes, took := total.Load()-before, time.Since(began)
	if bytes == 0 {
		return 0, fmt.Errorf("nothing arrived over %d streams", count)
	}
	return float64(bytes) / took.Seconds(), nil
}

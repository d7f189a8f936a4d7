// Command console measures the console proxy and prints one figure a line:
//
//	go run ./bench/console [-seconds 4] [-sessions 5000]
//
// Source, proxy and clients are all on this machine and share its processors. The proxy runs in a process of its own, so that its
// memory can be told. Where Debian's websockify is installed it is measured in the same run by the same client.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"time"
)

// asProxy is the argument with which this program runs itself as the proxy under test.
const asProxy = "proxy"

func main() {
	if len(os.Args) == 4 && os.Args[1] == asProxy {
		exit(runProxy(os.Args[2], os.Args[3]))
	}
	seconds := flag.Float64("seconds", 4, "time of each throughput measurement")
	sessions := flag.Int("sessions", 5000, "idle sessions to hold open")
	flag.Parse()
	exit(measure(time.Duration(*seconds*float64(time.Second)), *sessions))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/console:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func measure(period time.Duration, sessions int) error {
	fmt.Printf("console: %d processors, %s, %s a measurement\n", runtime.NumCPU(), runtime.Version(), period)
	for _, network := range []string{"tcp", "unix"} {
		if err := proxyThroughput(network, period); err != nil {
			return fmt.Errorf("throughput over %s: %w", network, err)
		}
	}
	if err := websockifyFigures(period); err != nil {
		return fmt.Errorf("websockify: %w", err)
	}
	for _, network := range []string{"unix", "websocket"} {
		if err := proxyMemory(network, sessions); err != nil {
			return fmt.Errorf("memory over %s: %w", network, err)
		}
	}
	return nil
}

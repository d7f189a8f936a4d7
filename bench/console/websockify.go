package main

import (
	"fmt"
	"net"
	"os/exec"
	"time"
)

// websockifySessions are fewer than Gantry's: websockify forks a process for each.
const websockifySessions = 100

// websockifyFigures measures Debian's websockify by the same client from the same source, where it is installed.
func websockifyFigures(period time.Duration) error {
	program, err := exec.LookPath("websockify")
	if err != nil {
		fmt.Println("console websockify: not installed, so not compared (apt-get install websockify)")
		return nil
	}
	drawing, err := startSource("tcp", true)
	if err != nil {
		return err
	}
	defer drawing.close()
	for _, count := range streams {
		var rate float64
		err := withWebsockify(program, drawing.target.Address, func(under *process) (err error) {
			rate, err = throughput(under.address, count, period)
			return err
		})
		if err != nil {
			return err
		}
		fmt.Printf("console throughput websockify tcp source, %d streams: %.0f MB/s\n", count, rate/1e6)
	}
	idle, err := startSource("tcp", false)
	if err != nil {
		return err
	}
	defer idle.close()
	return withWebsockify(program, idle.target.Address, func(under *process) error {
		perSession, err := growth(under, websockifySessions)
		if err == nil {
			fmt.Printf("console memory websockify tcp target, %d idle sessions: %.1f KiB each\n", websockifySessions, perSession/1024)
		}
		return err
	})
}

// withWebsockify runs websockify in front of a TCP server for the time of use.
func withWebsockify(program, target string, use func(*process) error) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	p := &process{command: exec.Command(program, address, target), address: address}
	if err := p.command.Start(); err != nil {
		return err
	}
	if err = awaitListener(address); err == nil {
		err = use(p)
	}
	if stopErr := p.stop(); err == nil {
		err = stopErr
	}
	return err
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// awaitListener waits until somebody listens. websockify takes the visit for a client that left.
func awaitListener(address string) error {
	deadline := time.Now().Add(15 * time.Second)
	for {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(deadline) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

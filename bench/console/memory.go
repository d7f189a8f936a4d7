package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// settle is how long the process under test is left alone before its memory is read.
const settle = 5 * time.Second

// proxyMemory holds idle consoles open and gives the proxy's memory for each: what its resident set grew by.
func proxyMemory(network string, sessions int) error {
	from, err := startSource(network, false)
	if err != nil {
		return err
	}
	defer from.close()
	proxy, err := startProxy(from.target)
	if err != nil {
		return err
	}
	perSession, err := growth(proxy, sessions)
	if stopErr := proxy.stop(); err == nil {
		err = stopErr
	}
	if err != nil {
		return err
	}
	fmt.Printf("console memory gantry %s target, %d idle sessions: %.1f KiB each\n", network, sessions, perSession/1024)
	return nil
}

// growth gives the bytes by which the memory of a process and its children grows for each of many idle sessions.
func growth(under *process, sessions int) (float64, error) {
	first, err := openClient(under.address) // what is loaded once is not counted
	if err != nil {
		return 0, err
	}
	defer first.conn.Close()
	before, err := memory(under.command.Process.Pid)
	if err != nil {
		return 0, err
	}
	clients, err := openMany(under.address, sessions)
	defer func() {
		for _, c := range clients {
			c.conn.Close()
		}
	}()
	if err != nil {
		return 0, err
	}
	time.Sleep(settle)
	after, err := memory(under.command.Process.Pid)
	if err != nil {
		return 0, err
	}
	return (after - before) / float64(sessions), nil
}

// openMany opens sessions, a few at a time.
func openMany(address string, sessions int) ([]*client, error) {
	const atOnce = 16
	var mu sync.Mutex
	var clients []*client
	var failed error
	var group sync.WaitGroup
	places := make(chan struct{}, atOnce)
	for range sessions {
		places <- struct{}{}
		group.Go(func() {
			c, err := openClient(address)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
			} else {
				clients = append(clients, c)
			}
			<-places
		})
	}
	group.Wait()
	return clients, failed
}

// memory is the proportional set size of a process and its children in bytes: pages that several share count once.
func memory(pid int) (float64, error) {
	total, err := ownMemory(pid)
	if err != nil {
		return 0, err
	}
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return 0, err
	}
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue // a thread that ended meanwhile
		}
		for _, field := range strings.Fields(string(text)) {
			child, err := strconv.Atoi(field)
			if err != nil {
				return 0, err
			}
			size, err := memory(child)
			if err != nil {
				return 0, err
			}
			total += size
		}
	}
	return total, nil
}

func ownMemory(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	for _, line := range strings.Split(string(text), "\n") {
		if value, found := strings.CutPrefix(line, "Pss:"); found {
			kib, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(value, "kB")), 64)
			return kib * 1024, err
		}
	}
	return 0, fmt.Errorf("no Pss of process %d", pid)
}

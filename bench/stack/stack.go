// Package stack brings up a whole Gantry for measurements: `gantry demo` in a process of its own on a temporary folder, as a user
// has it, and clients of its API, its lab and its metrics.
package stack

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

const (
	// binary is what `make build` makes.
	binary = "bin/gantry"
	// startPatience bounds the start of all programs, stopPatience their end.
	startPatience = 2 * time.Minute
	stopPatience  = 30 * time.Second
)

// Options say what to bring up.
type Options struct {
	Nodes int
	// QEMU makes guests real; else they are in memory.
	QEMU bool
	// Database is the server's DSN; "" = SQLite.
	Database string
	// Environment is added to that of all programs, for instance GANTRY_SERVER_….
	Environment []string
}

// Stack is a running Gantry.
type Stack struct {
	ready
	// API sends calls of the billing system, Panel those of the operator.
	API, Panel *Client
	// Nodes are the ids of the lab's nodes in the broker. All have the image and a pool of addresses.
	Nodes []int64

	process *exec.Cmd
	folder  string
	errors  *bytes.Buffer
}

// ready is what `gantry demo --json` prints.
type ready struct {
	AdminPath     string `json:"adminPath"`
	AdminUser     string `json:"adminUser"`
	AdminPassword string `json:"adminPassword"`
	URL           string `json:"api"`
	AppID         string `json:"appid"`
	AppKey        string `json:"appkey"`
	Lab           string `json:"lab"`
	LabToken      string `json:"labToken"`
	LabControl    string `json:"labControl"`
	LabControlKey string `json:"labControlToken"`
	NodeID        int64  `json:"nodeId"`
	ImageID       int64  `json:"osId"`
}

// Start brings everything up and prepares all nodes for orders. The caller stops it.
func Start(ctx context.Context, options Options) (*Stack, error) {
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("%s is missing: run `make build` (%w)", binary, err)
	}
	folder, err := os.MkdirTemp("", "gantry-bench-")
	if err != nil {
		return nil, err
	}
	s := &Stack{folder: folder, errors: &bytes.Buffer{}}
	if err := s.start(ctx, options); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func (s *Stack) start(ctx context.Context, options Options) error {
	guests := "off"
	if options.QEMU {
		guests = "on"
	}
	arguments := []string{
		"demo", "--json", "--no-order", "--listen", "127.0.0.1:0", "--data-dir", filepath.Join(s.folder, "demo"),
		"--qemu", guests, "--nodes", strconv.Itoa(options.Nodes),
	}
	if options.Database != "" {
		arguments = append(arguments, "--database", options.Database)
	}
	s.process = exec.Command(binary, arguments...)
	s.process.Env = append(os.Environ(), options.Environment...)
	s.process.Stderr = s.errors
	// Ctrl-C reaches the benchmark, which stops the demo; the kernel does so when the benchmark is killed.
	s.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	output, err := s.process.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.process.Start(); err != nil {
		s.process = nil
		return err
	}
	line := make(chan []byte, 1)
	go func() {
		text, _ := bufio.NewReader(output).ReadBytes('\n') // an end without a line is told below
		line <- text
	}()
	select {
	case text := <-line:
		if err := json.Unmarshal(text, &s.ready); err != nil {
			return fmt.Errorf("gantry demo did not start: %s", s.errors)
		}
	case <-time.After(startPatience):
		return fmt.Errorf("gantry demo is not ready after %s", startPatience)
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.prepare(ctx)
}

// Stop ends all programs and removes their data.
func (s *Stack) Stop() error {
	var problem error
	if s.process != nil {
		ended := make(chan error, 1)
		go func() { ended <- s.process.Wait() }()
		problem = s.process.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-ended:
			if err != nil {
				problem = fmt.Errorf("gantry demo: %w: %s", err, s.errors)
			}
		case <-time.After(stopPatience):
			problem = errors.Join(errors.New("gantry demo does not end"), s.process.Process.Kill())
			<-ended
		}
	}
	return errors.Join(problem, os.RemoveAll(s.folder))
}

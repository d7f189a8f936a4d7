package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"gantry/internal/consoleapi"
	"gantry/vncproxy"
)

// oneTarget is a broker that knows one target and trusts everybody: the proxy alone is measured.
type oneTarget struct {
	target consoleapi.Target
	count  atomic.Int64
}

func (o *oneTarget) Redeem(context.Context, consoleapi.RedeemRequest) (consoleapi.RedeemReply, error) {
	target := o.target
	target.VMID = o.count.Add(1)
	target.SessionID = fmt.Sprintf("bench%d", target.VMID)
	target.ClosesAt = time.Now().Add(time.Hour)
	return consoleapi.RedeemReply{Target: target, Bound: true}, nil
}

func (o *oneTarget) Check(context.Context, []string) ([]consoleapi.Ended, error) { return nil, nil }

// Stream is for screens that only a broker reaches: there are none here.
func (o *oneTarget) Stream(context.Context, consoleapi.StreamRequest) (*websocket.Conn, error) {
	return nil, consoleapi.Refuse(consoleapi.ReasonUnsupported)
}

// runProxy is the process under test: it prints its address and ends with its standard input.
func runProxy(targetJSON, address string) error {
	broker := &oneTarget{}
	if err := json.Unmarshal([]byte(targetJSON), &broker.target); err != nil {
		return err
	}
	config := vncproxy.DefaultConfig()
	config.Secret = "unused"
	config.MaxSessions, config.MaxSessionsPerClient = 20000, 20000
	config.Logger = slog.New(slog.DiscardHandler)
	proxy, err := vncproxy.New(config, broker)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends when the parent does, however that ends
		stop()
	}()
	return proxy.Serve(ctx, listener)
}

// process is a program under test.
type process struct {
	command *exec.Cmd
	stdin   io.Closer
	address string
}

// startProxy runs this program as a proxy for the target.
func startProxy(target consoleapi.Target) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(target)
	if err != nil {
		return nil, err
	}
	p := &process{command: exec.Command(self, asProxy, string(text), "127.0.0.1:0")}
	p.command.Stderr = os.Stderr
	if p.stdin, err = p.command.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("proxy did not start: %w", err), p.stop())
	}
	p.address = strings.TrimSpace(line)
	return p, nil
}

// stop ends the process by its id and waits for it.
func (p *process) stop() error {
	if p.stdin != nil {
		if err := p.stdin.Close(); err != nil {
			return err
		}
	}
	if err := p.command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	_ = p.command.Wait() // "killed" is what was asked for
	return nil
}

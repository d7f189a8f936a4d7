package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"gantry/lab/cluster"
)

// AdminSocket is where a lab with that data directory listens for RunQM.
func AdminSocket(dataDir string) string { return filepath.Join(dataDir, "qm.sock") }

// qmCall is one command line that RunQM sends; qmLine is one line of its answer.
type qmCall struct {
	Node  string   `json:"node"`
	Args  []string `json:"args"`
	Input string   `json:"input,omitempty"`
}

type qmLine struct {
	Out  string `json:"out,omitempty"`
	Err  string `json:"err,omitempty"`
	Exit *int   `json:"exit,omitempty"`
}

// RunQM stands in for a node's qm command: it runs `qm ARGS` on the node of the lab behind socket and returns the exit code. A new
// guest password is read from input where the real command asks for it.
func RunQM(ctx context.Context, socket, node string, args []string, input io.Reader, stdout, stderr io.Writer) int {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		fmt.Fprintln(stderr, "ipcc_send_rec[1] failed: Connection refused")
		return 111
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	call := qmCall{Node: node, Args: args}
	if cluster.QMAsks(args) && input != nil {
		text, err := io.ReadAll(io.LimitReader(input, 4096))
		if err != nil {
			fmt.Fprintln(stderr, "unable to read the password")
			return 1
		}
		call.Input = string(text)
	}
	if err := json.NewEncoder(conn).Encode(call); err != nil {
		fmt.Fprintln(stderr, "ipcc_send_rec[1] failed: "+err.Error())
		return 111
	}
	lines := json.NewDecoder(bufio.NewReader(conn))
	for {
		var line qmLine
		if err := lines.Decode(&line); err != nil {
			fmt.Fprintln(stderr, "ipcc_send_rec[1] failed: Connection reset by peer")
			return 111
		}
		switch {
		case line.Exit != nil:
			return *line.Exit
		case line.Err != "":
			fmt.Fprintln(stderr, line.Err)
		default:
			fmt.Fprintln(stdout, line.Out)
		}
	}
}

// admin serves the socket.
type admin struct {
	listener net.Listener
	cluster  *cluster.Cluster
	wait     sync.WaitGroup
	cancel   context.CancelFunc
}

func serveAdmin(dataDir string, c *cluster.Cluster) (*admin, error) {
	socket := AdminSocket(dataDir)
	// The lock on the data directory is held: a socket that is there belongs to a lab that was killed.
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove the old admin socket: %w", err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("listen on the admin socket: %w", err)
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		_ = listener.Close()
		return nil, fmt.Errorf("protect the admin socket: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	a := &admin{listener: listener, cluster: c, cancel: cancel}
	a.wait.Add(1)
	go func() {
		defer a.wait.Done()
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			a.wait.Add(1)
			go func() {
				defer a.wait.Done()
				a.serve(ctx, conn)
			}()
		}
	}()
	return a, nil
}

func (a *admin) close() error {
	a.cancel()
	err := a.listener.Close()
	a.wait.Wait()
	return err
}

func (a *admin) serve(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	var call qmCall
	if err := json.NewDecoder(io.LimitReader(conn, 1<<20)).Decode(&call); err != nil {
		return
	}
	encoder := json.NewEncoder(conn)
	out := func(line string) { _ = encoder.Encode(qmLine{Out: line}) }
	code := 0
	if err := a.cluster.QM(ctx, call.Node, call.Args, call.Input, out); err != nil {
		code = 255
		_ = encoder.Encode(qmLine{Err: strings.TrimRight(err.Error(), "\n")})
	}
	_ = encoder.Encode(qmLine{Exit: &code})
}

package qemu

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

const (
	// commandTimeout bounds a short command (ip, tc, qemu-img info and the like).
	commandTimeout = 30 * time.Second
	// copyTimeout bounds a command that copies a volume.
	copyTimeout = 2 * time.Hour
	// maxOutput bounds what is kept of a command's output, in bytes.
	maxOutput = 1 << 20
)

// CommandError is a program that ended with an error. Its text is what the program printed, as a node's task log shows it.
type CommandError struct {
	Program string
	Output  string // standard error, trimmed
	Err     error
}

func (e *CommandError) Error() string {
	if e.Output == "" {
		return fmt.Sprintf("%s: %v", e.Program, e.Err)
	}
	return e.Output
}

func (e *CommandError) Unwrap() error { return e.Err }

// run runs a program and returns its standard output.
func run(ctx context.Context, timeout time.Duration, argv ...string) ([]byte, error) {
	var output limitedBuffer
	err := runTo(ctx, timeout, &output, argv...)
	return output.Bytes(), err
}

// runTo runs a program with its standard output going to w.
func runTo(ctx context.Context, timeout time.Duration, w io.Writer, argv ...string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	command := exec.CommandContext(ctx, argv[0], argv[1:]...)
	command.Env = []string{"LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	// A grandchild that keeps the pipes open must not keep us waiting.
	command.WaitDelay = time.Second
	var stderr limitedBuffer
	command.Stdout, command.Stderr = w, &stderr
	err := command.Run()
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	program := argv[0][strings.LastIndexByte(argv[0], '/')+1:]
	return &CommandError{Program: program, Output: strings.TrimSpace(stderr.String()), Err: err}
}

// limitedBuffer keeps the first maxOutput bytes and swallows the rest.
type limitedBuffer struct{ bytes.Buffer }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if room := maxOutput - b.Len(); room > 0 {
		b.Buffer.Write(p[:min(len(p), room)])
	}
	return len(p), nil
}

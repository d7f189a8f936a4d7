package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"time"
)

const (
	// qmpTimeout bounds one QMP command with its connection.
	qmpTimeout = 20 * time.Second
	// maxMessage bounds one line of QMP or of the guest agent, in bytes. The agent's side is the guest's to fill.
	maxMessage = 16 << 20
)

// QMPError is an error that QEMU or the guest agent answered.
type QMPError struct {
	Class string `json:"class"` // GenericError, CommandNotFound …
	Desc  string `json:"desc"`
}

func (e *QMPError) Error() string { return e.Desc }

// message is any line of QEMU's machine protocol and of the guest agent's.
type message struct {
	Return json.RawMessage `json:"return"`
	Error  *QMPError       `json:"error"`
	Event  string          `json:"event"`
	QMP    json.RawMessage `json:"QMP"` // the greeting
}

// request is a line that asks for something.
type request struct {
	Execute   string `json:"execute"`
	Arguments any    `json:"arguments,omitempty"`
}

// qmpCall connects, runs one command and hangs up. QEMU serves one client at a time, so a connection that was kept open
// would lock out another lab that attaches to the guest; a connection costs about a millisecond.
func qmpCall(ctx context.Context, runDir, execute string, arguments any) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, qmpTimeout)
	defer cancel()
	connection, err := dialSocket(ctx, runDir, qmpSocket)
	if err != nil {
		return nil, err
	}
	defer func() { _ = connection.Close() }()
	defer closeWith(ctx, connection)()

	reader := lineReader(connection)
	greeting, err := readMessage(reader)
	if err != nil {
		return nil, ended(ctx, err)
	}
	if greeting.QMP == nil {
		return nil, fmt.Errorf("%s is no QMP socket", qmpSocket)
	}
	if _, err := exchange(connection, reader, request{Execute: "qmp_capabilities"}); err != nil {
		return nil, ended(ctx, err)
	}
	answer, err := exchange(connection, reader, request{Execute: execute, Arguments: arguments})
	return answer, ended(ctx, err)
}

// closeWith closes a connection when the context ends before stop was called, so that reads return.
func closeWith(ctx context.Context, connection net.Conn) (stop func()) {
	stopAfter := context.AfterFunc(ctx, func() { _ = connection.Close() })
	return func() { stopAfter() }
}

// ended prefers the context's error, which is why a read failed on a closed connection.
func ended(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func lineReader(r io.Reader) *bufio.Scanner {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(make([]byte, 0, 4096), maxMessage)
	return scanner
}

// exchange sends one command and returns its answer, passing over events.
func exchange(w io.Writer, reader *bufio.Scanner, asked request) (json.RawMessage, error) {
	line, err := json.Marshal(asked)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", asked.Execute, err)
	}
	if _, err := w.Write(append(line, '\n')); err != nil {
		return nil, err
	}
	for {
		answer, err := readMessage(reader)
		switch {
		case err != nil:
			return nil, err
		case answer.Error != nil:
			return nil, answer.Error
		case answer.Return != nil:
			return answer.Return, nil
		}
	}
}

func readMessage(reader *bufio.Scanner) (message, error) {
	var m message
	if !reader.Scan() {
		if err := reader.Err(); err != nil {
			return m, err
		}
		return m, io.ErrUnexpectedEOF
	}
	if err := json.Unmarshal(reader.Bytes(), &m); err != nil {
		return m, fmt.Errorf("unreadable answer: %w", err)
	}
	return m, nil
}

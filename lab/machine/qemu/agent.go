package qemu

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"gantry/lab/machine"
)

const (
	// agentSyncTimeout is how long an agent may take to answer at all; PVE waits as long.
	agentSyncTimeout = 3 * time.Second
	// agentTimeout bounds one command of the agent where the caller's context does not.
	agentTimeout = 60 * time.Second
)

// agentCall runs one command of the guest agent. It returns machine.ErrNoAgent when nothing in the guest answers and a
// *QMPError when the agent refuses. The other side is the guest: nothing it sends is trusted.
func agentCall(ctx context.Context, runDir, execute string, arguments any) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, agentTimeout)
	defer cancel()
	connection, err := dialSocket(ctx, runDir, agentSocket)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", machine.ErrNoAgent, err)
	}
	defer func() { _ = connection.Close() }()
	defer closeWith(ctx, connection)()

	if err := connection.SetReadDeadline(time.Now().Add(agentSyncTimeout)); err != nil {
		return nil, err
	}
	reader := bufio.NewReader(connection)
	if err := agentSync(connection, reader); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%w: %w", machine.ErrNoAgent, err)
	}
	if err := connection.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	answer, err := exchange(connection, lineReader(reader), request{Execute: execute, Arguments: arguments})
	return answer, ended(ctx, err)
}

// agentSync makes sure that what is read next answers what is sent next: an earlier client may have left half a request or
// an unread answer in the channel. The agent answers guest-sync-delimited with a 0xFF byte and the number it was sent.
func agentSync(w io.Writer, reader *bufio.Reader) error {
	number := rand.Int64N(1 << 53)
	// The leading 0xFF makes the agent's parser drop half a request.
	line := fmt.Appendf([]byte{0xFF}, `{"execute":"guest-sync-delimited","arguments":{"id":%d}}`+"\n", number)
	if _, err := w.Write(line); err != nil {
		return err
	}
	for {
		if err := skipTo(reader, 0xFF); err != nil {
			return err
		}
		reply, err := reader.ReadSlice('\n')
		if err != nil {
			return err
		}
		var answer struct {
			Return int64 `json:"return"`
		}
		if json.Unmarshal(bytes.TrimSpace(reply), &answer) == nil && answer.Return == number {
			return nil
		}
	}
}

// skipTo reads up to and including a byte, without keeping what it passes.
func skipTo(reader *bufio.Reader, delimiter byte) error {
	for passed := 0; passed < maxMessage; passed++ {
		b, err := reader.ReadByte()
		if err != nil {
			return err
		}
		if b == delimiter {
			return nil
		}
	}
	return fmt.Errorf("no answer in %d bytes", maxMessage)
}

package route

import "context"

// Stream is the reply of calls that go on: server-sent events (text/event-stream) until ctx ends or the stream returns. It is no
// envelope. What fails before the stream begins is refused as with other calls.
type Stream func(ctx context.Context, send Send) error

// Send writes one event; name and data must be single lines. It fails when the caller has gone.
type Send func(name string, data []byte) error

package vncproxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"

	"github.com/coder/websocket"

	"gantry/internal/consoleapi"
	"gantry/internal/tlspin"
)

// target is an open connection to a VNC server. One goroutine may read or receive and one write.
type target interface {
	io.ReadWriter
	// receive waits for data without holding a buffer, then hands it to deliver; io.EOF at the end of the stream.
	receive(lender *chunks, deliver func([]byte) error) error
	// ping finds out whether the far end is alive, where the network has a way to ask.
	ping(ctx context.Context) error
	// close ends all calls at once. It may be called more than once.
	close()
}

// grant is what the broker gave for a token.
type grant struct {
	consoleapi.Target
	// stream opens the target where only the broker reaches it.
	stream consoleapi.StreamRequest
}

// dial opens the connection to a target. Errors may name its address or carry its URL: pass them through plainCause.
func (p *Proxy) dial(ctx context.Context, to grant) (target, error) {
	if err := to.Check(); err != nil {
		return nil, err
	}
	if to.Network == consoleapi.NetworkWebSocket {
		return dialWebSocket(ctx, to.Target)
	}
	if to.Network == consoleapi.NetworkBroker {
		conn, err := p.broker.Stream(ctx, to.stream)
		if err != nil {
			return nil, err
		}
		return &webSocketTarget{frameStream: newFrameStream(conn)}, nil
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, to.Network, to.Address)
	if err != nil {
		return nil, err
	}
	socket, err := newSocketTarget(conn)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return socket, nil
}

// maxHeaderBytes bounds what a target's HTTP answer may hold before the websocket begins.
const maxHeaderBytes = 16 << 10

// dialWebSocket opens PVE's vncwebsocket or anything like it, by pveproxy's rules: no compression, no redirects, masked
// unfragmented frames of at most 128 KiB (upChunk).
func dialWebSocket(ctx context.Context, to consoleapi.Target) (target, error) {
	// A transport of its own: the pin differs from target to target, and the connection leaves the pool with the upgrade.
	transport := &http.Transport{MaxResponseHeaderBytes: maxHeaderBytes, ForceAttemptHTTP2: false}
	if !to.TLSPin.IsZero() {
		transport.TLSClientConfig = tlspin.Pinned(to.TLSPin)
	}
	header := http.Header{}
	for name, value := range to.Header {
		header.Set(name, value)
	}
	options := &websocket.DialOptions{
		HTTPClient: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		HTTPHeader:      header,
		CompressionMode: websocket.CompressionDisabled,
	}
	if to.Subprotocol != "" {
		options.Subprotocols = []string{to.Subprotocol}
	}
	conn, answer, err := websocket.Dial(ctx, to.Address, options)
	if err != nil {
		transport.CloseIdleConnections()
		if answer != nil && answer.StatusCode != http.StatusSwitchingProtocols {
			return nil, &statusError{code: answer.StatusCode}
		}
		return nil, err
	}
	return &webSocketTarget{frameStream: newFrameStream(conn)}, nil
}

// statusError is a target's HTTP answer that is no websocket. The reason phrase is left out: PVE's may name hosts.
type statusError struct{ code int }

func (e *statusError) Error() string { return "the target answered " + httpStatus(e.code) }

type webSocketTarget struct{ *frameStream }

func (t *webSocketTarget) ping(ctx context.Context) error { return t.conn.Ping(ctx) }
func (t *webSocketTarget) close()                         { _ = t.conn.CloseNow() } // fails only when it is closed already

// socketTarget is a VNC server on a plain TCP or unix socket.
type socketTarget struct {
	conn net.Conn
	raw  syscall.RawConn
}

func newSocketTarget(conn net.Conn) (*socketTarget, error) {
	plain, ok := conn.(syscall.Conn)
	if !ok {
		return nil, errors.New("target is no socket")
	}
	raw, err := plain.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &socketTarget{conn: conn, raw: raw}, nil
}

func (t *socketTarget) Read(p []byte) (int, error)  { return t.conn.Read(p) }
func (t *socketTarget) Write(p []byte) (int, error) { return t.conn.Write(p) }

// receive reads inside the runtime's readiness callback: a buffer is borrowed only once the socket has something.
func (t *socketTarget) receive(lender *chunks, deliver func([]byte) error) error {
	var buffer *[]byte
	var n int
	var readErr error
	err := t.raw.Read(func(descriptor uintptr) bool {
		buffer = lender.borrow()
		n, readErr = retryInterrupted(func() (int, error) { return syscall.Read(int(descriptor), *buffer) })
		if errors.Is(readErr, syscall.EAGAIN) {
			lender.giveBack(buffer)
			buffer = nil
			return false
		}
		return true
	})
	if buffer == nil {
		return err
	}
	defer lender.giveBack(buffer)
	switch {
	case err != nil:
		return err
	case readErr != nil:
		return readErr
	case n == 0:
		return io.EOF
	}
	return deliver((*buffer)[:n])
}

func retryInterrupted(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, syscall.EINTR) {
			return n, err
		}
	}
}

// ping has no way to ask on a plain socket; TCP keep-alive, which Go turns on, does it.
func (t *socketTarget) ping(context.Context) error { return nil }

func (t *socketTarget) close() { _ = t.conn.Close() } // fails only when it is closed already

package libvirt

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"

	"gantry/server/broker"
)

// rpc is libvirt's remote procedure call protocol on one connection.
type rpc = golibvirt.Libvirt

const (
	connectPatience = 20 * time.Second
	// pingInterval and pingPatience find a peer that went away without a word: pending calls end with it.
	pingInterval = 10 * time.Second
	pingPatience = 15 * time.Second
	// parallelCalls is below libvirtd's max_client_requests (5 by default), so that a ping never waits for its turn.
	parallelCalls = 4
	// parallelTransfers is how many long calls run at once, each on a connection of its own.
	parallelTransfers = 4
	firstPause        = 100 * time.Millisecond
	longestPause      = 5 * time.Second
)

// client keeps one connection for short calls and makes others for long ones. Its calls are bounded by their context: go-libvirt's
// are not, so each runs in a goroutine that ends with its answer or with the connection, which the ping closes when it is dead.
type client struct {
	transport transport
	transfers chan struct{}

	mu         sync.Mutex
	current    *session
	connecting chan struct{} // closed when the attempt under way has ended
	failed     error         // of the last attempt
	notBefore  time.Time
	pause      time.Duration
	closed     bool
	life       context.Context
	end        context.CancelFunc
}

func newClient(transport transport) *client {
	c := &client{transport: transport, transfers: make(chan struct{}, parallelTransfers)}
	c.life, c.end = context.WithCancel(context.Background())
	return c
}

// session is one connection.
type session struct {
	rpc   *rpc
	conn  *frameConn
	calls chan struct{}
}

func (s *session) dead() bool {
	select {
	case <-s.conn.gone:
		return true
	default:
		return false
	}
}

// dialed lets go-libvirt use a connection that is there already.
type dialed struct{ net.Conn }

func (d dialed) Dial() (net.Conn, error) { return d.Conn, nil }

// open makes a connection. go-libvirt's handshake knows no context: closing the connection ends it.
func (c *client) open(ctx context.Context) (*session, error) {
	raw, err := c.transport.dial(ctx)
	if err != nil {
		return nil, err
	}
	conn := newFrameConn(raw)
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	made := golibvirt.NewWithDialer(dialed{conn})
	if err := made.ConnectToURI(golibvirt.QEMUSystem); err != nil {
		_ = conn.Close()
		return nil, refusedConnect(err)
	}
	// One call orders go-libvirt's own bookkeeping of the new connection before anything that may end it.
	if _, err := made.ConnectGetLibVersion(); err != nil {
		_ = conn.Close()
		return nil, refusedConnect(err)
	}
	if ctx.Err() != nil {
		_ = conn.Close()
		return nil, ctx.Err()
	}
	return &session{rpc: made, conn: conn, calls: make(chan struct{}, parallelCalls)}, nil
}

// session gives the connection for short calls and makes it when there is none: one attempt at a time, with growing pauses after
// failures. Nothing was sent when it fails.
func (c *client) session(ctx context.Context) (*session, error) {
	for {
		c.mu.Lock()
		switch {
		case c.closed:
			c.mu.Unlock()
			return nil, broker.Errorf(broker.Unreachable, "the connection was closed")
		case c.current != nil && !c.current.dead():
			current := c.current
			c.mu.Unlock()
			return current, nil
		case c.connecting == nil && time.Now().Before(c.notBefore):
			failed := c.failed
			c.mu.Unlock()
			return nil, failed
		case c.connecting == nil:
			c.connecting = make(chan struct{})
			go c.connect(c.connecting)
		}
		attempt := c.connecting
		c.mu.Unlock()
		select {
		case <-attempt:
		case <-ctx.Done():
			return nil, &broker.Error{Kind: broker.Unreachable, Detail: "the hypervisor did not answer in time", Err: ctx.Err()}
		}
		c.mu.Lock()
		current, failed := c.current, c.failed
		c.mu.Unlock()
		if failed != nil {
			return nil, failed
		}
		if current != nil && !current.dead() {
			return current, nil
		}
	}
}

func (c *client) connect(attempt chan struct{}) {
	ctx, cancel := context.WithTimeout(c.life, connectPatience)
	defer cancel()
	made, err := c.open(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(attempt)
	c.connecting, c.failed = nil, nil
	if err != nil {
		c.pause = min(max(2*c.pause, firstPause), longestPause)
		c.notBefore = time.Now().Add(c.pause)
		c.failed = unreachable(err)
		return
	}
	if c.closed {
		_ = made.conn.Close()
		return
	}
	c.pause, c.current = 0, made
	go c.watch(made)
}

// watch pings until the connection ends.
func (c *client) watch(s *session) {
	ticker := time.NewTicker(pingInterval)
	defer ticker.Stop()
	for {
		select {
		case <-s.conn.gone:
			return
		case <-ticker.C:
		}
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			_, _ = s.rpc.ConnectGetLibVersion() // any answer will do
		}()
		timer := time.NewTimer(pingPatience)
		select {
		case <-answered:
			timer.Stop()
		case <-timer.C:
			_ = s.conn.Close()
			return
		}
	}
}

// forgive ends the pause after a failure: what made it fail has changed.
func (c *client) forgive() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notBefore, c.pause = time.Time{}, 0
}

// steady tells whether the connection for short calls stands.
func (c *client) steady() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current != nil && !c.current.dead()
}

func (c *client) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.end()
	if c.current != nil {
		_ = c.current.conn.Close()
	}
	c.transport.close()
}

// read makes a call that changes nothing. One whose connection had died before, say because libvirtd was restarted, is repeated once.
func read[T any](ctx context.Context, c *client, call func(*rpc) (T, error)) (T, error) {
	for again := true; ; again = false {
		s, err := c.session(ctx)
		if err != nil {
			var none T
			return none, err
		}
		answer, err := do(ctx, s, false, call)
		if again && broker.Is(err, broker.Unreachable) && s.dead() && ctx.Err() == nil {
			continue
		}
		return answer, err
	}
}

// change makes a call that changes something; it is never repeated.
func change(ctx context.Context, c *client, call func(*rpc) error) error {
	_, err := ask(ctx, c, func(l *rpc) (struct{}, error) { return struct{}{}, call(l) })
	return err
}

// ask is change for calls that answer with something.
func ask[T any](ctx context.Context, c *client, call func(*rpc) (T, error)) (T, error) {
	s, err := c.session(ctx)
	if err != nil {
		var none T
		return none, err
	}
	return do(ctx, s, true, call)
}

func do[T any](ctx context.Context, s *session, changing bool, call func(*rpc) (T, error)) (T, error) {
	var none T
	select {
	case s.calls <- struct{}{}:
	case <-ctx.Done():
		return none, &broker.Error{Kind: broker.Unreachable, Detail: "the hypervisor did not answer in time", Err: ctx.Err()}
	}
	type result struct {
		value T
		err   error
	}
	answered := make(chan result, 1)
	go func() {
		defer func() { <-s.calls }()
		value, err := call(s.rpc)
		answered <- result{value, err}
	}()
	select {
	case got := <-answered:
		return got.value, failure(got.err, changing)
	case <-ctx.Done():
		return none, lost(ctx.Err(), changing)
	}
}

// transfer makes a long call on a connection of its own, so that it takes no turn from short ones. When ctx ends, the connection is
// closed: libvirtd gives up what it can (streams), and finishes what it can't (copies of volumes).
func (c *client) transfer(ctx context.Context, call func(*rpc) error) error {
	select {
	case c.transfers <- struct{}{}:
	case <-ctx.Done():
		return lost(ctx.Err(), false)
	}
	defer func() { <-c.transfers }()
	s, err := c.open(ctx)
	if err != nil {
		return unreachable(err)
	}
	defer s.conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = s.conn.Close() })
	defer stop()
	_, err = do(ctx, s, true, func(l *rpc) (struct{}, error) { return struct{}{}, call(l) })
	return err
}

var errNotLibvirt = errors.New("the peer does not speak libvirt's protocol")

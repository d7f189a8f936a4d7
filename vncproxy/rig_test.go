package vncproxy_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"gantry/internal/consoleapi"
	"gantry/server/console"
	"gantry/server/console/consoletest"
	"gantry/vncproxy"
	"gantry/vncproxy/rfb"
	"gantry/vncproxy/vnctest"
)

const secret = "proxy secret"

// rig is a proxy with a broker behind it and a PVE node behind that, each on loopback.
type rig struct {
	pve     *vnctest.PVE
	screen  *vnctest.Screen
	service *console.Service
	proxy   *vncproxy.Proxy
	url     string // of the proxy
	log     *logBuffer
	stop    context.CancelFunc
	stopped chan error

	mu       sync.Mutex
	override func() (consoleapi.Target, error)
	offline  bool
	ahead    time.Duration // how far the broker's clock is ahead
}

// newRig starts everything; configure may be nil.
func newRig(t *testing.T, configure func(*vncproxy.Config)) *rig {
	t.Helper()
	r := &rig{screen: &vnctest.Screen{Password: "PVEVNC:6"}, log: &logBuffer{}, stopped: make(chan error, 1)}
	r.pve = vnctest.NewPVE(r.screen)
	t.Cleanup(r.pve.Close)
	logger := slog.New(slog.NewJSONHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r.service = console.New(console.Config{}, consoletest.NewMemoryStore(), r, r.now)
	api := consoleapi.Handler(r.service, consoleapi.OneSecret("test", secret), logger)
	broker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if r.isOffline() { // the worst way: the request is carried out, the answer is lost
			api.ServeHTTP(httptest.NewRecorder(), request)
			panic(http.ErrAbortHandler)
		}
		api.ServeHTTP(w, request)
	}))
	t.Cleanup(broker.Close)

	config := vncproxy.DefaultConfig()
	config.Server, config.Secret, config.Logger = broker.URL, secret, logger
	config.ConnectTimeout = 5 * time.Second
	if configure != nil {
		configure(&config)
	}
	client, err := vncproxy.BrokerClient(config)
	if err != nil {
		t.Fatal(err)
	}
	if r.proxy, err = vncproxy.New(config, client); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.url = "http://" + listener.Addr().String()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	r.stop = stop
	go func() { r.stopped <- r.proxy.Serve(ctx, listener) }()
	t.Cleanup(func() {
		stop()
		select {
		case err := <-r.stopped:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(30 * time.Second):
			t.Error("Serve does not return")
		}
	})
	return r
}

func (r *rig) now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Add(r.ahead)
}

func (r *rig) isOffline() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.offline
}

func (r *rig) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

// ConsoleTarget makes the rig a console.TargetSource.
func (r *rig) ConsoleTarget(context.Context, int64) (consoleapi.Target, error) {
	r.mu.Lock()
	override := r.override
	r.mu.Unlock()
	if override != nil {
		return override()
	}
	return r.pve.Target(), nil
}

// ConsoleStream shows the rig's screen through the broker.
func (r *rig) ConsoleStream(context.Context, int64) (net.Conn, error) {
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		_ = r.screen.Serve(far) // the viewer went away
	}()
	return near, nil
}

// instead makes the broker give another target.
func (r *rig) instead(target consoleapi.Target) {
	r.set(func() { r.override = func() (consoleapi.Target, error) { return target, nil } })
}

func (r *rig) issue(t *testing.T, vm int64) string {
	t.Helper()
	link, err := r.service.Issue(t.Context(), console.IssueRequest{VMID: vm, ProxyURL: r.url})
	if err != nil {
		t.Fatal(err)
	}
	_, token, _ := strings.Cut(link.URL, "#token=")
	return token
}

// browser is a client with a cookie jar.
type browser struct {
	rig    *rig
	client *http.Client
	header http.Header
}

func (r *rig) browser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{rig: r, client: &http.Client{Jar: jar}, header: http.Header{"Origin": {r.url}}}
}

// dial opens the websocket, whatever the proxy says on it then.
func (b *browser) dial(t *testing.T, token string) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, b.rig.url+"/console/ws?token="+url.QueryEscape(token), &websocket.DialOptions{
		HTTPClient: b.client, HTTPHeader: b.header, Subprotocols: []string{"binary"},
	})
	if err != nil {
		t.Fatalf("open websocket: %v", err)
	}
	conn.SetReadLimit(-1)
	t.Cleanup(func() { conn.CloseNow() })
	return conn
}

// open opens a console up to ClientInit.
func (b *browser) open(t *testing.T, token string) (*websocket.Conn, net.Conn) {
	t.Helper()
	conn := b.dial(t, token)
	stream := websocket.NetConn(context.WithoutCancel(t.Context()), conn, websocket.MessageBinary)
	if err := stream.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := rfb.Connect(stream, ""); err != nil {
		t.Fatalf("RFB opening: %v", err)
	}
	if _, err := stream.Write([]byte{1}); err != nil {
		t.Fatalf("ClientInit: %v", err)
	}
	return conn, stream
}

// readClose reads until the proxy closes and gives the code and text.
func readClose(t *testing.T, conn *websocket.Conn) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		_, message, err := conn.Reader(ctx)
		if err == nil {
			_, err = io.Copy(io.Discard, message)
		}
		var closed websocket.CloseError
		if errors.As(err, &closed) {
			return int(closed.Code), closed.Reason
		}
		if err != nil {
			t.Fatalf("connection ended without a close frame: %v", err)
		}
	}
}

func expectClose(t *testing.T, conn *websocket.Conn, want consoleapi.Reason) {
	t.Helper()
	if code, text := readClose(t, conn); code != want.CloseCode() {
		t.Errorf("closed with %d %q, want %d (%s)", code, text, want.CloseCode(), want)
	}
}

// readServerInit reads RFB's ServerInit and gives the screen's size.
func readServerInit(t *testing.T, stream io.Reader) (width, height int) {
	t.Helper()
	var head [24]byte
	if _, err := io.ReadFull(stream, head[:]); err != nil {
		t.Fatalf("ServerInit: %v", err)
	}
	name := make([]byte, int(head[23]))
	if _, err := io.ReadFull(stream, name); err != nil {
		t.Fatalf("ServerInit: %v", err)
	}
	return int(head[0])<<8 | int(head[1]), int(head[2])<<8 | int(head[3])
}

// eventually polls until the condition holds; it fails the test after a generous deadline.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(20 * time.Second)
	for !condition() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("never happened: %s", what)
		}
	}
}

// logBuffer keeps what was logged.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

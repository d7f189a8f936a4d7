// Package vncproxy is the console proxy: browsers open a websocket here with a one-time token, the broker says where the
// screen of that virtual machine is, and the proxy opens it there, answers for the VNC password, and moves bytes.
//
// Addresses and credentials of hypervisors stay on this side: they reach neither the browser nor the log.
package vncproxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/coder/websocket"

	"gantry/internal/consoleapi"
	"gantry/internal/tlspin"
)

// Proxy serves consoles. Make it with New, then Serve.
type Proxy struct {
	config   Config
	log      *slog.Logger
	broker   Broker
	origins  []string
	trusted  []netip.Prefix
	secure   bool // cookies travel by TLS only
	sessions *registry
	metrics  *metrics
	down, up *chunks
	page     http.Handler

	// stopping ends, with its cause, what is still opening when the proxy stops.
	stopping context.Context
	stop     context.CancelCauseFunc
}

// Broker is what a proxy asks; *consoleapi.Client is it. Refusals are *consoleapi.Refusal.
type Broker interface {
	Redeem(ctx context.Context, request consoleapi.RedeemRequest) (consoleapi.RedeemReply, error)
	Check(ctx context.Context, sessions []string) ([]consoleapi.Ended, error)
	// Stream opens a screen that only the broker reaches.
	Stream(ctx context.Context, request consoleapi.StreamRequest) (*websocket.Conn, error)
}

// New checks the configuration and makes a proxy that asks broker: a consoleapi.Client, or anything else in tests. It opens
// nothing yet. Of the configuration's addresses, TLS files and Server only Run makes use.
func New(config Config, broker Broker) (*Proxy, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("console proxy configuration: %w", err)
	}
	p := &Proxy{
		config:   config,
		log:      config.Logger,
		broker:   broker,
		origins:  origins(config),
		sessions: newRegistry(config),
		down:     newChunks(downChunk),
		up:       newChunks(upChunk),
	}
	if p.log == nil {
		p.log = slog.Default()
	}
	for _, text := range config.TrustedProxies {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("trusted_proxies: %w", err)
		}
		p.trusted = append(p.trusted, network.Masked())
	}
	p.secure = hasScheme(config.PublicURL, "https")
	p.metrics = newMetrics(p.sessions)
	p.page = p.newPage()
	p.stopping, p.stop = context.WithCancelCause(context.Background())
	return p, nil
}

// BrokerClient makes the client for the configuration's Server, Secret and ServerPin.
func BrokerClient(config Config) (*consoleapi.Client, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true}
	if config.ServerPin != "" {
		pin, err := tlspin.Parse(config.ServerPin)
		if err != nil {
			return nil, fmt.Errorf("server_pin: %w", err)
		}
		transport.TLSClientConfig = tlspin.Pinned(pin)
	}
	return consoleapi.NewClient(config.Server, config.Secret, &http.Client{Transport: transport, Timeout: config.RedeemTimeout}), nil
}

// Handler serves the page, the websocket and /healthz. Consoles opened through it end with Serve's ctx or Close.
func (p *Proxy) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", p.health)
	mux.HandleFunc("GET /console/ws", p.open)
	mux.Handle("GET /console/", http.StripPrefix("/console/", p.page))
	mux.Handle("GET /console", http.RedirectHandler("/console/", http.StatusMovedPermanently))
	return mux
}

func (p *Proxy) health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if p.stopping.Err() != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, `{"status":"stopping"}`)
		return
	}
	fmt.Fprintf(w, "{\"status\":\"ok\",\"sessions\":%d}\n", p.sessions.count())
}

// Serve answers on the listener until ctx ends, then tells the open consoles why they close and returns when they have, after
// ShutdownTimeout at the latest. It can be called once.
func (p *Proxy) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           p.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}
	background, stopBackground := context.WithCancel(ctx)
	defer stopBackground()
	go p.sweep(background)
	go p.check(background)

	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		p.Close()
		return fmt.Errorf("serve consoles: %w", err)
	case <-ctx.Done():
	}
	p.Close()
	// The websockets are not the HTTP server's any more; what it still has are pages and assets.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.config.ShutdownTimeout)
	defer cancel()
	if err := server.Shutdown(last); err != nil {
		return errors.Join(fmt.Errorf("stop serving consoles: %w", err), server.Close())
	}
	return nil
}

// errStopping is the cause with which the proxy's own context ends.
var errStopping = errors.New("the console proxy stops")

// Close ends all consoles with ReasonShuttingDown, refuses new ones, and waits for their goodbyes, for ShutdownTimeout at most.
func (p *Proxy) Close() {
	open := p.sessions.close()
	p.stop(errStopping)
	for _, s := range open {
		s.end(consoleapi.Refuse(consoleapi.ReasonShuttingDown))
	}
	still := make(chan struct{})
	go func() {
		p.sessions.ended.Wait()
		close(still)
	}()
	timeout := time.NewTimer(p.config.ShutdownTimeout)
	defer timeout.Stop()
	select {
	case <-still:
	case <-timeout.C:
		for _, s := range open {
			_ = s.browser.conn.CloseNow() // fails only when it is closed already
		}
	}
}

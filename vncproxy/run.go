package vncproxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"gantry/internal/tlspin"
)

// Run serves consoles as configured until ctx ends; then it closes them and returns nil. It fails at once where a file, an
// address or a setting can't be used.
func Run(ctx context.Context, config Config) error {
	if err := config.Validate(); err != nil {
		return fmt.Errorf("console proxy configuration: %w", err)
	}
	broker, err := BrokerClient(config)
	if err != nil {
		return err
	}
	proxy, err := New(config, broker)
	if err != nil {
		return err
	}
	security, err := serverTLS(config)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", config.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if config.MetricsListen != "" {
		stop, err := proxy.serveMetrics()
		if err != nil {
			return errors.Join(err, listener.Close())
		}
		defer stop()
	}
	proxy.log.Info("console proxy ready", "address", listener.Addr().String(), "tls", security != nil)
	if security != nil {
		listener = tls.NewListener(listener, security)
	} else if !isLoopback(listener.Addr()) {
		proxy.log.Warn("consoles are served without TLS on a public address: put a TLS-terminating server in front or configure a certificate")
	}
	return proxy.Serve(ctx, listener)
}

// serverTLS is nil for plain HTTP. Websockets need HTTP/1.1, so nothing newer is offered.
func serverTLS(config Config) (*tls.Config, error) {
	var certificate tls.Certificate
	var err error
	switch {
	case config.TLSCertificate != "":
		if certificate, err = tls.LoadX509KeyPair(config.TLSCertificate, config.TLSKey); err != nil {
			return nil, fmt.Errorf("tls_certificate: %w", err)
		}
	case config.TLSSelfSigned:
		if err = os.MkdirAll(config.DataDir, 0o700); err != nil {
			return nil, fmt.Errorf("data_dir: %w", err)
		}
		if certificate, _, err = tlspin.Certificate(config.DataDir); err != nil {
			return nil, fmt.Errorf("tls_self_signed: %w", err)
		}
	default:
		return nil, nil
	}
	return &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}, nil
}

// serveMetrics answers /metrics on its own listener until the returned function is called.
func (p *Proxy) serveMetrics() (stop func(), err error) {
	listener, err := net.Listen("tcp", p.config.MetricsListen)
	if err != nil {
		return nil, fmt.Errorf("metrics_listen: %w", err)
	}
	server := &http.Server{Handler: p.Metrics(), ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: maxHeaderBytes}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			p.log.Error("metrics are not served any more", "error", err)
		}
	}()
	return func() { _ = server.Close() }, nil // closing a listener at the end has nothing left to report
}

func isLoopback(address net.Addr) bool {
	tcp, ok := address.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

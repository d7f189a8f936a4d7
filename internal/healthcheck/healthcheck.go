// Package healthcheck asks a program on this machine whether it is well, for containers without a shell or curl.
package healthcheck

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"gantry/internal/tlspin"
)

// timeout bounds a probe; Docker's own default is 30 s.
const timeout = 5 * time.Second

// Target is what to ask.
type Target struct {
	// Listen is the program's "address:port" as configured.
	Listen string
	// Path is answered with 200 when all is well: /healthz or /readyz.
	Path string
	// TLS is nil for plain HTTP.
	TLS *tls.Config
}

// Security gives a client configuration that accepts exactly the certificate that the program serves: that of the PEM
// files, or the self-signed one of the data folder. It is nil for plain HTTP.
func Security(certificate, key string, selfSigned bool, dataDir string) (*tls.Config, error) {
	switch {
	case certificate != "":
		pair, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			return nil, fmt.Errorf("load certificate: %w", err)
		}
		return tlspin.Pinned(tlspin.Of(pair.Leaf)), nil
	case selfSigned:
		_, pin, err := tlspin.Certificate(dataDir)
		if err != nil {
			return nil, err
		}
		return tlspin.Pinned(pin), nil
	}
	return nil, nil
}

// Probe is nil when the program answers 200 within five seconds.
func Probe(ctx context.Context, target Target) error {
	address, err := dialAddress(target.Listen)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	scheme := "http"
	if target.TLS != nil {
		scheme = "https"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+target.Path, nil)
	if err != nil {
		return fmt.Errorf("health check: %w", err)
	}
	// A proxy of the environment would answer for itself.
	transport := &http.Transport{TLSClientConfig: target.TLS, DisableKeepAlives: true}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("health check: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		detail, _ := io.ReadAll(io.LimitReader(response.Body, 300)) // only adds to the error
		return fmt.Errorf("health check: %s answered %s: %q", request.URL, response.Status, detail)
	}
	return nil
}

// dialAddress is where a listener of this machine is reached.
func dialAddress(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("health check: %w", err)
	}
	if port == "0" {
		return "", errors.New("health check: the port is chosen at start, so it can't be asked: set listen")
	}
	switch ip := net.ParseIP(host); {
	case host == "" || ip.Equal(net.IPv4zero):
		host = "127.0.0.1"
	case ip.Equal(net.IPv6unspecified):
		host = "::1"
	}
	return net.JoinHostPort(host, port), nil
}

// Package controlledclient is how the server talks to a node's "gantry controlled", and holds what both say to each other.
package controlledclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"gantry/internal/tlspin"
)

const (
	connectTimeout = 10 * time.Second
	callTimeout    = 30 * time.Second
	// commandTimeout is for calls that wait for qm: the daemon ends them after five minutes at most.
	commandTimeout = 5*time.Minute + 30*time.Second
	maxReply       = 8 << 20 // a readFile of 1 MiB in JSON's worst escaping
)

// Client calls one daemon. It is safe for concurrent use, keeps connections open, never repeats a call by itself, and bounds every
// call in time, be the context bounded or not. All errors are *Error.
type Client struct {
	base   string
	secret string
	http   *http.Client
}

// New makes a client of the daemon at baseURL ("https://address:port"), which must show the pinned certificate.
func New(baseURL, secret string, pin tlspin.Pin) (*Client, error) {
	parsed, err := url.Parse(baseURL)
	if err != nil || parsed.Scheme != "https" || parsed.Host == "" || strings.Trim(parsed.Path, "/") != "" || parsed.RawQuery != "" || parsed.User != nil {
		return nil, fmt.Errorf("controlled: base URL must be https://address:port, not %q", baseURL)
	}
	if secret == "" {
		return nil, errors.New("controlled: the node's secret is missing")
	}
	dialer := &net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second}
	return &Client{
		base:   "https://" + parsed.Host,
		secret: secret,
		http: &http.Client{
			Transport: &http.Transport{
				DialContext:            dialer.DialContext,
				TLSClientConfig:        tlspin.Pinned(pin),
				TLSHandshakeTimeout:    connectTimeout,
				IdleConnTimeout:        90 * time.Second,
				MaxIdleConnsPerHost:    4,
				MaxResponseHeaderBytes: 64 << 10,
			},
			// The daemon never redirects; somebody who does must not get the secret.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// call sends one request and decodes the envelope's data into reply.
func (c *Client) call(ctx context.Context, limit time.Duration, method, path string, query url.Values, body, reply any) (Envelope[json.RawMessage], error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var envelope Envelope[json.RawMessage]
	name := method + " " + path
	request, sent, err := c.request(ctx, method, path, query, body)
	if err != nil {
		return envelope, &Error{Kind: KindUnreachable, Call: name, Err: err}
	}
	response, err := c.http.Do(request)
	if err != nil {
		return envelope, &Error{Kind: transportKind(err, sent.Load()), Call: name, Err: err}
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, maxReply+1))
	if err != nil {
		return envelope, &Error{Kind: KindUnknown, Call: name, Err: fmt.Errorf("read reply: %w", err)}
	}
	if len(content) > maxReply || json.Unmarshal(content, &envelope) != nil || envelope.Code == 0 {
		return envelope, &Error{Kind: KindUnknown, Call: name, Err: fmt.Errorf("HTTP %d without a readable envelope", response.StatusCode)}
	}
	if envelope.Code != CodeSuccess {
		return envelope, refusal(name, envelope)
	}
	if reply == nil {
		return envelope, nil
	}
	if err := json.Unmarshal(envelope.Data, reply); err != nil {
		return envelope, &Error{Kind: KindUnknown, Call: name, Err: fmt.Errorf("read reply's data: %w", err)}
	}
	return envelope, nil
}

// request also returns a flag that is set once any byte of the request may have left.
func (c *Client) request(ctx context.Context, method, path string, query url.Values, body any) (*http.Request, *atomic.Bool, error) {
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { sent.Store(true) },
	})
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, nil, err
		}
		content = bytes.NewReader(encoded)
	}
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, method, target, content)
	if err != nil {
		return nil, nil, err
	}
	request.Header.Set("Authorization", c.secret)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	return request, &sent, nil
}

func transportKind(err error, sent bool) Kind {
	var mismatch *tlspin.MismatchError
	switch {
	case errors.As(err, &mismatch):
		return KindUntrusted
	case sent:
		return KindUnknown
	}
	return KindUnreachable
}

func refusal(call string, envelope Envelope[json.RawMessage]) *Error {
	failure := &Error{Kind: KindRefused, Call: call, Message: envelope.Message}
	switch envelope.Code {
	case CodeUnauthorized:
		failure.Kind = KindAuth
	case CodeNotFound:
		failure.Kind = KindNotFound
	}
	var detail Refusal
	if json.Unmarshal(envelope.Data, &detail) == nil {
		failure.Reason, failure.Field = detail.Reason, detail.Field
	}
	return failure
}

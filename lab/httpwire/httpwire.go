// Package httpwire speaks HTTP/1.1 as pveproxy does. Go's own server cannot: Proxmox VE puts its error text into the status line's
// reason phrase, closes the connection after every error, and answers plain HTTP on the TLS port.
package httpwire

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Response is one answer.
type Response struct {
	Status      int
	Reason      string
	ContentType string // left out when empty
	Body        []byte
	Header      [][2]string
	// Drop cuts the connection without an answer.
	Drop bool
	// Hijack takes the connection over after the answer was sent (status 101).
	Hijack func(conn net.Conn, buffered *bufio.Reader)
}

// Handler answers a request. Its context ends when the server closes or the client has gone while the handler waits on gone.
type Handler func(ctx context.Context, request *http.Request) *Response

// Server accepts connections on one listener.
type Server struct {
	Handler   Handler
	TLS       *tls.Config
	KeepAlive time.Duration // how long an idle connection is kept; pveproxy: 5 s
	Now       func() time.Time
	Logger    *slog.Logger
	// Host is the address that redirects point to.
	Host string

	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
	wait   sync.WaitGroup
	ctx    context.Context
	cancel context.CancelFunc
}

// Serve accepts until the listener is closed.
func (s *Server) Serve(listener net.Listener) {
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.conns = map[net.Conn]bool{}
	s.wait.Add(1)
	go func() {
		defer s.wait.Done()
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if !s.track(conn) {
				_ = conn.Close()
				return
			}
			go s.connection(conn)
		}
	}()
}

func (s *Server) track(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[conn] = true
	s.wait.Add(1)
	return true
}

// Close ends all connections and waits for their handlers.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	for conn := range s.conns {
		_ = conn.Close()
	}
	s.mu.Unlock()
	s.cancel()
	s.wait.Wait()
}

func (s *Server) connection(conn net.Conn) {
	defer func() {
		_ = conn.Close()
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
		s.wait.Done()
	}()
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	peek := bufio.NewReader(conn)
	first, err := peek.Peek(1)
	if err != nil {
		return
	}
	if first[0] != 0x16 { // no TLS handshake
		s.redirect(conn, peek)
		return
	}
	secure := tls.Server(&bufferedConn{Conn: conn, reader: peek}, s.TLS)
	if err := secure.HandshakeContext(s.ctx); err != nil {
		return
	}
	s.requests(secure)
}

type bufferedConn struct {
	net.Conn
	reader *bufio.Reader
}

func (c *bufferedConn) Read(buffer []byte) (int, error) { return c.reader.Read(buffer) }

func (s *Server) redirect(conn net.Conn, reader *bufio.Reader) {
	request, err := http.ReadRequest(reader)
	if err != nil {
		return
	}
	host := request.Host
	if host == "" {
		host = s.Host
	}
	s.write(conn, request, &Response{Status: 301, Reason: "Moved Permanently", Body: []byte("Moved Permanently"),
		Header: [][2]string{{"Location", "https://" + host + request.URL.RequestURI()}}})
}

// requests reads and answers requests one after another.
func (s *Server) requests(conn net.Conn) {
	reader := bufio.NewReaderSize(conn, 16<<10)
	wait := 30 * time.Second
	for {
		_ = conn.SetReadDeadline(time.Now().Add(wait))
		request, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Minute))
		response := s.answer(conn, reader, request)
		if response == nil || response.Drop {
			return
		}
		if !s.write(conn, request, response) {
			return
		}
		if response.Status >= 400 {
			linger(conn, request)
			return
		}
		if response.Hijack != nil {
			_ = conn.SetDeadline(time.Time{})
			response.Hijack(conn, reader)
			return
		}
		if request.Close {
			return
		}
		_, _ = io.Copy(io.Discard, request.Body)
		wait = s.KeepAlive
	}
}

// linger takes what the client is still sending, within bounds: closing at once would reset the connection and lose the answer.
func linger(conn net.Conn, request *http.Request) {
	_ = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	_, _ = io.Copy(io.Discard, io.LimitReader(request.Body, 8<<20))
}

// maxBody is pveproxy's limit for parameters; uploads (multipart) have none.
const maxBody = 512 << 10

var errTooLarge = errors.New("for data too large")

func (s *Server) answer(conn net.Conn, reader *bufio.Reader, request *http.Request) *Response {
	switch request.Method {
	case "GET", "POST", "PUT", "DELETE":
	default:
		return &Response{Status: 501, Reason: fmt.Sprintf("method '%s' not available", request.Method)}
	}
	if len(request.TransferEncoding) > 0 {
		return plain(501, "chunked transfer encoding not supported")
	}
	multipart := strings.HasPrefix(request.Header.Get("Content-Type"), "multipart/form-data")
	if request.ContentLength > 0 && (request.Method == "GET" || request.Method == "DELETE") {
		return plain(501, fmt.Sprintf("Unexpected content for method '%s'", request.Method))
	}
	if request.ContentLength > maxBody && !multipart {
		return plain(501, errTooLarge.Error())
	}
	if !multipart && request.ContentLength > 0 {
		body, err := io.ReadAll(io.LimitReader(request.Body, maxBody))
		if err != nil {
			return nil
		}
		request.Body = io.NopCloser(bytes.NewReader(body))
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	if !multipart {
		stop := s.watch(conn, reader, cancel)
		defer stop()
	}
	return s.Handler(ctx, request.WithContext(ctx))
}

// watch cancels the request's context when the client closes the connection. A byte that arrives early stays in the reader.
func (s *Server) watch(conn net.Conn, reader *bufio.Reader, cancel context.CancelFunc) (stop func()) {
	if reader.Buffered() > 0 {
		return func() {}
	}
	done := make(chan struct{})
	var stopping sync.Mutex
	stopped := false
	go func() {
		defer close(done)
		_, err := reader.Peek(1)
		stopping.Lock()
		defer stopping.Unlock()
		if err != nil && !stopped {
			cancel()
		}
	}()
	return func() {
		stopping.Lock()
		stopped = true
		stopping.Unlock()
		_ = conn.SetReadDeadline(time.Unix(1, 0))
		<-done
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Minute))
	}
}

func plain(status int, text string) *Response {
	return &Response{Status: status, Reason: text, ContentType: "text/plain", Body: []byte(text)}
}

// gzipFrom is the size from which pveproxy compresses for clients that ask.
const gzipFrom = 1024

func (s *Server) write(conn net.Conn, request *http.Request, response *Response) bool {
	body := response.Body
	encoding := ""
	if len(body) > gzipFrom && response.Status == 200 && strings.Contains(request.Header.Get("Accept-Encoding"), "gzip") {
		var packed bytes.Buffer
		writer, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
		if err == nil {
			_, _ = writer.Write(body)
			if writer.Close() == nil {
				body, encoding = packed.Bytes(), "gzip"
			}
		}
	}
	now := s.Now().UTC().Format(http.TimeFormat)
	out := make([]byte, 0, 512+len(body))
	out = append(out, "HTTP/1.1 "+strconv.Itoa(response.Status)+" "+response.Reason+"\r\n"...)
	field := func(name, value string) { out = append(out, name+": "+value+"\r\n"...) }
	if response.Status == 101 {
		for _, pair := range response.Header {
			field(pair[0], pair[1])
		}
		out = append(out, "\r\n"...)
		_, err := conn.Write(out)
		return err == nil
	}
	field("Cache-Control", "max-age=0")
	if response.Status >= 400 {
		field("Connection", "close")
	} else {
		field("Connection", "Keep-Alive")
	}
	field("Date", now)
	field("Pragma", "no-cache")
	for _, pair := range response.Header {
		field(pair[0], pair[1])
	}
	field("Server", "pve-api-daemon/3.0")
	if encoding != "" {
		field("Content-Encoding", encoding)
	}
	field("Content-Length", strconv.Itoa(len(body)))
	if response.ContentType != "" {
		field("Content-Type", response.ContentType)
	}
	field("Expires", now)
	out = append(append(out, "\r\n"...), body...)
	_ = conn.SetWriteDeadline(time.Now().Add(time.Minute))
	_, err := conn.Write(out)
	return err == nil
}

package vncproxy

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
)

// Buffers of a browser's websocket. Frame headers and keys fit; pixels bypass them. net/http's own would hold 8 KiB a console.
const (
	browserReadBuffer  = 512
	browserWriteBuffer = 256
)

// slimHijacker hands a hijacked connection on with small buffers instead of the HTTP server's.
type slimHijacker struct{ http.ResponseWriter }

// Hijack is what websocket.Accept calls.
func (s slimHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, large, err := http.NewResponseController(s.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if err := large.Writer.Flush(); err != nil {
		return nil, nil, err
	}
	early, err := large.Reader.Peek(large.Reader.Buffered())
	if err != nil {
		return nil, nil, err
	}
	reader := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(bytes.Clone(early)), conn), max(browserReadBuffer, len(early)))
	if _, err := reader.Peek(len(early)); err != nil { // Accept keeps only what is buffered
		return nil, nil, err
	}
	return conn, bufio.NewReadWriter(reader, bufio.NewWriterSize(conn, browserWriteBuffer)), nil
}

package vncproxy

import (
	"context"
	"errors"
	"io"

	"github.com/coder/websocket"
)

// errTextFrame says that a peer sent a text message where RFB's bytes were due.
var errTextFrame = errors.New("text message on an RFB websocket")

// frameStream is a websocket as a stream of bytes: message borders mean nothing to RFB. One goroutine may read and one write.
type frameStream struct {
	conn *websocket.Conn
	rest io.Reader // what is left of the message being read
}

// newFrameStream takes any length of message, as it is never held whole.
func newFrameStream(conn *websocket.Conn) *frameStream {
	conn.SetReadLimit(-1)
	return &frameStream{conn: conn}
}

// Read takes bytes of the present message or waits for the next one. It is bounded by closing the websocket only: a context
// would stay with a message that is read in parts.
func (f *frameStream) Read(p []byte) (int, error) {
	for {
		if f.rest == nil {
			if err := f.nextMessage(); err != nil {
				return 0, err
			}
		}
		n, err := f.rest.Read(p)
		if errors.Is(err, io.EOF) {
			f.rest, err = nil, nil
			if n == 0 {
				continue
			}
		}
		return n, err
	}
}

func (f *frameStream) nextMessage() error {
	kind, message, err := f.conn.Reader(context.Background())
	if err != nil {
		return err
	}
	if kind != websocket.MessageBinary {
		return errTextFrame
	}
	f.rest = message
	return nil
}

// receive waits for data without a buffer, then hands it to deliver in chunks borrowed from lender. It returns nil at the
// end of each message.
func (f *frameStream) receive(lender *chunks, deliver func([]byte) error) error {
	if f.rest == nil {
		if err := f.nextMessage(); err != nil {
			return err
		}
	}
	buffer := lender.borrow()
	defer lender.giveBack(buffer)
	for {
		n, err := f.rest.Read(*buffer)
		if n > 0 {
			if err := deliver((*buffer)[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			f.rest = nil
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Write sends p as one unfragmented binary message.
func (f *frameStream) Write(p []byte) (int, error) {
	if err := f.conn.Write(context.Background(), websocket.MessageBinary, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

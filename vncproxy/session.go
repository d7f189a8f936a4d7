package vncproxy

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"gantry/internal/consoleapi"
)

// session is one open console: a browser, a target, and a pump for each direction.
type session struct {
	id       string
	vm       int64
	client   netip.Addr
	closesAt time.Time
	browser  *frameStream
	target   target

	down, up flow
	// inputs counts what looks like key presses and pointer movements.
	inputs atomic.Int64
	watch  watch

	once     sync.Once
	refusal  *consoleapi.Refusal
	goodbyes chan struct{} // closed when the browser was told
}

// flow counts one direction. What was taken in and not given out yet is on its way; if that lasts, the receiver stalls.
type flow struct{ in, out atomic.Int64 }

// end closes the session for a reason; the first reason stands. It returns at once, the browser is told in the background.
func (s *session) end(refusal *consoleapi.Refusal) {
	s.once.Do(func() {
		s.refusal = refusal
		s.target.close()
		go func() {
			defer close(s.goodbyes)
			sayGoodbye(s.browser.conn, refusal)
		}()
	})
}

// sayGoodbye closes a browser's websocket with the reason's code. A browser that does not answer is dropped after a few seconds.
func sayGoodbye(browser *websocket.Conn, refusal *consoleapi.Refusal) {
	if refusal.Reason == consoleapi.ReasonStalled {
		_ = browser.CloseNow() // a close frame would queue up behind the data that is stuck
		return
	}
	code := websocket.StatusCode(refusal.Reason.CloseCode())
	if refusal.Reason == reasonBrowserLeft {
		code = websocket.StatusNormalClosure
	}
	_ = browser.Close(code, goodbyeText(refusal)) // a browser that is gone can't be told
}

// maxGoodbye is the room for text in a close frame (RFC 6455 §5.5: 125 bytes with the code).
const maxGoodbye = 123

// goodbyeText is the detail where there is one, as the code already says the rest in the user's language, else the English text.
func goodbyeText(refusal *consoleapi.Refusal) string {
	text := refusal.Detail
	if text == "" && refusal.Reason != reasonBrowserLeft {
		text = refusal.Reason.Text()
	}
	for len(text) > maxGoodbye {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return text
}

// pump moves bytes both ways until one side ends, and returns when both directions are still.
func (s *session) pump(down, up *chunks, m *metrics) {
	var both sync.WaitGroup
	both.Go(func() { s.pumpUp(up, m) })
	s.pumpDown(down, m)
	both.Wait()
	<-s.goodbyes
}

// pumpDown moves pixels. An error of deliver is the browser's, any other the target's.
func (s *session) pumpDown(lender *chunks, m *metrics) {
	var lost error
	deliver := func(data []byte) error {
		s.down.in.Add(int64(len(data)))
		if _, lost = s.browser.Write(data); lost != nil {
			return lost
		}
		s.down.out.Add(int64(len(data)))
		m.down.Add(float64(len(data)))
		return nil
	}
	for {
		err := s.target.receive(lender, deliver)
		switch {
		case lost != nil:
			s.end(browserFailure(lost))
			return
		case err != nil:
			s.end(targetLost(err))
			return
		}
	}
}

// pumpUp moves keys and pointer movements. An error of deliver is the target's, any other the browser's.
func (s *session) pumpUp(lender *chunks, m *metrics) {
	var lost error
	deliver := func(data []byte) error {
		s.up.in.Add(int64(len(data)))
		if looksLikeInput(data) {
			s.inputs.Add(1)
		}
		if _, lost = s.target.Write(data); lost != nil {
			return lost
		}
		s.up.out.Add(int64(len(data)))
		m.up.Add(float64(len(data)))
		return nil
	}
	for {
		err := s.browser.receive(lender, deliver)
		switch {
		case lost != nil:
			s.end(targetLost(lost))
			return
		case err != nil:
			s.end(browserFailure(err))
			return
		}
	}
}

// RFB client messages that a viewer sends without its user's doing (RFC 6143 §7.5.3 and the Fence and continuous updates extensions).
const (
	messageUpdateRequest     = 3
	messageContinuousUpdates = 150
	messageFence             = 248
)

// looksLikeInput tells a user's doing from a viewer's own requests for pixels by the first byte. Viewers send whole messages, so
// that is right nearly always; where it is wrong, a console stays open a little longer or an input counts one message later.
func looksLikeInput(data []byte) bool {
	switch data[0] {
	case messageUpdateRequest, messageContinuousUpdates, messageFence:
		return false
	}
	return true
}

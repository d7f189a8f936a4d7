package consoleapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// Headers of a request for StreamPath, beside the proxy's Authorization.
const (
	tokenHeader      = "X-Console-Token"
	sessionKeyHeader = "X-Console-Session-Key"
)

// StreamRequest asks for the bytes of a screen: of a session that Redeem granted with NetworkBroker.
type StreamRequest struct {
	Token Token
	// SessionKey is the browser's: what the token is bound to.
	SessionKey SessionKey
}

// Stream is an open screen.
type Stream struct {
	net.Conn
	// SessionID names the session in logs; ClosesAt ends it.
	SessionID string
	ClosesAt  time.Time
}

// Stream opens the screen of a session through the broker. Errors are as Redeem's.
func (c *Client) Stream(ctx context.Context, request StreamRequest) (*websocket.Conn, error) {
	header := http.Header{}
	header.Set("Authorization", "Bearer "+c.secret)
	header.Set(tokenHeader, string(request.Token))
	header.Set(sessionKeyHeader, string(request.SessionKey))
	conn, answer, err := websocket.Dial(ctx, c.base+StreamPath, &websocket.DialOptions{
		HTTPClient: c.http, HTTPHeader: header, CompressionMode: websocket.CompressionDisabled,
	})
	if err == nil {
		return conn, nil
	}
	if answer != nil {
		text, readErr := io.ReadAll(io.LimitReader(answer.Body, maxReplyBytes))
		if readErr == nil {
			err = refused(answer.StatusCode, text)
		}
	}
	return nil, fmt.Errorf("open a screen through the broker: %w", err)
}

// stream serves StreamPath. Whatever can be refused is refused before the upgrade; the bytes flow after the handler has returned.
func (h *handler) stream(w http.ResponseWriter, r *http.Request) {
	proxy, ok := h.authorized(w, r)
	if !ok {
		return
	}
	token, tokenErr := ParseToken(r.Header.Get(tokenHeader))
	key, keyErr := ParseSessionKey(r.Header.Get(sessionKeyHeader))
	if tokenErr != nil || keyErr != nil || !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		h.reply(w, http.StatusConflict, Refuse(ReasonLinkInvalid))
		return
	}
	opened, err := h.broker.Stream(r.Context(), StreamRequest{Token: token, SessionKey: key})
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal):
		h.logger.Info("screen refused", "proxy", proxy, "reason", refusal.Reason, "cause", err)
		h.reply(w, http.StatusConflict, refusal)
		return
	case err != nil:
		h.logger.Error("screen could not be opened", "proxy", proxy, "error", err)
		h.reply(w, http.StatusInternalServerError, Refuse(ReasonInternal))
		return
	}
	socket, err := websocket.Accept(innermost(w), r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		_ = opened.Close() // Accept has answered
		return
	}
	go h.pump(opened, socket)
}

// innermost is the HTTP server's own writer: gin's refuses to hijack a connection whose status is written, which is when Accept does.
func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		wrapped, is := w.(interface{ Unwrap() http.ResponseWriter })
		if !is {
			return w
		}
		w = wrapped.Unwrap()
	}
}

// pump moves bytes until one side ends or the session is over.
func (h *handler) pump(screen Stream, socket *websocket.Conn) {
	ctx, cancel := context.WithDeadline(context.Background(), screen.ClosesAt)
	defer cancel()
	far := websocket.NetConn(ctx, socket, websocket.MessageBinary)
	end := sync.OnceFunc(func() {
		_ = screen.Close()
		_ = socket.CloseNow()
	})
	defer end()
	var both sync.WaitGroup
	both.Go(func() {
		defer end()
		_, _ = io.Copy(screen, far) // either side went away: nobody is left to tell
	})
	both.Go(func() {
		defer end()
		_, _ = io.Copy(far, screen)
	})
	both.Wait()
	h.logger.Debug("screen closed", "session", screen.SessionID)
}

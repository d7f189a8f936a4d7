package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"gantry/server/api/route"
)

const (
	// streamLifetime is how long one stream goes on: after that the caller comes again, and its token is looked at anew.
	streamLifetime = 5 * time.Minute
	// sendPatience bounds the writing of one event.
	sendPatience = 10 * time.Second
)

// stream serves a reply that goes on. The call's time limit holds until the stream begins.
func (e *exchange) stream(reply route.Stream) {
	control := http.NewResponseController(e.c.Writer)
	for _, set := range []func(time.Time) error{control.SetReadDeadline, control.SetWriteDeadline} {
		if err := set(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
			e.api.log.Debug("no deadlines for a stream", "request", e.call.Actor.RequestID, "error", err)
		}
	}
	ctx, cancel := context.WithTimeout(e.c.Request.Context(), streamLifetime)
	defer cancel()
	e.c.Header("Content-Type", "text/event-stream; charset=utf-8")
	e.c.Header("X-Accel-Buffering", "no") // nginx would keep events back
	e.c.Status(http.StatusOK)
	e.finish(http.StatusOK, route.CodeSuccess) // how long somebody listens is no duration of a call
	err := reply(ctx, func(name string, data []byte) error {
		if bytes.ContainsAny(data, "\r\n") {
			return fmt.Errorf("event %s has several lines", name)
		}
		if err := control.SetWriteDeadline(time.Now().Add(sendPatience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		if _, err := fmt.Fprintf(e.c.Writer, "event: %s\ndata: %s\n\n", name, data); err != nil {
			return err
		}
		return control.Flush()
	})
	if err != nil && ctx.Err() == nil {
		e.api.log.Debug("stream ended", "request", e.call.Actor.RequestID, "route", e.route.Name, "error", err)
	}
}

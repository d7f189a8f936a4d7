package controlled

import (
	"crypto/rand"
	"log/slog"
	"net/http"
	"regexp"
	"runtime/debug"
	"time"

	"github.com/gin-gonic/gin"

	wire "gantry/internal/controlledclient"
)

const (
	requestIDHeader = "X-Request-Id"
	requestIDKey    = "request_id"
	envelopeCodeKey = "envelope_code"
)

var requestIDPattern = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// logRequests gives every request an id (the caller's X-Request-Id when it is well formed), logs one line for it and
// turns a panic into a 500 envelope. Query and body are never logged: URLs may carry credentials.
func logRequests(log *slog.Logger) gin.HandlerFunc {
	return func(c *gin.Context) {
		started := time.Now()
		id := c.GetHeader(requestIDHeader)
		if !requestIDPattern.MatchString(id) {
			id = rand.Text()
		}
		c.Set(requestIDKey, id)
		c.Header(requestIDHeader, id)
		defer func() {
			if crash := recover(); crash != nil {
				log.Error("request crashed", "request_id", id, "panic", crash, "stack", string(debug.Stack()))
				if !c.Writer.Written() {
					answer(c, http.StatusInternalServerError, wire.CodeError, "internal error", wire.Refusal{Reason: wire.ReasonFailed})
				}
			}
			level := slog.LevelInfo
			attributes := []any{
				"request_id", id, "method", c.Request.Method, "route", c.FullPath(), "remote", c.RemoteIP(),
				"status", c.Writer.Status(), "code", c.GetInt(envelopeCodeKey), "duration", time.Since(started).String(),
			}
			if len(c.Errors) > 0 {
				level = slog.LevelError
				attributes = append(attributes, "error", c.Errors.String())
			}
			log.Log(c.Request.Context(), level, "request", attributes...)
		}()
		c.Next()
	}
}

package api

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"time"

	"github.com/gin-gonic/gin"

	"gantry/server/api/route"
	"gantry/server/broker"
)

// exchange is one request on its way to its answer.
type exchange struct {
	api     *API
	c       *gin.Context
	route   *route.Route
	call    route.Call
	input   *route.Input
	started time.Time
	failure error
}

func (a *API) begin(c *gin.Context, served *route.Route) *exchange {
	id := rand.Text()
	secure(c.Writer.Header())
	c.Header("X-Request-Id", id)
	return &exchange{
		api: a, c: c, route: served, started: a.now(),
		call: route.Call{
			Actor: broker.Actor{Name: "public", RequestID: id}, Language: a.language.of(c.GetHeader("Accept-Language")),
			Client: addressOf(c), IdempotencyKey: c.GetHeader("Idempotency-Key"), Header: c.Writer.Header(),
		},
	}
}

// bounded sets the time that the exchange may take: reading by a deadline of the connection, all else by the context.
func (e *exchange) bounded() (context.Context, context.CancelFunc) {
	deadline := time.Now().Add(e.api.timeout)
	if err := http.NewResponseController(e.c.Writer).SetReadDeadline(deadline); err != nil && !errors.Is(err, http.ErrNotSupported) {
		e.api.log.Debug("no read deadline", "request", e.call.Actor.RequestID, "error", err)
	}
	return context.WithDeadline(e.c.Request.Context(), deadline)
}

func (e *exchange) duration() time.Duration { return e.api.now().Sub(e.started) }

// handle serves one route of the table.
func (a *API) handle(served *route.Route, parameters map[string]string) gin.HandlerFunc {
	return func(c *gin.Context) {
		e := a.begin(c, served)
		defer e.recovered()
		ctx, cancel := e.bounded()
		defer cancel()
		path := make(map[string]string, len(parameters))
		for place, name := range parameters {
			path[name] = c.Param(place)
		}
		if !e.knownKind(path) {
			e.refuseRoute()
			return
		}
		if !e.admitted(ctx) {
			return
		}
		input, err := route.ReadInput(c.Writer, c.Request, path)
		if err != nil {
			e.refuse(err)
			return
		}
		e.input = input
		reply, err := served.Serve(ctx, &e.call, input)
		if err != nil {
			e.refuse(err)
			return
		}
		if stream, goesOn := reply.(route.Stream); goesOn {
			e.stream(stream)
			return
		}
		e.answer(reply)
	}
}

// knownKind takes the driver out of the path; one that does not exist is an unknown route.
func (e *exchange) knownKind(path map[string]string) bool {
	for _, name := range []string{route.KindParameter, route.KindParameterInVNC} {
		if kind, found := path[name]; found {
			e.call.Kind = kind
			delete(path, name)
			if kind == route.AutoKind { // ids of machines and nodes are the same in all kinds
				e.call.Kind = ""
				return true
			}
			return slices.Contains(e.api.kinds(), kind)
		}
	}
	return true
}

// envelope is every answer. Warnings are Gantry's own and absent when there are none.
type envelope struct {
	Code     int      `json:"code"`
	Message  string   `json:"message"`
	Data     any      `json:"data"`
	Warnings []string `json:"warnings,omitempty"`
}

// bareEnvelope is the answer to unknown routes and wrong credentials: documented without data.
type bareEnvelope struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (e *exchange) answer(data any) {
	e.write(http.StatusOK, route.CodeSuccess, envelope{
		Code: route.CodeSuccess, Message: route.TextSuccess, Data: data, Warnings: e.call.Warnings,
	})
}

func (e *exchange) refuseRoute() {
	e.write(http.StatusOK, route.CodeUnknownRoute, bareEnvelope{Code: route.CodeUnknownRoute, Message: route.TextUnknownRoute})
}

func (e *exchange) refuseCredentials(status int) {
	e.write(status, route.CodeUnauthenticated, bareEnvelope{Code: route.CodeUnauthenticated, Message: route.TextUnauthenticated})
}

// refuse answers an error. Business errors have HTTP status 200, as the original's; a defect of ours has 500, so that whatever
// watches the program sees it.
func (e *exchange) refuse(err error) {
	e.failure = err
	code, text, internal := e.route.Refuse(err, e.call.Language)
	if !internal {
		e.write(http.StatusOK, code, refusedEnvelope(err, code, text, e.call.Key == nil))
		return
	}
	e.api.log.Error("call failed", "request", e.call.Actor.RequestID, "route", e.route.Name, "error", err)
	text = "internal error, request " + e.call.Actor.RequestID
	if e.call.Language == broker.Chinese {
		text = "系统异常，请求编号 " + e.call.Actor.RequestID
	}
	e.write(http.StatusInternalServerError, code, envelope{Code: code, Message: text})
}

func (e *exchange) write(status, code int, body any) {
	e.c.Header("Content-Type", "application/json; charset=utf-8")
	e.c.Status(status)
	encoder := json.NewEncoder(e.c.Writer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(body); err != nil {
		e.api.log.Debug("answer not delivered", "request", e.call.Actor.RequestID, "error", err)
	}
	e.finish(status, code)
}

// finish notes the exchange where it belongs.
func (e *exchange) finish(status, code int) {
	took := e.duration()
	e.api.metrics.observe(e.route.Name, status, code, took)
	level := slog.LevelDebug
	if e.route.Audit {
		level = slog.LevelInfo
	}
	e.api.log.Log(e.c.Request.Context(), level, "call", "request", e.call.Actor.RequestID, "route", e.route.Name,
		"actor", e.call.Actor.Name, "client", e.call.Client.String(), "code", code, "took", took)
	if e.route.Audit && e.input != nil && !e.throttled() {
		e.api.audit.note(e.entry(status, code, took))
	}
}

// throttled tells that a public caller was turned away: what anybody can send without end must not fill the audit log.
func (e *exchange) throttled() bool {
	return e.route.Auth == route.Public && broker.Is(e.failure, broker.Busy)
}

// recovered turns a panic into an internal error.
func (e *exchange) recovered() {
	cause := recover()
	if cause == nil {
		return
	}
	if cause == http.ErrAbortHandler {
		panic(cause) // net/http's own way to drop a connection
	}
	e.api.log.Error("call panicked", "request", e.call.Actor.RequestID, "route", e.route.Name, "panic", cause, "stack", string(debug.Stack()))
	if !e.c.Writer.Written() {
		e.refuse(&broker.Error{Kind: broker.Internal})
	}
}

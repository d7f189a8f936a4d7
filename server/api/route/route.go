// Package route describes calls of the HTTP API as data: method, path, who may call, request type, reply type, handler.
// One table of routes drives routing, authentication, decoding, validation, audit, OpenAPI and the contract test.
package route

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"gantry/server/broker"
)

// Auth says who may make a call.
type Auth string

const (
	// Public calls need no credentials.
	Public Auth = "public"
	// Admin calls live under the secret path and need an admin's token.
	Admin Auth = "admin"
	// APIKey calls need Basic appid:appkey.
	APIKey Auth = "apikey"
)

// Parameters of paths that the API itself understands.
const (
	// AdminPathParameter stands for the secret first segment; handlers never see it.
	AdminPathParameter = "adminPath"
	// KindParameters name the driver in a path; a driver that does not exist is an unknown route.
	KindParameter, KindParameterInVNC = "nodeType", "node"
	// AutoKind stands for whatever driver it may be, in the place of KindParameter. Call.Kind is "" then.
	AutoKind = "auto"
)

// Route is one call.
type Route struct {
	Methods []string
	// Path has its parameters in braces: "/{adminPath}/power/{hostId}/{action}".
	Path string
	Auth Auth
	// Name is unique: operation id, metrics label.
	Name    string
	Group   string
	Summary string
	// Audit stores each call: for whatever writes.
	Audit bool
	// Refusals are codes and texts that differ from the general ones because the call's documentation says so.
	Refusals map[broker.Reason]Refusal
	// Request and Reply are set by Of.
	Request, Reply reflect.Type

	binding *binding
	serve   func(ctx context.Context, call *Call, input *Input) (any, error)
	flaw    error
}

// Refusal is a documented code with its text; an empty text means the error's own.
type Refusal struct {
	Code int
	Text string
}

// Call is what a handler may know about a request beside its typed fields.
type Call struct {
	Actor broker.Actor
	// Admin is set for Admin calls, Key for APIKey calls.
	Admin *broker.Admin
	Key   *broker.APIKey
	// Kind is the driver in the path; "" where the path has none, or AutoKind.
	Kind string
	// Language is what the caller prefers.
	Language broker.Language
	// Client is the address of the caller.
	Client netip.Addr
	// IdempotencyKey is the header of that name.
	IdempotencyKey string
	// Header is that of the reply.
	Header http.Header
	// Warnings go into the reply beside its data.
	Warnings []string
}

// Warn tells the caller something about a call that succeeded.
func (c *Call) Warn(format string, args ...any) {
	c.Warnings = append(c.Warnings, fmt.Sprintf(format, args...))
}

// NoteTask tells the id of the task that goes on, in the header X-Task-Id: the documented data has no place for it.
func (c *Call) NoteTask(task *broker.Task) {
	if task != nil {
		c.Header.Set("X-Task-Id", fmt.Sprint(task.ID))
	}
}

// Handler carries a call out. Errors are *broker.Error or *Problem.
type Handler[Request, Reply any] func(ctx context.Context, call *Call, request Request) (Reply, error)

// Null is the reply of calls whose data is null.
type Null = *struct{}

// Nothing is the request of calls that take nothing.
type Nothing struct{}

// Of completes a route with its types and handler. Mistakes in the request type are reported by Check.
func Of[Request, Reply any](route Route, handler Handler[Request, Reply]) Route {
	route.Request, route.Reply = reflect.TypeFor[Request](), reflect.TypeFor[Reply]()
	route.binding, route.flaw = bind(route.Request, route.source())
	route.serve = func(ctx context.Context, call *Call, input *Input) (any, error) {
		var request Request
		if err := route.binding.fill(reflect.ValueOf(&request).Elem(), input); err != nil {
			return nil, err
		}
		return handler(ctx, call, request)
	}
	return route
}

// source is where fields come from that do not say.
func (r Route) source() source {
	if slices.ContainsFunc(r.Methods, func(method string) bool { return method != http.MethodGet }) {
		return fromBody
	}
	return fromQuery
}

// Writes tells whether the call takes a body.
func (r Route) Writes() bool { return r.source() == fromBody }

// Check tells what is wrong with the description itself.
func (r Route) Check() error {
	switch {
	case r.flaw != nil:
		return fmt.Errorf("route %s: %w", r.Name, r.flaw)
	case r.serve == nil:
		return fmt.Errorf("route %s: no handler", r.Name)
	case r.Name == "" || r.Group == "" || r.Summary == "":
		return fmt.Errorf("route %s: name, group and summary are needed", r.Path)
	case len(r.Methods) == 0 || !strings.HasPrefix(r.Path, "/"):
		return fmt.Errorf("route %s: methods and a path are needed", r.Name)
	case r.Writes() && r.Auth != Public && !r.Audit:
		return fmt.Errorf("route %s: writes must be audited", r.Name)
	}
	for _, field := range r.Fields() {
		if field.In == "path" && !strings.Contains(r.Path, "{"+field.Name+"}") {
			return fmt.Errorf("route %s: field %s is not in the path", r.Name, field.Name)
		}
	}
	if (r.Auth == Admin) != strings.HasPrefix(r.Path, "/{"+AdminPathParameter+"}/") && r.Auth != Public {
		return fmt.Errorf("route %s: admin calls, and only those, live under the admin path", r.Name)
	}
	return nil
}

// Serve decodes the input and runs the handler.
func (r Route) Serve(ctx context.Context, call *Call, input *Input) (any, error) {
	reply, err := r.serve(ctx, call, input)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) && broker.Is(err, broker.Internal) {
		return nil, &broker.Error{Kind: broker.Unreachable, Detail: "not finished in time", Err: err}
	}
	return reply, err
}

// Fields lists what the call takes, for documentation.
func (r Route) Fields() []Field {
	if r.binding == nil {
		return nil
	}
	fields := make([]Field, len(r.binding.fields))
	for i, field := range r.binding.fields {
		fields[i] = field.Field
	}
	return fields
}

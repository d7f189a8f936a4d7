// Package api answers the Proxmox VE REST API for a simulated cluster: authentication, permissions, parameter checks and one
// handler for each method.
package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"gantry/lab/apierror"
	"gantry/lab/cluster"
	"gantry/lab/fault"
	"gantry/lab/httpwire"
	"gantry/lab/schema"
)

// Server answers requests. Fill the fields and call Handle.
type Server struct {
	Cluster *cluster.Cluster
	Schema  *schema.API
	// UnauthorizedDelay is how long each 401 takes; a real node waits 3 s.
	UnauthorizedDelay time.Duration
	// Latency is added to every request.
	Latency time.Duration
	// Certificate is the TLS certificate in PEM, Fingerprint its SHA-256 as PVE writes it (AA:BB:…).
	Certificate, Fingerprint string

	routes  map[string]handler
	options *schema.Method // create_vm: it holds the types of all guest options
	console *consoles
}

// handler answers one method. The result is the data member, or one of the answer types below.
type handler func(r *Request) (any, error)

// Request is an authenticated, permitted and checked call.
type Request struct {
	context.Context
	Server  *Server
	Cluster *cluster.Cluster
	Params  schema.Params
	User    string // user@realm or user@realm!token
	Node    string
	VMID    int
	Method  *schema.Method
	HTTP    *http.Request
	token   bool
}

// paged adds the total that task lists and logs carry.
type paged struct {
	Data  any
	Total int
}

// text is an answer that is no JSON.
type text struct{ Body string }

// hijacked is an answer that takes the connection over.
type hijacked struct{ Response *httpwire.Response }

// NewServer makes a server for the cluster.
func NewServer(c *cluster.Cluster, api *schema.API) *Server {
	s := &Server{Cluster: c, Schema: api, routes: map[string]handler{}, UnauthorizedDelay: 3 * time.Second}
	s.options, _ = api.Find("POST", []string{"nodes", "x", "qemu"})
	s.console = newConsoles()
	for _, table := range []map[string]handler{accessRoutes, nodeRoutes, qemuRoutes, powerRoutes, taskRoutes, storageRoutes,
		clusterRoutes, poolRoutes, firewallRoutes, consoleRoutes, agentRoutes, diskRoutes} {
		for name, handle := range table {
			s.routes[name] = handle
		}
	}
	return s
}

// Close ends what the consoles have open.
func (s *Server) Close() { s.console.close() }

// Handle answers one HTTP request.
func (s *Server) Handle(ctx context.Context, request *http.Request) *httpwire.Response {
	path, extjs, ok := apiPath(request.URL.EscapedPath())
	if !ok {
		return &httpwire.Response{Status: 404, Reason: fmt.Sprintf("no such file '%s'", request.URL.Path), ContentType: "text/plain"}
	}
	parts, err := splitPath(path)
	if err != nil {
		return failure(apierror.New(400, "bad path"), false)
	}
	if len(parts) > 1 && parts[0] == "nodes" && parts[1] == "localhost" {
		parts[1] = s.Cluster.Nodes[0]
	}
	path = "/" + strings.Join(parts, "/")
	params, err := s.readParams(request)
	if err != nil {
		return failure(apierror.As(err), false)
	}
	if s.Latency > 0 {
		wait(ctx, s.Latency)
	}
	rules, removed := s.Cluster.Faults.Match(request.Method, path)
	if response := s.misbehave(ctx, rules, removed, path); response != nil {
		s.Cluster.Faults.Record(request.Method, path, "", params, s.Cluster.Now())
		return response
	}
	response := s.serve(ctx, request, path, parts, params, extjs)
	for _, rule := range rules {
		if rule.LoseAfter {
			return &httpwire.Response{Drop: true}
		}
	}
	return response
}

// apiPath cuts /api2/json or /api2/extjs off.
func apiPath(path string) (rest string, extjs, ok bool) {
	for strings.HasPrefix(path, "//") {
		path = path[1:]
	}
	for prefix, isExtJS := range map[string]bool{"/api2/json": false, "/api2/extjs": true} {
		if rest, found := strings.CutPrefix(path, prefix); found && (rest == "" || rest[0] == '/') {
			return rest, isExtJS, true
		}
	}
	return "", false, false
}

func splitPath(path string) ([]string, error) {
	var parts []string
	for part := range strings.SplitSeq(path, "/") {
		if part == "" {
			continue
		}
		plain, err := url.PathUnescape(part)
		if err != nil {
			return nil, err
		}
		parts = append(parts, plain)
	}
	return parts, nil
}

func wait(ctx context.Context, duration time.Duration) {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// misbehave applies the faults that come before the work; nil means that the request goes on.
func (s *Server) misbehave(ctx context.Context, rules []fault.Rule, removed []<-chan struct{}, path string) *httpwire.Response {
	for i, rule := range rules {
		if rule.Latency > 0 {
			wait(ctx, rule.Latency)
		}
		switch {
		case rule.LoseBefore:
			return &httpwire.Response{Drop: true}
		case rule.Hang:
			select {
			case <-ctx.Done():
			case <-removed[i]:
			}
			return &httpwire.Response{Drop: true}
		case rule.LockTimeout:
			vmid := "0"
			if parts := strings.Split(path, "/"); len(parts) > 4 {
				vmid = parts[4]
			}
			return failure(apierror.Die("can't lock file '/var/lock/qemu-server/lock-%s.conf' - got timeout", vmid), false)
		case rule.Status != 0:
			return failure(&apierror.Error{Status: rule.Status, Message: rule.Reason + "\n", EmptyBody: rule.Status >= 595}, false)
		}
	}
	return nil
}

func (s *Server) serve(ctx context.Context, request *http.Request, path string, parts []string, params schema.Params, extjs bool) *httpwire.Response {
	user, token, err := s.authenticate(request, path)
	record := s.Cluster.Faults.Record(request.Method, path, user, params, s.Cluster.Now())
	var data any
	if err == nil {
		r := &Request{Context: ctx, Server: s, Cluster: s.Cluster, Params: params, User: user, HTTP: request, token: token}
		data, err = s.call(r, path, parts)
	}
	response := s.respond(ctx, data, err, extjs)
	s.Cluster.Faults.Answered(record, response.Status)
	return response
}

// call finds the method, checks node, permission and parameters in pveproxy's order, and runs the handler.
func (s *Server) call(r *Request, path string, parts []string) (any, error) {
	method, variables := s.Schema.Find(r.HTTP.Method, parts)
	if len(parts) == 0 && r.HTTP.Method == "GET" {
		return subdirs("version", "cluster", "nodes", "storage", "access", "pools"), nil
	}
	if method == nil {
		return nil, notImplemented(r.HTTP.Method, path)
	}
	r.Method = method
	for name, value := range variables {
		r.Params[name] = value
	}
	if r.token && !method.TokenAllowed() {
		return nil, apierror.Forbidden(fmt.Sprintf("URI '%s' not available with API token, need proper ticket.\n", path))
	}
	if err := s.reachNode(r, method); err != nil {
		return nil, err
	}
	handle := s.routes[method.Verb+" "+method.Path]
	if handle == nil {
		return nil, notImplemented(r.HTTP.Method, path)
	}
	if err := s.permitted(r, method); err != nil {
		return nil, err
	}
	if problems := method.Check(r.Params); len(problems) > 0 {
		return nil, apierror.Params(problems)
	}
	r.Node = r.Params.Str("node")
	r.VMID = r.Params.Int("vmid", 0)
	return handle(r)
}

func notImplemented(method, path string) error {
	return &apierror.Error{Status: 501, Message: fmt.Sprintf("Method '%s %s' not implemented", method, path)}
}

// reachNode is the proxying to the node that the request names.
func (s *Server) reachNode(r *Request, method *schema.Method) error {
	node := r.Params.Str("node")
	if method.ProxyTo != "node" || node == "" {
		return nil
	}
	if reason := s.Cluster.Faults.Down(node); reason != "" {
		if reason != "Connection refused" {
			wait(r, s.Cluster.Scaled(3*time.Second))
		}
		return &apierror.Error{Status: 595, Message: reason + "\n", EmptyBody: true}
	}
	if !s.Cluster.HasNode(node) {
		return apierror.Die("hostname lookup '%s' failed - failed to get address info for: %s: Temporary failure in name resolution", node, node)
	}
	return nil
}

func (s *Server) respond(ctx context.Context, data any, err error, extjs bool) *httpwire.Response {
	if err != nil {
		api := apierror.As(err)
		if api.Status == 401 {
			wait(ctx, s.UnauthorizedDelay)
		}
		return failure(api, extjs)
	}
	switch answer := data.(type) {
	case hijacked:
		return answer.Response
	case text:
		return &httpwire.Response{Status: 200, Reason: "OK", ContentType: "text/plain", Body: []byte(answer.Body)}
	}
	body := map[string]any{"data": data}
	if page, ok := data.(paged); ok {
		body["data"], body["total"] = page.Data, page.Total
	}
	if extjs {
		body["success"] = 1
	}
	return &httpwire.Response{Status: 200, Reason: "OK", ContentType: "application/json;charset=UTF-8", Body: encode(body)}
}

func failure(err *apierror.Error, extjs bool) *httpwire.Response {
	response := &httpwire.Response{Status: err.Status, Reason: err.Reason()}
	switch {
	case err.EmptyBody:
		return response
	case err.PlainBody:
		response.ContentType, response.Body = "text/plain", []byte(err.Message)
		return response
	}
	body := map[string]any{"data": nil, "message": err.Message}
	if err.Params != nil {
		body["errors"] = err.Params
	}
	if extjs {
		response.Status, response.Reason = 200, "OK"
		body["success"], body["status"] = 0, err.Status
		if err.Params != nil {
			body["status"] = fmt.Sprint(err.Status) // parameter exceptions carry their code as text
		}
	}
	response.ContentType, response.Body = "application/json;charset=UTF-8", encode(body)
	return response
}

func encode(value any) []byte {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return []byte(`{"data":null}`)
	}
	return bytes.TrimRight(out.Bytes(), "\n")
}

func subdirs(names ...string) []map[string]string { return named("subdir", names...) }

func named(key string, names ...string) []map[string]string {
	rows := make([]map[string]string, len(names))
	for i, name := range names {
		rows[i] = map[string]string{key: name}
	}
	return rows
}

func flag(on bool) int {
	if on {
		return 1
	}
	return 0
}

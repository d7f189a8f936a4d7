package fault

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Control is the HTTP side of the faults, on a loopback listener of its own. Every request carries "Authorization: Bearer TOKEN".
//
//	GET    /rules/                     all rules
//	POST   /rules/request   Rule       → {"id":n}; durations are nanoseconds
//	POST   /rules/task      TaskRule   → {"id":n}
//	DELETE /rules/{id}, DELETE /rules/
//	POST   /nodes/{node}/down?reason=…, POST /nodes/{node}/up
//	POST   /tickets/expire, POST /status/refresh
//	GET    /requests?method=&path=     journal; DELETE /requests empties it
type Control struct {
	URL    string
	server *http.Server
}

// Serve opens the control endpoint on a loopback address such as 127.0.0.1:0.
func (f *Faults) Serve(address, token string) (*Control, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: f.handler(token), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	return &Control{URL: "http://" + listener.Addr().String(), server: server}, nil
}

// Close ends the endpoint.
func (c *Control) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return c.server.Shutdown(ctx)
}

func (f *Faults) handler(token string) http.Handler {
	routes := http.NewServeMux()
	routes.HandleFunc("GET /rules/", func(w http.ResponseWriter, _ *http.Request) { reply(w, f.list()) })
	routes.HandleFunc("POST /rules/request", func(w http.ResponseWriter, r *http.Request) {
		if rule, ok := decode[Rule](w, r); ok {
			reply(w, map[string]int{"id": f.Add(rule)})
		}
	})
	routes.HandleFunc("POST /rules/task", func(w http.ResponseWriter, r *http.Request) {
		if rule, ok := decode[TaskRule](w, r); ok {
			reply(w, map[string]int{"id": f.AddTask(rule)})
		}
	})
	routes.HandleFunc("DELETE /rules/{$}", func(w http.ResponseWriter, _ *http.Request) { f.Clear(); reply(w, nil) })
	routes.HandleFunc("DELETE /rules/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.Atoi(r.PathValue("id"))
		if err != nil {
			http.Error(w, "id: not a number", http.StatusBadRequest)
			return
		}
		f.Remove(id)
		reply(w, nil)
	})
	routes.HandleFunc("POST /nodes/{node}/down", func(w http.ResponseWriter, r *http.Request) {
		f.NodeDown(r.PathValue("node"), r.URL.Query().Get("reason"))
		reply(w, nil)
	})
	routes.HandleFunc("POST /nodes/{node}/up", func(w http.ResponseWriter, r *http.Request) {
		f.NodeUp(r.PathValue("node"))
		reply(w, nil)
	})
	routes.HandleFunc("POST /tickets/expire", func(w http.ResponseWriter, _ *http.Request) { f.ExpireTickets(); reply(w, nil) })
	routes.HandleFunc("POST /status/refresh", func(w http.ResponseWriter, _ *http.Request) { f.RefreshStatus(); reply(w, nil) })
	routes.HandleFunc("GET /requests", func(w http.ResponseWriter, r *http.Request) {
		found := []Request{}
		for _, request := range f.Requests() {
			if method := r.URL.Query().Get("method"); method != "" && method != request.Method {
				continue
			}
			if Glob(r.URL.Query().Get("path"), request.Path) {
				found = append(found, request)
			}
		}
		reply(w, found)
	})
	routes.HandleFunc("DELETE /requests", func(w http.ResponseWriter, _ *http.Request) { f.Forget(); reply(w, nil) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+token)) != 1 {
			http.Error(w, "wrong token", http.StatusUnauthorized)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
		routes.ServeHTTP(w, r)
	})
}

func (f *Faults) list() map[string]any {
	f.mu.Lock()
	defer f.mu.Unlock()
	requests, tasks := map[int]Rule{}, map[int]TaskRule{}
	for _, active := range f.rules {
		requests[active.id] = active.rule
	}
	for _, active := range f.tasks {
		tasks[active.id] = active.rule
	}
	down := map[string]string{}
	for node, reason := range f.down {
		down[node] = reason
	}
	return map[string]any{"requests": requests, "tasks": tasks, "down": down}
}

func decode[R any](w http.ResponseWriter, r *http.Request) (R, bool) {
	var rule R
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&rule); err != nil {
		http.Error(w, "rule: "+err.Error(), http.StatusBadRequest)
		return rule, false
	}
	return rule, true
}

func reply(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}

package vncproxy

import (
	"net/netip"
	"sync"

	"gantry/internal/consoleapi"
)

// registry counts the open consoles against the limits. A console holds a place from before its token is redeemed, so that a
// refusal for want of room never uses up a link.
type registry struct {
	maxTotal, maxPerVM, maxPerClient int

	mu       sync.Mutex
	closed   bool
	total    int
	clients  map[netip.Addr]int
	vms      map[int64]int
	sessions map[string]*session // by session id
	ended    sync.WaitGroup
}

func newRegistry(config Config) *registry {
	return &registry{
		maxTotal:     config.MaxSessions,
		maxPerVM:     config.MaxSessionsPerVM,
		maxPerClient: config.MaxSessionsPerClient,
		clients:      map[netip.Addr]int{},
		vms:          map[int64]int{},
		sessions:     map[string]*session{},
	}
}

// reserve takes a place for a client; give it back with release. The reason is ReasonTooMany or ReasonShuttingDown.
func (g *registry) reserve(client netip.Addr) consoleapi.Reason {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return consoleapi.ReasonShuttingDown
	}
	if g.total >= g.maxTotal || g.clients[client] >= g.maxPerClient {
		return consoleapi.ReasonTooMany
	}
	g.total++
	g.clients[client]++
	g.ended.Add(1)
	return ""
}

// release gives a place back.
func (g *registry) release(client netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total--
	if g.clients[client]--; g.clients[client] == 0 {
		delete(g.clients, client)
	}
	g.ended.Done()
}

// add enters a session under its id and VM; take it out with remove. One that is there with the same id, from another tab or a
// lost connection, gives way and is returned for the caller to end. The reason is ReasonTooMany for one VM or ReasonShuttingDown.
func (g *registry) add(s *session) (displaced *session, refused consoleapi.Reason) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, consoleapi.ReasonShuttingDown
	}
	displaced = g.sessions[s.id]
	if displaced != nil {
		g.vms[displaced.vm]--
	}
	if g.vms[s.vm] >= g.maxPerVM {
		if displaced != nil {
			g.vms[displaced.vm]++
		}
		return nil, consoleapi.ReasonTooMany
	}
	g.sessions[s.id] = s
	g.vms[s.vm]++
	return displaced, ""
}

// remove takes a session out unless another one has displaced it.
func (g *registry) remove(s *session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sessions[s.id] != s {
		return
	}
	delete(g.sessions, s.id)
	if g.vms[s.vm]--; g.vms[s.vm] == 0 {
		delete(g.vms, s.vm)
	}
}

// list gives the sessions at this moment.
func (g *registry) list() []*session {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]*session, 0, len(g.sessions))
	for _, s := range g.sessions {
		all = append(all, s)
	}
	return all
}

// find gives the session with an id, or nil.
func (g *registry) find(id string) *session {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sessions[id]
}

// count is the number of places taken.
func (g *registry) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.total
}

// close refuses further consoles and gives those that are open.
func (g *registry) close() []*session {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	return g.list()
}

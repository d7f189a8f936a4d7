package fault

import (
	"maps"
	"time"
)

// Record adds a request to the journal with a copy of its parameters and returns it, so that its status can be set with Answered.
func (f *Faults) Record(method, path, user string, params map[string]any, now time.Time) *Request {
	request := &Request{Time: now, Method: method, Path: path, Params: maps.Clone(params), User: user}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.journal) >= f.keepLast {
		f.journal = append(f.journal[:0:0], f.journal[len(f.journal)/2:]...)
	}
	f.journal = append(f.journal, request)
	return request
}

// Answered notes the status that the client was sent.
func (f *Faults) Answered(request *Request, status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	request.Status = status
}

// Requests returns the journal, the oldest first. It keeps at least the last 100,000 requests.
func (f *Faults) Requests() []Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	requests := make([]Request, len(f.journal))
	for i, request := range f.journal {
		requests[i] = *request
	}
	return requests
}

// Count tells how many requests match a verb ("" = any) and a path glob.
func (f *Faults) Count(method, glob string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	count := 0
	for _, request := range f.journal {
		if (method == "" || request.Method == method) && Glob(glob, request.Path) {
			count++
		}
	}
	return count
}

// Forget empties the journal.
func (f *Faults) Forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.journal = nil
}

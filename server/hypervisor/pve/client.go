package pve

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strconv"

	"github.com/luthermonson/go-proxmox"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

const userAgent = "gantry"

// nodeName is what PVE takes as the name of a node. A name goes into paths, so nothing else may pass.
var nodeName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

// client sends requests to one cluster. go-proxmox makes and decodes them; what may go wrong is the transport's business.
// Not used from go-proxmox: its login (races), Version and Permissions (they return a value before the call fills it), Task and
// Wait (a failed task is no error), NextID, WithRetry (repeats POSTs), the websockets (no tokens), and the WithParams calls (they
// send big integers as 1e+08).
type client struct {
	base    string
	http    *http.Client
	proxmox *proxmox.Client
	*transport
}

// silence drops go-proxmox's log, which has request bodies with passwords at debug level.
type silence struct{}

func (silence) Debugf(string, ...any) {}
func (silence) Errorf(string, ...any) {}
func (silence) Infof(string, ...any)  {}
func (silence) Warnf(string, ...any)  {}

func newClient(base string, carrier *transport) *client {
	web := &http.Client{Transport: carrier}
	return &client{
		base: base, http: web, transport: carrier,
		proxmox: proxmox.NewClient(base, proxmox.WithHTTPClient(web), proxmox.WithUserAgent(userAgent), proxmox.WithLogger(silence{})),
	}
}

// get reads path into out.
func (c *client) get(ctx context.Context, path string, query url.Values, out any) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return plain(c.proxmox.Get(ctx, path, out), broker.Failed)
}

// begin sends a changing request that PVE answers with a task's id. DELETE takes its parameters from the path: PVE refuses a body.
func (c *client) begin(ctx context.Context, method, path string, parameters map[string]any) (hypervisor.Operation, error) {
	var text string
	var err error
	var body any // stays nil without parameters: go-proxmox would make "null" of an empty map, which PVE refuses
	if len(parameters) > 0 {
		body = parameters
	}
	switch method {
	case http.MethodPost:
		err = c.proxmox.Post(ctx, path, body, &text)
	case http.MethodPut:
		err = c.proxmox.Put(ctx, path, body, &text)
	default:
		err = c.proxmox.Delete(ctx, path, &text)
	}
	if err != nil {
		return hypervisor.Operation{}, plain(err, broker.UnknownOutcome)
	}
	task, err := parseUPID(text)
	if err != nil {
		return hypervisor.Operation{}, &broker.Error{Kind: broker.UnknownOutcome, Detail: "Proxmox VE took the request and gave no task id", Err: err}
	}
	return task.operation(), nil
}

// plain gives the *broker.Error inside what net/http and go-proxmox wrapped it in. An error without one is an answer that could not
// be decoded; unreadable is its kind.
func plain(err error, unreadable broker.Kind) error {
	if err == nil {
		return nil
	}
	var failure *broker.Error
	if errors.As(err, &failure) {
		return failure
	}
	return &broker.Error{Kind: unreadable, Detail: "Proxmox VE's answer can't be read", Err: err}
}

// nodePath is a path below a node.
func nodePath(node, rest string) (string, error) {
	if !nodeName.MatchString(node) {
		return "", &broker.Error{Kind: broker.NotFound, Reason: broker.ReasonNodeNotFound, Detail: broker.ReasonNodeNotFound.In(broker.English, bounded(node))}
	}
	return "/nodes/" + node + rest, nil
}

// guestPath is a path below a guest.
func guestPath(node string, id int, rest string) (string, error) {
	if id < hypervisor.MinGuestID || id > hypervisor.MaxGuestID {
		return "", broker.InvalidField("id", "must be between %d and %d", hypervisor.MinGuestID, hypervisor.MaxGuestID)
	}
	return nodePath(node, "/qemu/"+strconv.Itoa(id)+rest)
}

package pve

import (
	"bytes"
	"encoding/json"
	"net/http"
	"sort"
	"strings"

	"gantry/server/broker"
)

// maxErrorText bounds what of PVE's words is kept.
const maxErrorText = 2000

// failedReply turns an answer that is not 2xx into an error. PVE puts its words into the status line's reason phrase and, where
// there is a body, into "message"; "errors" names bad parameters. A reverse proxy in front loses the reason but keeps the body.
func failedReply(method string, status int, reason string, body []byte) error {
	message, parameters := errorBody(body)
	if message == "" {
		message = reason
	}
	message = bounded(message)
	switch {
	case status >= 590 || status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout:
		return gatewayFailure(method, status, message)
	case len(parameters) > 0:
		return badParameters(parameters)
	case status == http.StatusUnauthorized:
		return &broker.Error{Kind: broker.HypervisorAuth, Detail: "Proxmox VE refused the credential: " + orElse(message, "not authorized")}
	case status == http.StatusForbidden:
		return forbidden(message)
	case status == http.StatusTooManyRequests:
		return &broker.Error{Kind: broker.Busy, Detail: orElse(message, "too many requests")}
	case status == http.StatusNotFound:
		return &broker.Error{Kind: broker.NotFound, Detail: orElse(message, "not found")}
	case status == http.StatusNotImplemented:
		return &broker.Error{Kind: broker.Unsupported, Reason: broker.ReasonUnsupported, Detail: "Proxmox VE can't do this: " + orElse(message, "not implemented")}
	case message == "":
		return broker.Errorf(broker.Failed, "Proxmox VE answered %d without a word", status)
	}
	return classify(message)
}

// gatewayFailure is about pveproxy (or a proxy in front) not getting through to the node or daemon that should answer.
// AnyEvent::HTTP, which pveproxy uses between nodes, gives 595 when no connection came about: nothing was done. All others can
// come after the request was passed on.
func gatewayFailure(method string, status int, message string) error {
	detail := orElse(message, http.StatusText(status))
	if method != http.MethodGet && status != 595 && status != http.StatusServiceUnavailable {
		return &broker.Error{Kind: broker.UnknownOutcome, Detail: "the node broke off while it worked: " + detail}
	}
	return broker.Because(broker.Unreachable, broker.ReasonHypervisorUnreachable, detail)
}

// forbidden keeps what is missing: "Permission check failed (/vms/110, VM.Audit)".
func forbidden(message string) error {
	if strings.Contains(message, "does not exist)") { // a missing pool reads like this
		return &broker.Error{Kind: broker.NotFound, Detail: message}
	}
	return &broker.Error{Kind: broker.HypervisorAuth, Detail: "the credential lacks a privilege on Proxmox VE: " + orElse(message, "permission denied")}
}

func errorBody(body []byte) (string, map[string]string) {
	trimmed := bytes.TrimSpace(body)
	if len(trimmed) == 0 {
		return "", nil
	}
	var parsed struct {
		Message string                     `json:"message"`
		Errors  map[string]json.RawMessage `json:"errors"`
	}
	if json.Unmarshal(trimmed, &parsed) != nil {
		return "", nil // HTML of a proxy or a Perl message: the status line says more
	}
	parameters := make(map[string]string, len(parsed.Errors))
	for name, raw := range parsed.Errors {
		var text string
		if json.Unmarshal(raw, &text) != nil {
			text = string(raw)
		}
		parameters[bounded(name)] = bounded(text)
	}
	return parsed.Message, parameters
}

// badParameters names the first bad parameter (by name) as the field and tells all. What PVE says about a parameter may be about
// the world and not about the caller: a missing storage, a taken id, an option for root only.
func badParameters(parameters map[string]string) error {
	names := make([]string, 0, len(parameters))
	for name := range parameters {
		names = append(names, name)
	}
	sort.Strings(names)
	first := parameters[names[0]]
	switch {
	case strings.Contains(first, "Only root may use this option"):
		return &broker.Error{Kind: broker.HypervisorAuth, Field: names[0], Detail: "only root@pam with a password may use this option"}
	case strings.Contains(first, "no such task"), strings.Contains(first, "No such storage"), strings.Contains(first, "does not exist"):
		return &broker.Error{Kind: broker.NotFound, Field: names[0], Detail: first}
	case strings.Contains(first, "already exists"):
		return &broker.Error{Kind: broker.Exists, Field: names[0], Detail: first}
	}
	texts := make([]string, 0, len(names))
	for i, name := range names {
		if i == 0 {
			texts = append(texts, parameters[name])
			continue
		}
		texts = append(texts, name+": "+parameters[name])
	}
	return &broker.Error{Kind: broker.Invalid, Field: names[0], Detail: bounded(strings.Join(texts, "; "))}
}

// word is a text that PVE uses, in status lines and as a task's exit status, and what it means.
type word struct {
	text   string
	kind   broker.Kind
	reason broker.Reason
}

// words are tried in order: the first that occurs decides. Collected from the transcripts and qemu-server's source.
var words = []word{
	{"can't lock file", broker.Locked, ""},
	{"VM is locked (suspended)", broker.Conflict, ""}, // which it stays until it is resumed
	{"VM is locked", broker.Locked, ""},
	{"cfs-lock", broker.Locked, ""},
	{"error with cfs lock", broker.Locked, ""},
	{"trying to acquire lock", broker.Locked, ""},
	{"checksum mismatch (file change", broker.Locked, ""}, // the digest: somebody else changed the configuration in between
	{"detected modified configuration", broker.Locked, ""},
	{"got no worker upid", broker.UnknownOutcome, ""}, // the worker was forked, its id lost
	{"refusing to override existing file", broker.Exists, ""},
	{"already exists", broker.Exists, ""},
	{"config file already exists", broker.Exists, ""},
	{"is running - destroy failed", broker.Conflict, ""},
	{"protection mode enabled", broker.Conflict, ""},
	{"not running", broker.Conflict, broker.ReasonVMNotRunning},
	{"is still in use by linked clone", broker.Conflict, ""},
	{"hostname lookup", broker.NotFound, broker.ReasonNodeNotFound},
	{"no such cluster node", broker.NotFound, broker.ReasonNodeNotFound},
	{"Configuration file 'nodes/", broker.NotFound, broker.ReasonVMNotFound},
	{"unable to find configuration file for VM", broker.NotFound, broker.ReasonVMNotFound},
	{"failed to stat '", broker.NotFound, broker.ReasonImageNotOnNode},
	{"No such storage", broker.NotFound, broker.ReasonStorageNotFound},
	{"is not configured for content-type", broker.NotFound, broker.ReasonStorageNotFound},
	{"does not support content-type", broker.NotFound, broker.ReasonStorageNotFound},
	{"is not available on node", broker.NotFound, broker.ReasonStorageNotFound},
	{"only root can", broker.HypervisorAuth, ""},
	{"Only root can", broker.HypervisorAuth, ""},
	{"Permission check failed", broker.HypervisorAuth, ""},
	{"No space left on device", broker.Exhausted, broker.ReasonStorageFull},
	{"not enough space", broker.Exhausted, broker.ReasonStorageFull},
	{"insufficient free space", broker.Exhausted, broker.ReasonStorageFull},
	{"out of space", broker.Exhausted, broker.ReasonStorageFull},
	{"Quota exceeded", broker.Exhausted, broker.ReasonStorageFull},
	{"cluster not ready - no quorum", broker.Unreachable, broker.ReasonHypervisorUnreachable}, // pmxcfs is read-only: nothing was changed
}

// classify gives PVE's words a kind; Failed when they are not known.
func classify(message string) error {
	for _, each := range words {
		if strings.Contains(message, each.text) {
			return &broker.Error{Kind: each.kind, Reason: each.reason, Detail: message}
		}
	}
	if strings.Contains(message, "does not exist") {
		return &broker.Error{Kind: broker.NotFound, Reason: missingThing(message), Detail: message}
	}
	return &broker.Error{Kind: broker.Failed, Detail: message}
}

// missingThing tells what does not exist: "storage 'nope' does not exist".
func missingThing(message string) broker.Reason {
	switch {
	case strings.Contains(message, "storage '"):
		return broker.ReasonStorageNotFound
	case strings.Contains(message, ":import/"):
		return broker.ReasonImageNotOnNode
	}
	return ""
}

func bounded(text string) string {
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text))
	if len(text) > maxErrorText {
		return strings.ToValidUTF8(text[:maxErrorText], "") + "…"
	}
	return text
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

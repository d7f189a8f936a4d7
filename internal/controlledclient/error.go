package controlledclient

import "fmt"

// Kind says what a failed call means for the caller.
type Kind string

const (
	// KindUnreachable: no connection, nothing was sent. Trying again is safe.
	KindUnreachable Kind = "unreachable"
	// KindUntrusted: the peer shows another certificate than the pinned one; nothing was sent. Err is *tlspin.MismatchError.
	KindUntrusted Kind = "untrusted"
	// KindUnknown: the request was sent and its reply was lost or is unreadable. The daemon may have done it.
	KindUnknown Kind = "unknown_outcome"
	// KindAuth: the secret is wrong.
	KindAuth Kind = "auth"
	// KindNotFound: the path, file or operation does not exist, or the daemon does not know the call.
	KindNotFound Kind = "not_found"
	// KindRefused: the daemon understood and said no; Reason and Message tell why.
	KindRefused Kind = "refused"
)

// Error is every error that a Client's methods return.
type Error struct {
	Kind    Kind
	Call    string // for instance "POST /importDisk"
	Reason  Reason // set when Kind is KindRefused or KindNotFound and the daemon is ours
	Field   string // the field at fault, when the daemon named one
	Message string // the daemon's words
	Err     error  // the underlying error when no envelope came back
}

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("controlled %s: %s: %v", e.Call, e.Kind, e.Err)
	}
	return fmt.Sprintf("controlled %s: %s: %s", e.Call, e.Kind, e.Message)
}

func (e *Error) Unwrap() error { return e.Err }

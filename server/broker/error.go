// Package broker is Gantry's domain: its nouns, its rules, the ports it needs and the one error type.
// It imports no web framework, no database library and no hypervisor driver.
package broker

import (
	"errors"
	"fmt"
)

// Kind says what sort of failure an Error is; callers act on the kind, people read the message.
type Kind string

const (
	// Invalid: the caller sent something that can never work. Field names the culprit.
	Invalid Kind = "invalid"
	// NotFound: the thing does not exist here or on the hypervisor.
	NotFound Kind = "not_found"
	// Exists: the thing exists already (duplicate name, VMID in use, same order with another body).
	Exists Kind = "exists"
	// Conflict: the thing is in a state that forbids the action (a running task, an address in use, a foreign owner).
	Conflict Kind = "conflict"
	// Locked: the hypervisor holds a lock for now; the same call may succeed later.
	Locked Kind = "locked"
	// Busy: too much going on (queue full, throttled); retry later.
	Busy Kind = "busy"
	// Unreachable: the hypervisor, node or daemon did not answer; nothing is known to have changed.
	Unreachable Kind = "unreachable"
	// UnknownOutcome: a request was sent and its reply was lost. It may have been carried out: look before doing it again.
	UnknownOutcome Kind = "unknown_outcome"
	// Unauthenticated: no or wrong credentials of the caller.
	Unauthenticated Kind = "unauthenticated"
	// Forbidden: the caller is known and may not do this.
	Forbidden Kind = "forbidden"
	// HypervisorAuth: the hypervisor or daemon refused our credential or its privileges.
	HypervisorAuth Kind = "hypervisor_auth"
	// Exhausted: no free address, VMID, room or quota is left.
	Exhausted Kind = "exhausted"
	// Unsupported: this hypervisor, version or node can't do it.
	Unsupported Kind = "unsupported"
	// Failed: the hypervisor tried and failed; the message carries its words.
	Failed Kind = "failed"
	// Internal: a defect of ours. Outside it reads "internal error"; inside it is logged whole.
	Internal Kind = "internal"
)

// Error is the only error type that crosses package borders inside the server.
type Error struct {
	Kind Kind
	// Reason is a stable machine-readable word of the catalogue in reasons.go, e.g. "address_pool_exhausted". May be empty.
	Reason Reason
	// Field names the offending input as the caller spelled it, e.g. "nodeid". May be empty.
	Field string
	// Detail is plain English for people; it never holds a secret or a stack.
	Detail string
	// Args filled the reason's text in; with them it can be said in another language, see DetailIn.
	Args []any
	// Refused lists the nodes that did not take an order that could have gone to any of them.
	Refused []NodeRefusal
	// Err is the cause, for logs only.
	Err error
}

// Error is for logs: it includes the cause.
func (e *Error) Error() string {
	text := string(e.Kind)
	if e.Field != "" {
		text += " " + e.Field
	}
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error of a kind with a formatted detail for people.
func Errorf(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Detail: fmt.Sprintf(format, args...)}
}

// InvalidField makes an Invalid error that names the field.
func InvalidField(field, format string, args ...any) *Error {
	return &Error{Kind: Invalid, Field: field, Detail: fmt.Sprintf(format, args...)}
}

// Because makes an Error with a catalogued reason; its detail is the reason's English text with args filled in.
func Because(kind Kind, reason Reason, args ...any) *Error {
	return &Error{Kind: kind, Reason: reason, Detail: reason.In(English, args...), Args: args}
}

// Wrap keeps the kind of err when it is an Error already, else makes it Internal, and says what was being done.
func Wrap(err error, doing string) error {
	if err == nil {
		return nil
	}
	var known *Error
	if errors.As(err, &known) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return &Error{Kind: Internal, Err: fmt.Errorf("%s: %w", doing, err)}
}

// KindOf gives the kind of the first Error in err's chain; Internal when there is none, "" for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	var known *Error
	if errors.As(err, &known) {
		return known.Kind
	}
	return Internal
}

// Is tells whether err is of the kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }

// DetailOf gives text that may be shown to people: the detail of the first Error, else "internal error".
func DetailOf(err error) string {
	var known *Error
	if !errors.As(err, &known) || known.Kind == Internal || known.Detail == "" {
		return "internal error"
	}
	if known.Field != "" {
		return known.Field + ": " + known.Detail
	}
	return known.Detail
}

// DetailIn is DetailOf in a language, as far as the error has a catalogued reason; else it is English.
func DetailIn(err error, language Language) string {
	var known *Error
	if !errors.As(err, &known) || known.Kind == Internal || known.Reason == "" || language == English {
		return DetailOf(err)
	}
	detail := known.Reason.In(language, known.Args...)
	if known.Field != "" {
		return known.Field + ": " + detail
	}
	return detail
}

// Temporary tells whether the same action may succeed later without anybody changing anything.
func Temporary(err error) bool {
	switch KindOf(err) {
	case Locked, Busy, Unreachable:
		return true
	}
	return false
}

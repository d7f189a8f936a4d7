// Package apierror is the error that a Proxmox VE API call answers with: a status, the reason phrase that carries the text,
// and the texts for single parameters.
package apierror

import (
	"errors"
	"fmt"
	"strings"
)

// Error is an answer other than 200. Message may end in a newline, as Perl's die texts do: the reason phrase leaves it out, the
// JSON body keeps it.
type Error struct {
	Status  int
	Message string
	Params  map[string]string
	// EmptyBody marks answers of the authentication stage and of unreachable nodes, which have neither body nor content type.
	EmptyBody bool
	// PlainBody marks answers of the HTTP layer whose body is the bare text.
	PlainBody bool
}

func (e *Error) Error() string { return strings.TrimRight(e.Message, "\n") }

// Reason is the text of the status line: the message's first line.
func (e *Error) Reason() string {
	first, _, _ := strings.Cut(strings.ReplaceAll(e.Message, "\r", ""), "\n")
	return first
}

// New makes an error with the given status; the message gets the newline that PVE's exceptions have.
func New(status int, format string, args ...any) *Error {
	return &Error{Status: status, Message: fmt.Sprintf(format, args...) + "\n"}
}

// Die is PVE's plain die: status 500.
func Die(format string, args ...any) *Error { return New(500, format, args...) }

// Param is a parameter error (400) for one parameter.
func Param(name, format string, args ...any) *Error {
	return Params(map[string]string{name: fmt.Sprintf(format, args...)})
}

// Params is a parameter error for several parameters.
func Params(texts map[string]string) *Error {
	return &Error{Status: 400, Message: "Parameter verification failed.\n", Params: texts}
}

// Forbidden is a failed permission check.
func Forbidden(detail string) *Error {
	if detail == "" {
		return New(403, "Permission check failed")
	}
	return New(403, "Permission check failed (%s)", detail)
}

// As finds the API error in err; any other error is answered with 500 and its text, as a Perl die would be.
func As(err error) *Error {
	var api *Error
	if errors.As(err, &api) {
		return api
	}
	return Die("%s", err.Error())
}

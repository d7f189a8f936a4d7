package vncproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"

	"github.com/coder/websocket"

	"gantry/internal/consoleapi"
	"gantry/internal/tlspin"
	"gantry/vncproxy/rfb"
)

// reasonBrowserLeft is for log and metrics only: the browser that left needs no reason.
const reasonBrowserLeft consoleapi.Reason = "browser_left"

// targetFailure says why a console could not be opened, fit for the browser: no address, no ticket.
func targetFailure(err error) *consoleapi.Refusal {
	var broker *consoleapi.Refusal
	if errors.As(err, &broker) { // its word about a screen that it opens
		return &consoleapi.Refusal{Reason: broker.Reason, Detail: broker.Detail, Err: plainCause(err)}
	}
	refusal := &consoleapi.Refusal{Reason: consoleapi.ReasonTargetFailed, Err: plainCause(err)}
	var status *statusError
	var refused *rfb.RefusedError
	var mismatch *tlspin.MismatchError
	switch {
	case errors.As(err, &refused):
		refusal.Detail = consoleapi.PlainText(refused.Reason)
		if refused.Authentication {
			refusal.Reason = consoleapi.ReasonTargetRefused
		}
	case errors.Is(err, rfb.ErrPasswordWanted):
		refusal.Reason = consoleapi.ReasonTargetRefused
	case errors.As(err, &mismatch):
		refusal.Detail = "the node shows another TLS certificate than the one on record"
	case errors.As(err, &status):
		refusal.Reason = statusReason(status.code)
	case errors.Is(err, rfb.ErrProtocol), errors.Is(err, rfb.ErrNoSecurity):
	case isClosed(err):
		// PVE answers so when the guest went off, or its ticket ran out, between the ticket and the connection.
		refusal.Reason = consoleapi.ReasonTargetClosed
	case isUnreachable(err):
		refusal.Reason = consoleapi.ReasonUnreachable
	}
	return refusal
}

// targetLost says why a running console ended on the target's side.
func targetLost(err error) *consoleapi.Refusal {
	return &consoleapi.Refusal{Reason: consoleapi.ReasonTargetClosed, Err: plainCause(err)}
}

// browserFailure says why a console ended on the browser's side.
func browserFailure(err error) *consoleapi.Refusal {
	reason := reasonBrowserLeft
	var refused *rfb.RefusedError
	if errors.As(err, &refused) {
		return &consoleapi.Refusal{Reason: consoleapi.ReasonWrongPassword}
	}
	if errors.Is(err, errTextFrame) || errors.Is(err, rfb.ErrProtocol) {
		reason = consoleapi.ReasonProtocol
	}
	return &consoleapi.Refusal{Reason: reason, Err: plainCause(err)}
}

// statusReason reads the answer of a PVE node: 401 for a ticket that is too old, 595 to 599 for a node behind it that is down.
func statusReason(code int) consoleapi.Reason {
	switch {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return consoleapi.ReasonTargetRefused
	case code == http.StatusBadGateway || code == http.StatusServiceUnavailable || code == http.StatusGatewayTimeout || code >= 590:
		return consoleapi.ReasonUnreachable
	}
	return consoleapi.ReasonTargetFailed
}

func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || websocket.CloseStatus(err) != -1
}

// isUnreachable looks for failures of the network itself: a net.Error would not do, as every error of an HTTP client is one.
func isUnreachable(err error) bool {
	var operation *net.OpError
	var name *net.DNSError
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &operation) || errors.As(err, &name)
}

// plainCause reduces an error to what may be logged: dial errors name the target's address and the whole URL with its ticket.
func plainCause(err error) error {
	var status *statusError
	var refused *rfb.RefusedError
	var mismatch *tlspin.MismatchError
	var errno syscall.Errno
	var dns *net.DNSError
	for _, safe := range []error{
		rfb.ErrProtocol, rfb.ErrPasswordWanted, rfb.ErrNoSecurity, errTextFrame,
		context.DeadlineExceeded, context.Canceled, net.ErrClosed, io.ErrUnexpectedEOF, io.EOF,
	} {
		if errors.Is(err, safe) {
			return safe
		}
	}
	switch {
	case errors.Is(err, consoleapi.ErrTarget):
		return err // names fields only
	case errors.As(err, &status):
		return status
	case errors.As(err, &refused):
		return refused
	case errors.As(err, &mismatch):
		return mismatch
	case errors.As(err, &errno):
		return errno
	case errors.As(err, &dns):
		return errors.New("the target's name can't be resolved")
	case websocket.CloseStatus(err) != -1:
		return fmt.Errorf("websocket closed with %d", int(websocket.CloseStatus(err)))
	}
	return fmt.Errorf("%T", innermost(err))
}

func innermost(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

func httpStatus(code int) string {
	if text := http.StatusText(code); text != "" {
		return strconv.Itoa(code) + " " + text
	}
	return strconv.Itoa(code)
}

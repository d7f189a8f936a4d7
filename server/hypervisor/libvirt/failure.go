package libvirt

import (
	"context"
	"errors"
	"strings"

	golibvirt "github.com/digitalocean/go-libvirt"

	"gantry/server/broker"
)

// kinds of libvirt's error codes (virErrorNumber). What is not here is Failed.
var kinds = map[golibvirt.ErrorNumber]broker.Kind{
	golibvirt.ErrNoDomain: broker.NotFound, golibvirt.ErrNoStoragePool: broker.NotFound, golibvirt.ErrNoStorageVol: broker.NotFound,
	golibvirt.ErrNoNetwork: broker.NotFound, golibvirt.ErrNoNwfilter: broker.NotFound, golibvirt.ErrNoInterface: broker.NotFound,
	golibvirt.ErrNoDomainMetadata: broker.NotFound, golibvirt.ErrStorageVolExist: broker.Exists, golibvirt.ErrDomExist: broker.Exists,
	golibvirt.ErrOperationTimeout: broker.Locked, golibvirt.ErrResourceBusy: broker.Locked,
	golibvirt.ErrAuthFailed: broker.HypervisorAuth, golibvirt.ErrAuthCancelled: broker.HypervisorAuth,
	golibvirt.ErrAuthUnavailable: broker.HypervisorAuth, golibvirt.ErrAccessDenied: broker.HypervisorAuth,
	golibvirt.ErrOperationDenied: broker.HypervisorAuth, golibvirt.ErrNoSupport: broker.Unsupported,
	golibvirt.ErrConfigUnsupported: broker.Unsupported, golibvirt.ErrOperationUnsupported: broker.Unsupported,
	golibvirt.ErrArgumentUnsupported: broker.Unsupported, golibvirt.ErrAgentUnresponsive: broker.Unreachable,
	golibvirt.ErrNoMemory: broker.Exhausted, golibvirt.ErrOperationInvalid: broker.Conflict,
}

const longestWords = 2000

// failure turns what go-libvirt gave into the broker's error. changing tells that the call may have had an effect.
func failure(err error, changing bool) error {
	if err == nil {
		return nil
	}
	var answered golibvirt.Error
	if !errors.As(err, &answered) {
		if errors.Is(err, golibvirt.ErrUnsupported) {
			return &broker.Error{Kind: broker.Unsupported, Detail: "this libvirt is too old for it", Err: err}
		}
		var known *broker.Error
		if errors.As(err, &known) {
			return err
		}
		return lost(err, changing)
	}
	words := answered.Message
	if len(words) > longestWords {
		words = strings.ToValidUTF8(words[:longestWords], "")
	}
	kind, known := kinds[golibvirt.ErrorNumber(answered.Code)]
	switch {
	case strings.Contains(words, "No space left on device"):
		kind = broker.Exhausted
	case strings.Contains(words, "already exists with uuid"), strings.Contains(words, "is already defined with uuid"):
		kind = broker.Exists
	case strings.Contains(words, "cannot acquire state change lock"), strings.Contains(words, "is still being allocated"),
		strings.Contains(words, "is still in use"), strings.Contains(words, "has asynchronous jobs running"):
		kind = broker.Locked
	case !known:
		kind = broker.Failed
	}
	return &broker.Error{Kind: kind, Detail: words, Err: err}
}

// lost is the error of a call whose answer did not come.
func lost(err error, changing bool) error {
	if changing {
		return &broker.Error{Kind: broker.UnknownOutcome, Detail: "the connection was lost before libvirt answered", Err: err}
	}
	return &broker.Error{Kind: broker.Unreachable, Detail: "libvirt did not answer", Err: err}
}

// unreachable is the error of a connection that did not come about; one that says more is kept.
func unreachable(err error) error {
	var known *broker.Error
	if errors.As(err, &known) {
		return err
	}
	detail := "libvirt can't be reached"
	if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		detail += ": " + err.Error()
	}
	return &broker.Error{Kind: broker.Unreachable, Detail: detail, Err: err}
}

// refusedConnect tells a libvirtd that refuses us from one that went away in the middle of the handshake.
func refusedConnect(err error) error {
	var answered golibvirt.Error
	if errors.As(err, &answered) {
		return failure(err, false)
	}
	return err
}

// unsupported says in the words of all drivers that something can't be done here.
func unsupported(what string) *broker.Error {
	return broker.Because(broker.Unsupported, broker.ReasonUnsupported, what)
}

package fleet

import (
	"context"
	"encoding/hex"
	"errors"
	"net/url"
	"time"

	"gantry/internal/controlledclient"
	"gantry/internal/tlspin"
	"gantry/server/broker"
)

type openDaemon struct {
	client  *controlledclient.Client
	daemon  broker.Daemon
	checked time.Time
}

// Daemon gives the client of a node's `gantry controlled`; Unsupported when the node has none.
func (f *Fleet) Daemon(ctx context.Context, node int64) (*controlledclient.Client, error) {
	f.mutex.Lock()
	known := f.daemons[node]
	f.mutex.Unlock()
	if known != nil && f.now().Sub(known.checked) < driverLifetime {
		return known.client, nil
	}
	row, err := f.store.FindNode(ctx, node)
	if err != nil {
		return nil, err
	}
	if row.Daemon.URL == "" {
		return nil, broker.Errorf(broker.Unsupported, "node %s has no `gantry controlled`", row.Name)
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if known = f.daemons[node]; known != nil && known.daemon.URL == row.Daemon.URL && known.daemon.Secret == row.Daemon.Secret && known.daemon.TLSPin == row.Daemon.TLSPin {
		known.checked = f.now()
		return known.client, nil
	}
	client, err := openDaemonClient(row.Daemon)
	if err != nil {
		return nil, err
	}
	f.daemons[node] = &openDaemon{client: client, daemon: row.Daemon, checked: f.now()}
	return client, nil
}

func openDaemonClient(daemon broker.Daemon) (*controlledclient.Client, error) {
	pin, err := tlspin.Parse(daemon.TLSPin)
	if err != nil {
		return nil, broker.InvalidField("controllerPin", "is not a SHA-256 in hex")
	}
	client, err := controlledclient.New(daemon.URL, daemon.Secret, pin)
	if err != nil {
		return nil, broker.InvalidField("controllerUrl", "must be an https URL without a path")
	}
	return client, nil
}

// CheckDaemon asks a daemon for its version. With an empty pin the certificate shown now is trusted: first use. The pin is
// returned in lower-case hex, as it is stored.
func (f *Fleet) CheckDaemon(ctx context.Context, daemon broker.Daemon) (pin, version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if daemon.TLSPin == "" {
		address, err := url.Parse(daemon.URL)
		if err != nil {
			return "", "", broker.InvalidField("controllerUrl", "must be an https URL")
		}
		seen, err := tlspin.Fetch(ctx, address.Host)
		if err != nil {
			return "", "", &broker.Error{Kind: broker.Unreachable, Detail: "the node's daemon can't be reached at " + address.Host, Err: err}
		}
		daemon.TLSPin = seen.String()
	}
	client, err := openDaemonClient(daemon)
	if err != nil {
		return "", "", err
	}
	defer client.Close()
	if version, err = client.Version(ctx); err != nil {
		return "", "", DaemonError(err)
	}
	checked, err := tlspin.Parse(daemon.TLSPin)
	if err != nil {
		return "", "", broker.Wrap(err, "read the daemon's pin")
	}
	return hex.EncodeToString(checked[:]), version, nil
}

// DaemonError turns an error of the daemon's client into one of the domain.
func DaemonError(err error) error {
	var failure *controlledclient.Error
	if !errors.As(err, &failure) {
		return broker.Wrap(err, "call the node's daemon")
	}
	converted := &broker.Error{Field: failure.Field, Detail: "the node's daemon: " + failure.Message, Err: err}
	switch failure.Kind {
	case controlledclient.KindUnreachable:
		converted.Kind, converted.Detail = broker.Unreachable, "the node's daemon can't be reached"
	case controlledclient.KindUntrusted:
		converted.Kind, converted.Detail = broker.HypervisorAuth, "the node's daemon shows another certificate than the pinned one"
	case controlledclient.KindUnknown:
		converted.Kind, converted.Detail = broker.UnknownOutcome, "the reply of the node's daemon was lost"
	case controlledclient.KindAuth:
		converted.Kind, converted.Detail = broker.HypervisorAuth, "the node's daemon refuses our secret"
	case controlledclient.KindNotFound:
		converted.Kind = broker.NotFound
	default:
		converted.Kind = broker.Failed
		switch failure.Reason {
		case controlledclient.ReasonInvalid, controlledclient.ReasonForbidden:
			converted.Kind = broker.Invalid
		case controlledclient.ReasonBusy:
			converted.Kind = broker.Busy
		case controlledclient.ReasonConflict:
			converted.Kind = broker.Conflict
		}
	}
	return converted
}

package tlspin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
)

// Pinned is a client configuration that accepts exactly the certificate with this pin. Names, issuers and dates do not
// count: the pin identifies the peer. A handshake with any other certificate fails with *MismatchError.
func Pinned(pin Pin) *tls.Config {
	return verifiedBy(func(got Pin) error {
		if !pin.matches(got) {
			return &MismatchError{Want: pin, Got: got}
		}
		return nil
	})
}

// FirstUse is a client configuration that hands the first certificate's pin to learn and holds every later connection
// to it. learn is called once at a time, inside the handshake and before any byte of the request is sent; when it fails,
// the handshake fails with its error and the next connection asks again.
func FirstUse(learn func(Pin) error) *tls.Config {
	var mu sync.Mutex
	var known Pin
	return verifiedBy(func(got Pin) error {
		mu.Lock()
		defer mu.Unlock()
		if known.IsZero() {
			if err := learn(got); err != nil {
				return err
			}
			known = got
			return nil
		}
		if !known.matches(got) {
			return &MismatchError{Want: known, Got: got}
		}
		return nil
	})
}

// Fetch returns the pin of the certificate that the peer at address ("host:port") shows. Nothing but the handshake is
// sent, so that an operator can compare the fingerprint before any credential leaves.
func Fetch(ctx context.Context, address string) (Pin, error) {
	var pin Pin
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return Pin{}, fmt.Errorf("read certificate of %s: %w", address, err)
	}
	config := FirstUse(func(got Pin) error {
		pin = got
		return nil
	})
	config.ServerName = host
	dialer := &tls.Dialer{Config: config}
	connection, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return Pin{}, fmt.Errorf("read certificate of %s: %w", address, err)
	}
	_ = connection.Close() // the pin is known; how the peer takes the goodbye changes nothing
	return pin, nil
}

func verifiedBy(check func(Pin) error) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		// The chain of a self-signed certificate proves nothing. VerifyConnection below runs on every handshake,
		// resumed ones included, and holds the peer to its pin instead.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 {
				return errors.New("the peer shows no certificate")
			}
			return check(Of(state.PeerCertificates[0]))
		},
	}
}

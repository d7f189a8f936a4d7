package libvirt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"sync"

	"gantry/internal/tlspin"
	"gantry/server/broker"
)

// transport makes connections to libvirtd, and to sockets beside it.
type transport interface {
	dial(ctx context.Context) (net.Conn, error)
	// dialSocket connects to another unix socket of the host; Unsupported where the transport reaches only libvirtd.
	dialSocket(ctx context.Context, path string) (net.Conn, error)
	// pin is what identifies the host, in lower-case hex: the given one, or the one met by Probe; "" for unix.
	pin() string
	close()
}

// probing marks the context of Probe, the one call that may go to a host whose key is not pinned yet.
type probing struct{}

func isProbe(ctx context.Context) bool { return ctx.Value(probing{}) != nil }

func newTransport(given options, pinText string) (transport, error) {
	var pin tlspin.Pin
	if pinText != "" && given.transport != overUnix {
		var err error
		if pin, err = tlspin.Parse(pinText); err != nil {
			return nil, &broker.Error{Kind: broker.Invalid, Field: "tlsPin", Detail: err.Error(), Err: err}
		}
	}
	switch given.transport {
	case overSSH:
		return newSSHTransport(given, pin)
	case overTLS:
		return newTLSTransport(given, pin)
	}
	return unixTransport{path: given.socket}, nil
}

type unixTransport struct{ path string }

func (u unixTransport) dial(ctx context.Context) (net.Conn, error) { return u.dialSocket(ctx, u.path) }

func (u unixTransport) dialSocket(ctx context.Context, path string) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", path)
	if errors.Is(err, os.ErrPermission) {
		return nil, &broker.Error{Kind: broker.HypervisorAuth, Detail: "this user may not open " + path + ": add it to the group libvirt", Err: err}
	}
	return conn, err
}

func (u unixTransport) pin() string { return "" }
func (u unixTransport) close()      {}

// known is the identity of a host: pinned from the start, or learnt by a probe and held to from then on.
type known struct {
	mu     sync.Mutex
	pinned tlspin.Pin
	// open: a host that is not pinned may be met by any call, because an authority vouches for it.
	open bool
}

// meet decides about a host that shows an identity.
func (k *known) meet(ctx context.Context, shown tlspin.Pin) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case !k.pinned.IsZero() && k.pinned != shown:
		return &broker.Error{Kind: broker.HypervisorAuth, Detail: "the host shows another key than the pinned one", Err: &tlspin.MismatchError{Want: k.pinned, Got: shown}}
	case !k.pinned.IsZero():
		return nil
	case !k.open && !isProbe(ctx):
		return broker.Errorf(broker.HypervisorAuth, "the host's key is not pinned yet")
	}
	k.pinned = shown
	return nil
}

func (k *known) pin() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pinned.IsZero() {
		return ""
	}
	return hex.EncodeToString(k.pinned[:])
}

type tlsTransport struct {
	known
	address string
	config  *tls.Config
}

func newTLSTransport(given options, pin tlspin.Pin) (*tlsTransport, error) {
	pair, err := tls.X509KeyPair([]byte(given.certificate), []byte(given.key))
	if err != nil {
		return nil, broker.InvalidField("clientCertificate", "certificate and key don't fit together, or are not PEM")
	}
	t := &tlsTransport{address: given.endpoint(), known: known{pinned: pin}}
	t.config = &tls.Config{Certificates: []tls.Certificate{pair}, ServerName: given.host, MinVersion: tls.VersionTLS12}
	if given.authority == "" {
		// Whom the host is decides its pin, in dial: libvirt's usual certificates come from an authority that nobody else knows.
		t.config.InsecureSkipVerify = true
		return t, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(given.authority)) {
		return nil, broker.InvalidField("authority", "holds no PEM certificate")
	}
	t.config.RootCAs, t.open = pool, true
	return t, nil
}

func (t *tlsTransport) dial(ctx context.Context) (net.Conn, error) {
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, "tcp", t.address)
	if err != nil {
		return nil, err
	}
	config := t.config.Clone()
	config.VerifyConnection = func(state tls.ConnectionState) error {
		return t.meet(ctx, tlspin.Of(state.PeerCertificates[0]))
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, refusedTLS(err)
	}
	// libvirtd says \x01 when it accepts our certificate, before any packet (virNetServerClientCreateTLS…: "allow client").
	var verdict [1]byte
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	_, err = conn.Read(verdict[:])
	stop()
	if err != nil || verdict[0] != 1 {
		_ = raw.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &broker.Error{Kind: broker.HypervisorAuth, Detail: "libvirtd refused the client certificate", Err: err}
	}
	return conn, nil
}

func refusedTLS(err error) error {
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var alert tls.AlertError
	switch {
	case errors.As(err, &authority), errors.As(err, &name), errors.As(err, &invalid):
		return &broker.Error{Kind: broker.HypervisorAuth, Detail: "the host's certificate is not acceptable: " + err.Error(), Err: err}
	case errors.As(err, &alert):
		return &broker.Error{Kind: broker.HypervisorAuth, Detail: "the host refused the TLS handshake: " + alert.Error(), Err: err}
	}
	return err
}

func (t *tlsTransport) dialSocket(context.Context, string) (net.Conn, error) {
	return nil, unsupported("sockets beside libvirtd's over TLS")
}

func (t *tlsTransport) close() {}

package libvirttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TLS is a way to a host through libvirtd's TLS port. All texts are PEM.
type TLS struct {
	Host, Port string
	// Authority signed the certificates of server and client; Stranger's certificate it did not.
	Authority, Certificate, Key string
	StrangerCertificate         string
	StrangerKey                 string
	// Pin is the SHA-256 of the server's certificate in hex.
	Pin string
}

const tlsPort = "16514"

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	text        string
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	return &authority{certificate: certificate, key: key, text: encode("CERTIFICATE", der)}, err
}

func (a *authority) sign(name string) (certificate, key, pin string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, private.Public(), a.key)
	if err != nil {
		return "", "", "", err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", "", err
	}
	sum := sha256.Sum256(der)
	return encode("CERTIFICATE", der), encode("PRIVATE KEY", keyDER), hex.EncodeToString(sum[:]), nil
}

func encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// makeTLS writes what libvirtd needs for its TLS port.
func (h *Host) makeTLS() error {
	own, err := newAuthority()
	if err != nil {
		return err
	}
	other, err := newAuthority()
	if err != nil {
		return err
	}
	folder := filepath.Join(h.folder, "tls")
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	server, serverKey, pin, err := own.sign("libvirtd")
	if err != nil {
		return err
	}
	h.tls = TLS{Host: "127.0.0.1", Authority: own.text, Pin: pin}
	if h.tls.Certificate, h.tls.Key, _, err = own.sign("gantry"); err != nil {
		return err
	}
	if h.tls.StrangerCertificate, h.tls.StrangerKey, _, err = other.sign("stranger"); err != nil {
		return err
	}
	for name, text := range map[string]string{
		"authority.pem": own.text, "server.pem": server, "server.key": serverKey,
		tlsConfiguration: fmt.Sprintf("listen_tls = 1\nlisten_addr = \"127.0.0.1\"\ntls_port = %q\nauth_tls = \"none\"\nmdns_adv = 0\n"+
			"ca_file = \"%[2]s/authority.pem\"\ncert_file = \"%[2]s/server.pem\"\nkey_file = \"%[2]s/server.key\"\n", tlsPort, folder),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// TLS offers libvirtd's TLS port, which is in the host's own network, on this machine's loopback until the test ends.
func (h *Host) TLS(t testing.TB) TLS {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			go h.forward(near)
		}
	}()
	out := h.tls
	_, out.Port, err = net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (h *Host) forward(near net.Conn) {
	defer near.Close()
	far, err := h.dialInside(net.JoinHostPort("127.0.0.1", tlsPort))
	if err != nil {
		return
	}
	defer far.Close()
	go func() {
		_, _ = io.Copy(far, near)
		_ = far.Close()
	}()
	_, _ = io.Copy(near, far)
}

// dialInside connects in the host's network. A thread that has been there is not used for anything else: it ends with its goroutine.
func (h *Host) dialInside(address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	dialled := make(chan result)
	go func() {
		runtime.LockOSThread()
		namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", h.process.Process.Pid))
		if err == nil {
			defer namespace.Close()
			err = unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET)
		}
		var conn net.Conn
		if err == nil {
			conn, err = net.Dial("tcp", address)
		}
		dialled <- result{conn, err}
	}()
	got := <-dialled
	return got.conn, got.err
}

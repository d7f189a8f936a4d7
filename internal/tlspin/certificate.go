package tlspin

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certificateFile holds key and certificate in one file, so that a crash can never leave a pair that does not fit.
const certificateFile = "certificate.pem"

// validity outlives any installation: peers go by the pin, and an expiry would only break those who check dates.
const validity = 30 * 365 * 24 * time.Hour

// Certificate returns the self-signed certificate kept in dir (file certificate.pem, mode 0600) and its pin. The first
// call makes it, with hosts (names or addresses, may be none) as subject alternative names. A damaged file is an error and is never replaced,
// because a new certificate would lock out every peer that pinned the old one.
func Certificate(dir string, hosts ...string) (tls.Certificate, Pin, error) {
	path := filepath.Join(dir, certificateFile)
	pair, err := load(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := create(path, hosts); err != nil {
			return tls.Certificate{}, Pin{}, fmt.Errorf("create certificate: %w", err)
		}
		pair, err = load(path)
	}
	if err != nil {
		return tls.Certificate{}, Pin{}, fmt.Errorf("load certificate: %w", err)
	}
	return pair, Of(pair.Leaf), nil
}

func load(path string) (tls.Certificate, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(content, content)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s: %w", path, err)
	}
	return pair, nil
}

// create publishes the file with link(2), which fails when it exists: of two processes starting at once, one wins and both load its file.
func create(path string, hosts []string) error {
	content, err := generate(hosts)
	if err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), certificateFile+".*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	if _, err := temporary.Write(content); err != nil {
		return errors.Join(err, temporary.Close())
	}
	if err := temporary.Sync(); err != nil {
		return errors.Join(err, temporary.Close())
	}
	if err := temporary.Close(); err != nil {
		return err
	}
	if err := os.Link(temporary.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func generate(hosts []string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{"Gantry"}, CommonName: "gantry " + serial.Text(16)[:8]},
		NotBefore:             now.Add(-24 * time.Hour),
		NotAfter:              now.Add(validity),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, host := range hosts {
		if address := net.ParseIP(host); address != nil {
			template.IPAddresses = append(template.IPAddresses, address)
			continue
		}
		template.DNSNames = append(template.DNSNames, host)
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := pem.Encode(&out, &pem.Block{Type: "PRIVATE KEY", Bytes: private}); err != nil {
		return nil, err
	}
	if err := pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: certificate}); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// Package tlspin lets programs trust each other's self-signed TLS certificates by their SHA-256 fingerprint, as Proxmox VE
// does between nodes: the first certificate seen is remembered ("pin on first use"), every later connection must show it.
package tlspin

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Pin is the SHA-256 of a certificate's DER form. Its zero value is "not pinned yet" and matches no certificate.
type Pin [sha256.Size]byte

// Of is the pin of a certificate.
func Of(certificate *x509.Certificate) Pin {
	return Pin(sha256.Sum256(certificate.Raw))
}

// Parse reads a pin of 64 hexadecimal digits in either case, with or without colons between the bytes
// ("AB:CD:…" is how PVE and openssl print a fingerprint).
func Parse(text string) (Pin, error) {
	var pin Pin
	digits := text
	if len(text) == 3*sha256.Size-1 {
		digits = strings.ReplaceAll(text, ":", "")
	}
	raw, err := hex.DecodeString(digits)
	if err != nil || len(raw) != len(pin) {
		return Pin{}, errors.New("a SHA-256 fingerprint has 64 hexadecimal digits, optionally with colons between the bytes")
	}
	copy(pin[:], raw)
	return pin, nil
}

// String is the fingerprint as PVE prints it: upper case bytes joined by colons. The zero pin is the empty string.
func (p Pin) String() string {
	if p.IsZero() {
		return ""
	}
	parts := make([]string, len(p))
	for i, b := range p {
		parts[i] = fmt.Sprintf("%02X", b)
	}
	return strings.Join(parts, ":")
}

// IsZero tells that nothing is pinned.
func (p Pin) IsZero() bool { return p == Pin{} }

// MarshalText makes a pin a string in JSON and YAML.
func (p Pin) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText wrote; empty text is the zero pin.
func (p *Pin) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*p = Pin{}
		return nil
	}
	parsed, err := Parse(string(text))
	if err != nil {
		return err
	}
	*p = parsed
	return nil
}

func (p Pin) matches(other Pin) bool {
	return !p.IsZero() && subtle.ConstantTimeCompare(p[:], other[:]) == 1
}

// MismatchError says that a peer showed another certificate than the pinned one: it was renewed, or somebody sits in between.
type MismatchError struct {
	Want Pin
	Got  Pin
}

func (e *MismatchError) Error() string {
	if e.Want.IsZero() {
		return fmt.Sprintf("no certificate is pinned, the peer shows %s", e.Got)
	}
	return fmt.Sprintf("the peer shows certificate %s, pinned is %s", e.Got, e.Want)
}

package tlspin_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"gantry/internal/tlspin"
)

const fingerprint = "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF"

func TestParse(t *testing.T) {
	plain := strings.ReplaceAll(fingerprint, ":", "")
	for name, row := range map[string]struct {
		text string
		ok   bool
	}{
		"as PVE prints it": {fingerprint, true},
		"plain":            {plain, true},
		"lower case":       {strings.ToLower(fingerprint), true},
		"empty":            {"", false},
		"too short":        {plain[:62], false},
		"too long":         {plain + "00", false},
		"no hex":           {strings.Replace(plain, "A", "G", 1), false},
		"odd colons":       {plain[:32] + ":" + plain[32:], false},
	} {
		t.Run(name, func(t *testing.T) {
			pin, err := tlspin.Parse(row.text)
			if (err == nil) != row.ok {
				t.Fatalf("Parse(%q) error = %v", row.text, err)
			}
			if row.ok && pin.String() != fingerprint {
				t.Errorf("got %s", pin)
			}
		})
	}
}

func TestPinTextRoundTrip(t *testing.T) {
	for _, text := range []string{"", fingerprint} {
		var pin tlspin.Pin
		if err := pin.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, _ := pin.MarshalText(); string(got) != text {
			t.Errorf("got %q, want %q", got, text)
		}
	}
	var pin tlspin.Pin
	if err := pin.UnmarshalText([]byte("xx")); err == nil {
		t.Error("a bad fingerprint was taken")
	}
}

func TestCertificateIsMadeOnceAndKept(t *testing.T) {
	dir := t.TempDir()
	var group sync.WaitGroup
	pins := make([]tlspin.Pin, 8)
	for i := range pins {
		group.Go(func() {
			_, pin, err := tlspin.Certificate(dir, "127.0.0.1", "node1")
			if err != nil {
				t.Error(err)
			}
			pins[i] = pin
		})
	}
	group.Wait()
	for _, pin := range pins {
		if pin != pins[0] || pin.IsZero() {
			t.Fatalf("starts at once disagree: %v", pins)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "certificate.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %o", info.Mode().Perm())
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
	pair, _, err := tlspin.Certificate(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := pair.Leaf.VerifyHostname("node1"); err != nil {
		t.Error(err)
	}
	if err := pair.Leaf.VerifyHostname("127.0.0.1"); err != nil {
		t.Error(err)
	}
}

func TestDamagedCertificateIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "certificate.pem")
	if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := tlspin.Certificate(dir); err == nil {
		t.Error("a damaged file was accepted")
	}
	if content, _ := os.ReadFile(path); string(content) != "damaged" {
		t.Error("a damaged file was replaced")
	}
}

// serve answers every request with its path and returns the server's pin.
func serve(t *testing.T) (*httptest.Server, tlspin.Pin) {
	t.Helper()
	pair, pin, err := tlspin.Certificate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.URL.Path)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.Config.ErrorLog = nil
	server.StartTLS()
	t.Cleanup(server.Close)
	return server, pin
}

func get(config *tls.Config, url string) error {
	client := http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	reply, err := client.Get(url)
	if err != nil {
		return err
	}
	return reply.Body.Close()
}

func TestPinned(t *testing.T) {
	server, pin := serve(t)
	if err := get(tlspin.Pinned(pin), server.URL); err != nil {
		t.Errorf("right pin: %v", err)
	}
	other := pin
	other[31] ^= 1
	for name, wrong := range map[string]tlspin.Pin{"wrong pin": other, "no pin": {}} {
		var mismatch *tlspin.MismatchError
		if err := get(tlspin.Pinned(wrong), server.URL); !errors.As(err, &mismatch) || mismatch.Got != pin || mismatch.Want != wrong {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestFirstUse(t *testing.T) {
	first, firstPin := serve(t)
	second, _ := serve(t)
	refusal := errors.New("the store is down")
	var learned []tlspin.Pin
	fail := true
	config := tlspin.FirstUse(func(pin tlspin.Pin) error {
		if fail {
			return refusal
		}
		learned = append(learned, pin)
		return nil
	})
	if err := get(config, first.URL); !errors.Is(err, refusal) {
		t.Errorf("a pin that could not be stored was trusted: %v", err)
	}
	fail = false
	for range 2 {
		if err := get(config, first.URL); err != nil {
			t.Error(err)
		}
	}
	var mismatch *tlspin.MismatchError
	if err := get(config, second.URL); !errors.As(err, &mismatch) {
		t.Errorf("another certificate was accepted: %v", err)
	}
	if len(learned) != 1 || learned[0] != firstPin {
		t.Errorf("learned %v", learned)
	}
}

func TestFetch(t *testing.T) {
	server, pin := serve(t)
	got, err := tlspin.Fetch(context.Background(), server.Listener.Addr().String())
	if err != nil || got != pin {
		t.Errorf("Fetch = %s, %v", got, err)
	}
	server.Close()
	if _, err := tlspin.Fetch(context.Background(), server.Listener.Addr().String()); err == nil {
		t.Error("a closed port gave a pin")
	}
	if _, err := tlspin.Fetch(context.Background(), "no-port"); err == nil {
		t.Error("an address without port was taken")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(fingerprint)
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		pin, err := tlspin.Parse(text)
		if err != nil {
			return
		}
		again, err := tlspin.Parse(pin.String())
		if !pin.IsZero() && (err != nil || again != pin) {
			t.Errorf("%q → %s does not parse back", text, pin)
		}
	})
}

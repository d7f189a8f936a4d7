package healthcheck

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gantry/internal/tlspin"
)

func TestDialAddress(t *testing.T) {
	for listen, want := range map[string]string{
		":8080":            "127.0.0.1:8080",
		"0.0.0.0:8080":     "127.0.0.1:8080",
		"[::]:8080":        "[::1]:8080",
		"192.0.2.1:8080":   "192.0.2.1:8080",
		"localhost:8080":   "localhost:8080",
		"[2001:db8::1]:80": "[2001:db8::1]:80",
		"127.0.0.1:0":      "",
		"nowhere":          "",
	} {
		got, err := dialAddress(listen)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q %v, want %q", listen, got, err, want)
		}
	}
}

func TestProbe(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "database is down", http.StatusServiceUnavailable)
	})
	mux.HandleFunc("GET /moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/healthz", http.StatusFound) })
	dir, other := t.TempDir(), t.TempDir()
	certificate, _, err := tlspin.Certificate(dir)
	if err != nil {
		t.Fatal(err)
	}
	plain := httptest.NewServer(mux)
	defer plain.Close()
	secure := httptest.NewUnstartedServer(mux)
	secure.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	secure.StartTLS()
	defer secure.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	// Both kinds of TLS settings of the same certificate.
	pem := filepath.Join(dir, "certificate.pem")
	selfSigned := mustSecurity(t, "", "", true, dir)
	files := mustSecurity(t, pem, pem, false, "")
	wrong := mustSecurity(t, "", "", true, other)

	for _, test := range []struct {
		name   string
		target Target
		want   string // part of the error; "" means well
	}{
		{"well", Target{Listen: address(plain), Path: "/healthz"}, ""},
		{"not ready", Target{Listen: address(plain), Path: "/readyz"}, `503 Service Unavailable: "database is down\n"`},
		{"a redirect is no answer", Target{Listen: address(plain), Path: "/moved"}, "302 Found"},
		{"nobody listens", Target{Listen: closed.Addr().String(), Path: "/healthz"}, "connection refused"},
		{"self-signed", Target{Listen: address(secure), Path: "/healthz", TLS: selfSigned}, ""},
		{"certificate of files", Target{Listen: address(secure), Path: "/healthz", TLS: files}, ""},
		{"another certificate", Target{Listen: address(secure), Path: "/healthz", TLS: wrong}, "health check: "},
	} {
		err := Probe(t.Context(), test.target)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

func TestSecurity(t *testing.T) {
	if security, err := Security("", "", false, ""); security != nil || err != nil {
		t.Errorf("plain HTTP: %v %v", security, err)
	}
	if _, err := Security("/no/such.pem", "/no/such.pem", false, ""); err == nil || !strings.Contains(err.Error(), "/no/such.pem") {
		t.Errorf("missing file: %v", err)
	}
	damaged := t.TempDir()
	if err := os.WriteFile(filepath.Join(damaged, "certificate.pem"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Security("", "", true, damaged); err == nil {
		t.Error("a damaged certificate was accepted")
	}
}

func address(server *httptest.Server) string { return server.Listener.Addr().String() }

func mustSecurity(t *testing.T, certificate, key string, selfSigned bool, dir string) *tls.Config {
	t.Helper()
	security, err := Security(certificate, key, selfSigned, dir)
	if err != nil {
		t.Fatal(err)
	}
	return security
}

package vncproxy

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestConfigNamesTheBadSetting(t *testing.T) {
	good := DefaultConfig()
	good.Secret = "secret"
	if err := good.Validate(); err != nil {
		t.Fatalf("defaults with a secret: %v", err)
	}
	for setting, spoil := range map[string]func(*Config){
		"secret":              func(c *Config) { c.Secret = "" },
		"listen":              func(c *Config) { c.Listen = "6080" },
		"metrics_listen":      func(c *Config) { c.MetricsListen = "x" },
		"server":              func(c *Config) { c.Server = "broker:8080" },
		"server_pin":          func(c *Config) { c.ServerPin = "abc" },
		"public_url":          func(c *Config) { c.PublicURL = "console.example.com" },
		"allowed_origins":     func(c *Config) { c.AllowedOrigins = []string{"https://panel.example.com/path"} },
		"trusted_proxies":     func(c *Config) { c.TrustedProxies = []string{"10.0.0.1"} },
		"tls_certificate":     func(c *Config) { c.TLSCertificate = "cert.pem" },
		"tls_self_signed":     func(c *Config) { c.TLSSelfSigned, c.TLSCertificate, c.TLSKey = true, "c", "k" },
		"max_sessions_per_vm": func(c *Config) { c.MaxSessionsPerVM = 0 },
		"idle_timeout":        func(c *Config) { c.IdleTimeout = 0 },
	} {
		bad := good
		spoil(&bad)
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), setting) {
			t.Errorf("%s: Validate says %v", setting, err)
		}
	}
}

func TestClientAddress(t *testing.T) {
	config := DefaultConfig()
	config.Secret = "secret"
	config.TrustedProxies = []string{"127.0.0.0/8", "2001:db8::/32"}
	p, err := New(config, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ name, peer, forwarded, want string }{
		{"direct", "192.0.2.1:5000", "", "192.0.2.1"},
		{"a stranger's header is not believed", "192.0.2.1:5000", "198.51.100.1", "192.0.2.1"},
		{"behind our proxy", "127.0.0.1:5000", "198.51.100.1", "198.51.100.1"},
		{"behind two of ours", "127.0.0.1:5000", "198.51.100.1, 2001:db8::5", "198.51.100.1"},
		{"what the client made up is left of the truth", "127.0.0.1:5000", "10.9.9.9, 198.51.100.1", "198.51.100.1"},
		{"rubbish stops the walk", "127.0.0.1:5000", "198.51.100.1, unknown", "127.0.0.1"},
		{"mapped IPv4", "[::ffff:192.0.2.1]:5000", "", "192.0.2.1"},
		{"no header", "127.0.0.1:5000", "", "127.0.0.1"},
	} {
		request := httptest.NewRequest("GET", "/console/ws", nil)
		request.RemoteAddr = row.peer
		if row.forwarded != "" {
			request.Header.Set("X-Forwarded-For", row.forwarded)
		}
		if got := addressText(p.clientAddress(request)); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
}

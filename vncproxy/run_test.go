package vncproxy_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"gantry/internal/tlspin"
	"gantry/vncproxy"
)

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func TestRunServesTLSAndMetrics(t *testing.T) {
	config := vncproxy.DefaultConfig()
	config.Secret, config.DataDir, config.TLSSelfSigned = secret, t.TempDir(), true
	config.Listen, config.MetricsListen = freePort(t), freePort(t)
	_, pin, err := tlspin.Certificate(config.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- vncproxy.Run(ctx, config) }()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: tlspin.Pinned(pin)}}
	get := func(address string) (text string) {
		answer, err := client.Get(address)
		if err != nil {
			return ""
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			return ""
		}
		return string(body)
	}
	eventually(t, "health over TLS", func() bool { return strings.Contains(get("https://"+config.Listen+"/healthz"), `"status":"ok"`) })
	eventually(t, "metrics", func() bool {
		return strings.Contains(get("http://"+config.MetricsListen+"/metrics"), "gantry_vncproxy_sessions 0")
	})
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestRunFailsAtOnce(t *testing.T) {
	for setting, spoil := range map[string]func(*vncproxy.Config){
		"secret":          func(c *vncproxy.Config) { c.Secret = "" },
		"tls_certificate": func(c *vncproxy.Config) { c.TLSCertificate, c.TLSKey = "/none.pem", "/none.key" },
		"listen":          func(c *vncproxy.Config) { c.Listen = "192.0.2.1:1" },
		"metrics_listen":  func(c *vncproxy.Config) { c.MetricsListen = "192.0.2.1:1" },
	} {
		config := vncproxy.DefaultConfig()
		config.Secret, config.Listen = secret, "127.0.0.1:0"
		spoil(&config)
		if err := vncproxy.Run(t.Context(), config); err == nil || !strings.Contains(err.Error(), setting) {
			t.Errorf("%s: Run says %v", setting, err)
		}
	}
}

package logging

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestValidate(t *testing.T) {
	for _, test := range []struct {
		config Config
		want   string // "" means valid
	}{
		{DefaultConfig(), ""},
		{Config{"debug", "text"}, ""},
		{Config{"warn", "json"}, ""},
		{Config{"error", "json"}, ""},
		{Config{"", "json"}, `level: "" must be debug, info, warn or error`},
		{Config{"INFO", "json"}, `level: "INFO" must be debug, info, warn or error`},
		{Config{"info", "xml"}, `format: "xml" must be json or text`},
		{Config{"loud", ""}, "level: \"loud\" must be debug, info, warn or error\nformat: \"\" must be json or text"},
	} {
		err := test.config.Validate()
		if got := errorText(err); got != test.want {
			t.Errorf("%+v: %q, want %q", test.config, got, test.want)
		}
		if _, newErr := New(&bytes.Buffer{}, test.config); errorText(newErr) != test.want {
			t.Errorf("New(%+v): %v, want %q", test.config, newErr, test.want)
		}
	}
}

func TestLevelsAndFormats(t *testing.T) {
	var out bytes.Buffer
	log, err := New(&out, Config{Level: "warn", Format: "text"})
	if err != nil {
		t.Fatal(err)
	}
	log.Info("unseen")
	log.Warn("seen", "node", "pve1")
	if got := out.String(); strings.Contains(got, "unseen") || !strings.Contains(got, "level=WARN msg=seen node=pve1") {
		t.Errorf("text at warn: %q", got)
	}
	out.Reset()
	if log, err = New(&out, DefaultConfig()); err != nil {
		t.Fatal(err)
	}
	log.Debug("unseen")
	log.Info("seen", "node", "pve1")
	if got := out.String(); strings.Contains(got, "unseen") || !strings.Contains(got, `"level":"INFO","msg":"seen","node":"pve1"`) {
		t.Errorf("json at info: %q", got)
	}
}

func TestRedactionByName(t *testing.T) {
	for _, test := range []struct {
		attr slog.Attr
		want bool // hidden
	}{
		{slog.String("password", "S3CRET"), true},
		{slog.String("Password", "S3CRET"), true},
		{slog.String("ssh_password", "S3CRET"), true},
		{slog.String("tokenSecret", "S3CRET"), true},
		{slog.String("ticket", "S3CRET"), true},
		{slog.String("Authorization", "S3CRET"), true},
		{slog.String("Set-Cookie", "S3CRET"), true},
		{slog.String("app_key", "S3CRET"), true},
		{slog.String("CSRFPreventionToken", "S3CRET"), true},
		{slog.String("database.dsn", "S3CRET"), true},
		{slog.Any("secrets", []string{"S3CRET"}), true},
		{slog.Group("token", slog.String("value", "S3CRET")), true},
		{slog.Group("request", slog.String("cookie", "S3CRET")), true},
		{slog.Any("token", secretValue{}), true},
		{slog.String("node", "S3CRET"), false},
		{slog.Group("request", slog.String("path", "S3CRET")), false},
	} {
		for _, format := range []string{"json", "text"} {
			var out bytes.Buffer
			log, err := New(&out, Config{Level: "info", Format: format})
			if err != nil {
				t.Fatal(err)
			}
			log.Info("hello", test.attr)
			log.With(test.attr).Info("hello")
			if hidden := !strings.Contains(out.String(), "S3CRET"); hidden != test.want {
				t.Errorf("%s %v: hidden %v, want %v: %s", format, test.attr, hidden, test.want, out.String())
			}
		}
	}
}

func TestNumbersAreNoSecrets(t *testing.T) {
	var out bytes.Buffer
	log, err := New(&out, Config{Level: "info", Format: "text"})
	if err != nil {
		t.Fatal(err)
	}
	log.Info("hello", "tokenCount", 3, "tokenLifetime", 5*time.Minute, "hasPassword", true)
	if got := out.String(); !strings.Contains(got, "tokenCount=3 tokenLifetime=5m0s hasPassword=true") {
		t.Errorf("%q", got)
	}
}

func TestNilErrorPointer(t *testing.T) {
	var out bytes.Buffer
	log, err := New(&out, DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	log.Error("failed", "error", error((*fs.PathError)(nil)))
	if !strings.Contains(out.String(), `"msg":"failed"`) {
		t.Errorf("record lost: %q", out.String())
	}
}

func TestText(t *testing.T) {
	const uuid = "6f1a2b3c-0000-4000-8000-aabbccddeeff"
	for _, test := range []struct{ text, want string }{
		{"nothing to hide", "nothing to hide"},
		{"10.0.0.1:8006: connection refused", "10.0.0.1:8006: connection refused"},
		{"cookie PVEAuthCookie=PVE:root@pam:66A1B2C3::ab+/cd== sent", "cookie PVEAuthCookie=[redacted] sent"},
		{"PVEVNC:66A1B2C3 has no signature", "PVEVNC:66A1B2C3 has no signature"},
		{"PVEAPIToken=root@pam!gantry=" + uuid, "PVEAPIToken=root@pam!gantry=[redacted]"},
		{"Authorization: Basic MTIzOmFiY2RlZg==", "Authorization: Basic [redacted]"},
		{"bearer eyJhbGciOi.eyJzdWIi.c2ln", "bearer [redacted]"},
		{"raw eyJhbGciOi.eyJzdWIi.c2ln", "raw [redacted]"},
		{"dial mysql://gantry:hunter2@db:3306/gantry", "dial mysql://gantry:[redacted]@db:3306/gantry"},
		{"POST /x?password=hunter2&user=root", "POST /x?password=[redacted]&user=root"},
		{"Basic rules", "Basic rules"},
	} {
		if got := Text(test.text); got != test.want {
			t.Errorf("Text(%q) = %q, want %q", test.text, got, test.want)
		}
	}
	var out bytes.Buffer
	log, err := New(&out, DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	log.Error("PVEAPIToken=a@pam!b="+uuid, "error", errors.New("GET https://u:hunter2@h/: refused"))
	if got := out.String(); strings.Contains(got, uuid) || strings.Contains(got, "hunter2") {
		t.Errorf("message or error not redacted: %s", got)
	}
}

type secretValue struct{}

func (secretValue) LogValue() slog.Value { return slog.StringValue("S3CRET") }

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

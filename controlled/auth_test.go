package controlled

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"

	wire "gantry/internal/controlledclient"
	"gantry/internal/tlspin"
)

func TestAuthorization(t *testing.T) {
	n := newNode(t).start()
	secret := n.server.Secret()
	for name, row := range map[string]struct {
		path, header string
		status       int
		body         string
	}{
		"documented":         {"/status", secret, 200, `{"code":200,"message":"success","data":{"status":"running"}}`},
		"bearer":             {"/version", "Bearer " + secret, 200, `{"code":200,"message":"success","data":{"version":"1.2.3"}}`},
		"none":               {"/status", "", 401, `{"code":401,"message":"Authentication failed!","data":{}}`},
		"wrong":              {"/status", strings.Repeat("0", 64), 401, `{"code":401,"message":"Authentication failed!","data":{}}`},
		"prefix":             {"/status", secret[:63], 401, `{"code":401,"message":"Authentication failed!","data":{}}`},
		"longer":             {"/status", secret + "0", 401, `{"code":401,"message":"Authentication failed!","data":{}}`},
		"bearer only":        {"/status", "Bearer ", 401, `{"code":401,"message":"Authentication failed!","data":{}}`},
		"unknown route":      {"/vnc", secret, 404, `{"code":404,"message":"Not Found","data":{}}`},
		"unknown, no secret": {"/vnc", "", 401, `{"code":401,"message":"Authentication failed!","data":{}}`},
		"a call of the original that is not ours": {"/nat/add", secret, 404, `{"code":404,"message":"Not Found","data":{}}`},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := n.raw(http.MethodGet, row.path, "", row.header)
			if status != row.status || body != row.body {
				t.Errorf("got %d %s", status, body)
			}
		})
	}
}

func TestFailedAuthorizationIsThrottled(t *testing.T) {
	n := newNode(t).start()
	throttled := false
	for range failureBurst + 2 {
		status, _ := n.raw(http.MethodGet, "/status", "", "wrong")
		throttled = status == http.StatusTooManyRequests
	}
	if !throttled {
		t.Error("wrong secrets are answered without end")
	}
	if status, _ := n.raw(http.MethodGet, "/status", "", n.server.Secret()); status != http.StatusOK {
		t.Errorf("the server is locked out: %d", status)
	}
}

func TestFailureLimiterForgetsAndBounds(t *testing.T) {
	f := failureLimiter{peers: map[string]*rate.Limiter{}}
	now := time.Now()
	for range failureBurst {
		if !f.allow("192.0.2.1", now) {
			t.Fatal("throttled too early")
		}
	}
	if f.allow("192.0.2.1", now) {
		t.Error("not throttled")
	}
	if !f.allow("192.0.2.2", now) {
		t.Error("another address is throttled")
	}
	if !f.allow("192.0.2.1", now.Add(failureInterval)) {
		t.Error("never let in again")
	}
	for i := range 2 * maxTrackedPeers {
		f.allow(time.Duration(i).String(), now)
	}
	if len(f.peers) > maxTrackedPeers {
		t.Errorf("%d addresses are remembered", len(f.peers))
	}
}

func TestClientErrorKinds(t *testing.T) {
	n := newNode(t).start()
	url, secret, pin := n.server.URL(), n.server.Secret(), n.server.Pin()
	otherPin := pin
	otherPin[0] ^= 1
	for name, row := range map[string]struct {
		url, secret string
		pin         tlspin.Pin
		want        wire.Kind
	}{
		"right":       {url, secret, pin, ""},
		"wrong pin":   {url, secret, otherPin, wire.KindUntrusted},
		"no pin":      {url, secret, tlspin.Pin{}, wire.KindUntrusted},
		"wrong":       {url, "wrong", pin, wire.KindAuth},
		"closed port": {"https://127.0.0.1:1", secret, pin, wire.KindUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			client, err := wire.New(row.url, row.secret, row.pin)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			status, err := client.Status(context.Background())
			var failure *wire.Error
			if errors.As(err, &failure); row.want == "" && (err != nil || status.Status != "running") || row.want != "" && (failure == nil || failure.Kind != row.want) {
				t.Errorf("got %+v, %v", status, err)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Error("the error tells the secret")
			}
		})
	}
}

func TestIdentityOutlivesRestart(t *testing.T) {
	n := newNode(t).start()
	secret, pin := n.server.Secret(), n.server.Pin()
	if len(secret) < 64 {
		t.Errorf("the secret has %d characters", len(secret))
	}
	for _, name := range []string{"secret", "certificate.pem"} {
		info, err := os.Stat(filepath.Join(n.config.DataDir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if _, err := Start(context.Background(), n.config); err == nil || !strings.Contains(err.Error(), "another daemon") {
		t.Errorf("a second daemon in the same folder: %v", err)
	}
	n.halt()
	n.start()
	if n.server.Secret() != secret || n.server.Pin() != pin {
		t.Error("secret or certificate changed")
	}
}

func TestSecretFileMustBeStrongAndPrivate(t *testing.T) {
	for name, row := range map[string]struct {
		content string
		mode    os.FileMode
		ok      bool
	}{
		"good":         {strings.Repeat("ab", 32) + "\n", 0o600, true},
		"AMS's token":  {"token", 0o600, false},
		"open to all":  {strings.Repeat("ab", 32), 0o644, false},
		"empty":        {"", 0o600, false},
		"group's eyes": {strings.Repeat("ab", 32), 0o640, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, secretFile), []byte(row.content), row.mode); err != nil {
				t.Fatal(err)
			}
			if secret, err := Secret(dir); (err == nil) != row.ok || row.ok && secret != strings.TrimSpace(row.content) {
				t.Errorf("got %q, %v", secret, err)
			}
		})
	}
}

func TestRequestIDAndPanicEnvelope(t *testing.T) {
	n := newNode(t).start()
	for given, kept := range map[string]bool{"order-7.1": true, "bad id\"": false, strings.Repeat("x", 65): false, "": false} {
		request, err := http.NewRequest(http.MethodGet, n.server.URL()+"/status", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", n.server.Secret())
		request.Header.Set(requestIDHeader, given)
		client := http.Client{Transport: &http.Transport{TLSClientConfig: tlspin.Pinned(n.server.Pin()), DisableKeepAlives: true}}
		reply, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = reply.Body.Close()
		if got := reply.Header.Get(requestIDHeader); (got == given) != kept || got == "" {
			t.Errorf("id %q became %q", given, got)
		}
	}
}

func TestBadBodies(t *testing.T) {
	n := newNode(t).start()
	for name, row := range map[string]struct{ path, body, message string }{
		"no body":           {"/importDisk", "", "body: must be one JSON object"},
		"no JSON":           {"/importDisk", "vmid=1", "body: must be one JSON object"},
		"array":             {"/importDisk", "[]", "body: must be an object, not array"},
		"two objects":       {"/importDisk", "{}{}", "body: must be one JSON object"},
		"text as number":    {"/importDisk", `{"vmid":"x"}`, "vmid: must be an integer, not string"},
		"fraction":          {"/importDisk", `{"vmid":1.5}`, "vmid: must be an integer, not number 1.5"},
		"number as text":    {"/importDisk", `{"vmid":110,"image_path":1}`, "image_path: must be a string, not number"},
		"beyond 64 bits":    {"/importDisk", `{"vmid":99999999999999999999}`, "vmid: must be an integer, not number 99999999999999999999"},
		"too large":         {"/importDisk", `{"image_path":"` + strings.Repeat("x", maxBody) + `"}`, "body: is larger than 65536 bytes"},
		"unlock":            {"/unlock", `{"vmid":true}`, "vmid: must be an integer, not bool"},
		"unlock, missing":   {"/unlock", `{}`, "vmid: is missing"},
		"password, missing": {"/changePassword", `{"id":110,"username":"root"}`, "password: is missing"},
		"user, missing":     {"/changePassword", `{"id":110,"password":"secret"}`, "username: is missing"},
		"id, missing":       {"/changePassword", `{"username":"root","password":"secret"}`, "id: is missing"},
		"id, wrong type":    {"/changePassword", `{"id":"110","username":"root","password":"secret"}`, "id: must be an integer, not string"},
		"delete, no file":   {"/deleteFile", `{"path":"/x"}`, "file: is missing"},
		"read, wrong type":  {"/readFile", `{"path":{},"filename":"x"}`, "path: must be a string, not object"},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := n.raw(http.MethodPost, row.path, row.body, n.server.Secret())
			var envelope wire.Envelope[wire.Refusal]
			if err := json.Unmarshal([]byte(body), &envelope); err != nil {
				t.Fatalf("%s: %v", body, err)
			}
			if status != 200 || envelope.Code != 500 || envelope.Message != row.message || envelope.Data.Reason != wire.ReasonInvalid {
				t.Errorf("got %d %s", status, body)
			}
		})
	}
	if n.calls() != nil {
		t.Errorf("qm was called: %q", n.calls())
	}
}

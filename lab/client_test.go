package lab_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"gantry/lab"
)

// client speaks to a lab as a driver does: pinned certificate, API token.
type client struct {
	t     testing.TB
	base  string
	token string
	// ticket and csrf are sent instead of a token, see login.
	ticket, csrf string
	web          *http.Client
}

type reply struct {
	Status  int
	Reason  string
	Body    string
	Data    any
	Total   any
	Errors  map[string]string
	Message string
}

func startLab(t testing.TB, config lab.Config) *lab.Lab {
	t.Helper()
	if config.DataDir == "" {
		config.DataDir = t.TempDir()
	}
	if config.TimeScale == 0 {
		config.TimeScale = 0.02
	}
	if config.UnauthorizedDelay == 0 {
		config.UnauthorizedDelay = -1
	}
	if config.StatusInterval == 0 {
		config.StatusInterval = -1
	}
	running, err := lab.Start(context.Background(), config)
	if err != nil {
		t.Fatalf("start the lab: %v", err)
	}
	t.Cleanup(func() { _ = running.Close() })
	return running
}

func newClient(t testing.TB, running *lab.Lab) *client {
	id, secret := running.RootToken()
	return &client{t: t, base: running.URL(), token: id + "=" + secret, web: webClient(t, running.Fingerprint())}
}

func webClient(t testing.TB, pin [32]byte) *http.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 64, TLSClientConfig: pinned(pin)}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

// pinned takes the certificate with that SHA-256 and no other.
func pinned(pin [32]byte) *tls.Config {
	return &tls.Config{
		// The pin is verified below.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if sha256.Sum256(state.PeerCertificates[0].Raw) != pin {
				return errors.New("wrong certificate")
			}
			return nil
		}}
}

func (c *client) as(token string) *client {
	other := *c
	other.token = token
	return &other
}

// login is the same client with a ticket: root@pam is root only so, not with one of its tokens.
func (c *client) login(user, password string) *client {
	c.t.Helper()
	data, _ := c.ok("POST", "/access/ticket", "username", user, "password", password).(map[string]any)
	other := c.as("")
	other.ticket, _ = data["ticket"].(string)
	other.csrf, _ = data["CSRFPreventionToken"].(string)
	return other
}

// call sends a request; params are pairs of name and value.
func (c *client) call(method, path string, params ...string) reply {
	c.t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(params); i += 2 {
		form.Add(params[i], params[i+1])
	}
	target, body := "/api2/json"+path, ""
	if len(form) > 0 {
		if method == "POST" || method == "PUT" {
			body = form.Encode()
		} else {
			target += "?" + form.Encode()
		}
	}
	header := http.Header{}
	if body != "" {
		header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return c.raw(method, target, body, header)
}

func (c *client) raw(method, target, body string, header http.Header) reply {
	c.t.Helper()
	answer, err := c.try(method, target, body, header)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, target, err)
	}
	return answer
}

func (c *client) try(method, target, body string, header http.Header) (reply, error) {
	request, err := http.NewRequest(method, c.base+target, bytes.NewReader([]byte(body)))
	if err != nil {
		return reply{}, err
	}
	if header != nil {
		request.Header = header
	}
	if c.ticket != "" {
		request.Header.Set("Cookie", "PVEAuthCookie="+url.QueryEscape(c.ticket))
		request.Header.Set("CSRFPreventionToken", c.csrf)
	}
	if c.token != "" {
		request.Header.Set("Authorization", "PVEAPIToken="+c.token)
	}
	response, err := c.web.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return reply{}, err
	}
	_, reason, _ := strings.Cut(response.Status, " ")
	answer := reply{Status: response.StatusCode, Reason: reason, Body: string(text)}
	var parsed struct {
		Data    any
		Total   any
		Errors  map[string]string
		Message string
	}
	if json.Unmarshal(text, &parsed) == nil {
		answer.Data, answer.Total, answer.Errors, answer.Message = parsed.Data, parsed.Total, parsed.Errors, parsed.Message
	}
	return answer, nil
}

// ok is call for what must succeed.
func (c *client) ok(method, path string, params ...string) any {
	c.t.Helper()
	answer := c.call(method, path, params...)
	if answer.Status != 200 {
		c.t.Fatalf("%s %s %v: %d %s %v", method, path, params, answer.Status, answer.Reason, answer.Errors)
	}
	return answer.Data
}

// task is ok, then waits for the task and returns its exit status.
func (c *client) task(method, path string, params ...string) string {
	c.t.Helper()
	upid, _ := c.ok(method, path, params...).(string)
	return c.wait(upid)
}

func (c *client) wait(upid string) string {
	c.t.Helper()
	parts := strings.Split(upid, ":")
	if len(parts) < 2 {
		c.t.Fatalf("no task: %q", upid)
	}
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		status, _ := c.ok("GET", "/nodes/"+parts[1]+"/tasks/"+upid+"/status").(map[string]any)
		if status["status"] == "stopped" {
			exit, _ := status["exitstatus"].(string)
			return exit
		}
		time.Sleep(2 * time.Millisecond) // between polls; nothing is asserted on time
	}
	c.t.Fatalf("task %s did not end", upid)
	return ""
}

func (c *client) log(upid string) []string {
	c.t.Helper()
	rows, _ := c.ok("GET", "/nodes/"+strings.Split(upid, ":")[1]+"/tasks/"+upid+"/log", "limit", "500").([]any)
	var lines []string
	for _, row := range rows {
		line, _ := row.(map[string]any)["t"].(string)
		lines = append(lines, line)
	}
	return lines
}

func (c *client) must(got, want string) {
	c.t.Helper()
	if got != want {
		c.t.Fatalf("task ended %q, want %q", got, want)
	}
}

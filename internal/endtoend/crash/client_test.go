package crash

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"

	"gantry/internal/tlspin"
)

// client calls a JSON API: the broker's, the lab's, or the lab's fault control.
type client struct {
	base   string
	header http.Header
	http   *http.Client
}

func newClient(base string, authorization string) *client {
	header := http.Header{}
	if authorization != "" {
		header.Set("Authorization", authorization)
	}
	return &client{base: base, header: header, http: &http.Client{Timeout: 30 * time.Second}}
}

func (c *client) with(name, value string) *client {
	header := c.header.Clone()
	header.Set(name, value)
	return &client{base: c.base, header: header, http: c.http}
}

func basic(name, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}

// pinned makes the client trust the certificate that the server shows now.
func (c *client) pinned(t testing.TB) *client {
	t.Helper()
	address, err := url.Parse(c.base)
	check(t, err)
	pin, err := tlspin.Fetch(t.Context(), address.Host)
	check(t, err)
	c.http.Transport = &http.Transport{TLSClientConfig: clientTLS(pin), DisableKeepAlives: true}
	return c
}

func clientTLS(pin tlspin.Pin) *tls.Config { return tlspin.Pinned(pin) }

// send gives status and body of one request with a JSON body, or with parameters as a form when body is url.Values.
func (c *client) send(method, path string, body any) (int, []byte, error) {
	var content io.Reader
	kind := "application/json"
	switch given := body.(type) {
	case nil:
	case url.Values:
		kind, content = "application/x-www-form-urlencoded", bytes.NewBufferString(given.Encode())
	default:
		text, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequest(method, c.base+path, content)
	if err != nil {
		return 0, nil, err
	}
	request.Header = c.header.Clone()
	if body != nil {
		request.Header.Set("Content-Type", kind)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	return response.StatusCode, text, err
}

// ams calls the broker and decodes the envelope's data.
func (c *client) ams(method, path string, body, reply any) error {
	status, text, err := c.send(method, path, body)
	if err != nil {
		return err
	}
	var envelope struct {
		Code    int             `json:"code"`
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(text, &envelope); err != nil {
		return fmt.Errorf("%s: HTTP %d: %s", path, status, text)
	}
	if envelope.Code != 20000 {
		return fmt.Errorf("%s: %d %s", path, envelope.Code, envelope.Message)
	}
	if reply == nil {
		return nil
	}
	return json.Unmarshal(envelope.Data, reply)
}

// pve calls the lab and decodes the answer's data.
func (c *client) pve(method, path string, body, reply any) error {
	status, text, err := c.send(method, "/api2/json"+path, body)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("%s: HTTP %d: %s", path, status, text)
	}
	if reply == nil {
		return nil
	}
	return json.Unmarshal(text, &struct{ Data any }{reply})
}

// control calls the lab's fault control.
func (c *client) control(method, path string, body, reply any) error {
	status, text, err := c.send(method, path, body)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("%s: HTTP %d: %s", path, status, text)
	}
	if reply == nil {
		return nil
	}
	return json.Unmarshal(text, reply)
}

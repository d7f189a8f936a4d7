package storm

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// client sends calls of the AMS API with one credential.
type client struct {
	base, authorization string
	http                *http.Client
}

func newClient(base string) *client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 2*callers, 2*callers
	return &client{base: base, http: &http.Client{Transport: transport, Timeout: time.Minute}}
}

func (c *client) with(authorization string) *client {
	return &client{base: c.base, authorization: authorization, http: c.http}
}

func basic(name, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}

// call decodes the envelope's data into reply unless that is nil; key is the Idempotency-Key, if any.
func (c *client) call(method, path, key string, body, reply any) error {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequest(method, c.base+path, content)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", c.authorization)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept-Language", "en")
	if key != "" {
		request.Header.Set("Idempotency-Key", key)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	var envelope struct {
		Code int             `json:"code"`
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(text, &envelope); err != nil || envelope.Code != 20000 {
		return fmt.Errorf("%s %s: HTTP %d: %s", method, path, response.StatusCode, text)
	}
	if reply == nil {
		return nil
	}
	return json.Unmarshal(envelope.Data, reply)
}

package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// success is the code of a call that worked.
const success = 20000

// Client sends calls with one credential and keeps its connections.
type Client struct {
	base          string
	authorization string
	http          *http.Client
}

func newClient(base, authorization string) *Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost, transport.MaxIdleConns = 256, 256
	return &Client{base: base, authorization: authorization, http: &http.Client{Transport: transport, Timeout: time.Minute}}
}

// Call sends one request and decodes the envelope's data into reply unless that is nil.
func (c *Client) Call(ctx context.Context, method, path string, body, reply any) error {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, content)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", c.authorization)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept-Language", "en")
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
		Code    int             `json:"code"`
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(text, &envelope); err != nil || envelope.Code != success {
		return fmt.Errorf("%s %s: HTTP %d: %s", method, path, response.StatusCode, text)
	}
	if reply == nil {
		return nil
	}
	return json.Unmarshal(envelope.Data, reply)
}

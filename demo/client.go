package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// successCode is the AMS envelope's code of a call that worked.
const successCode = 20000

// client talks to the broker's API as a panel or a billing system would.
type client struct {
	base   string // http://127.0.0.1:8080
	header http.Header
	http   *http.Client
}

func newClient(base string) *client {
	return &client{base: base, header: http.Header{}, http: &http.Client{Timeout: 30 * time.Second}}
}

// with gives a client that sends a credential.
func (c *client) with(authorization string) *client {
	header := c.header.Clone()
	header.Set("Authorization", authorization)
	return &client{base: c.base, header: header, http: c.http}
}

// call sends one request and decodes the envelope's data into reply.
func (c *client) call(ctx context.Context, method, path string, body, reply any) error {
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
	request.Header = c.header.Clone()
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept-Language", "en")
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 4<<20))
	if err != nil {
		return err
	}
	var envelope struct {
		Code    int             `json:"code"`
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(text, &envelope); err != nil {
		return fmt.Errorf("%s: HTTP %d without an envelope", path, response.StatusCode)
	}
	if envelope.Code != successCode {
		return fmt.Errorf("%s: %d %s", path, envelope.Code, envelope.Message)
	}
	if reply == nil || len(envelope.Data) == 0 {
		return nil
	}
	if err := json.Unmarshal(envelope.Data, reply); err != nil {
		return fmt.Errorf("%s: read data: %w", path, err)
	}
	return nil
}

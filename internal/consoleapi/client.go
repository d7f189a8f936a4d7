package consoleapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Client is a proxy's way to the broker. It is safe for concurrent use.
type Client struct {
	base   string
	secret string
	http   *http.Client
}

// NewClient talks to the broker at base (http:// or https://, a path prefix is kept) with the proxy's secret. The HTTP client
// decides about TLS and should have a timeout; redirects are never followed, as they would carry the secret elsewhere.
func NewClient(base, secret string, client *http.Client) *Client {
	own := *client
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{base: strings.TrimRight(base, "/"), secret: secret, http: &own}
}

// Redeem trades a token for a target. A *Refusal means that the broker said no; any other error means that nothing is known
// about the token: it may have been bound to request.FreshKey, so a browser should be given that key.
func (c *Client) Redeem(ctx context.Context, request RedeemRequest) (RedeemReply, error) {
	var reply RedeemReply
	if err := c.post(ctx, RedeemPath, request, &reply); err != nil {
		return RedeemReply{}, fmt.Errorf("redeem console token: %w", err)
	}
	return reply, nil
}

// Check asks which of the sessions (at most MaxCheckedSessions) have to end.
func (c *Client) Check(ctx context.Context, sessions []string) ([]Ended, error) {
	var reply CheckReply
	if err := c.post(ctx, CheckPath, CheckRequest{Sessions: sessions}, &reply); err != nil {
		return nil, fmt.Errorf("check console sessions: %w", err)
	}
	return reply.Ended, nil
}

func (c *Client) post(ctx context.Context, path string, request, reply any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	call, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	call.Header.Set("Content-Type", "application/json")
	call.Header.Set("Authorization", "Bearer "+c.secret)
	answer, err := c.http.Do(call)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxReplyBytes+1))
	if err != nil {
		return fmt.Errorf("read the broker's answer: %w", err)
	}
	if len(text) > maxReplyBytes {
		return errors.New("the broker's answer is too large")
	}
	if answer.StatusCode != http.StatusOK {
		return refused(answer.StatusCode, text)
	}
	if err := json.Unmarshal(text, reply); err != nil {
		return errors.New("the broker's answer is no valid JSON") // the decoder's own words could repeat a secret
	}
	return nil
}

// refused reads an answer that is no success.
func refused(status int, text []byte) error {
	switch status {
	case http.StatusConflict:
		refusal := &Refusal{}
		if err := json.Unmarshal(text, refusal); err != nil || refusal.Reason == "" {
			return errors.New("the broker refused without a reason")
		}
		refusal.Detail = PlainText(refusal.Detail)
		return refusal
	case http.StatusUnauthorized:
		return errors.New("the broker does not accept this proxy's secret")
	default:
		return fmt.Errorf("the broker answered %d", status)
	}
}

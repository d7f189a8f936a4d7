package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"gantry/internal/tlspin"
)

const (
	// bareVMID is outside what the broker gives out.
	bareVMID = 900000000
	// barePause is between two looks at a task.
	barePause = 10 * time.Millisecond
	// node is where guests are made bare.
	node = "pve1"
)

// Bare talks to the lab's PVE API without a broker.
type Bare struct {
	stack *Stack
	http  *http.Client
}

// Bare opens the connection.
func (s *Stack) Bare(ctx context.Context) (*Bare, error) {
	address, err := url.Parse(s.Lab)
	if err != nil {
		return nil, err
	}
	pin, err := tlspin.Fetch(ctx, address.Host)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = tlspin.Pinned(pin)
	return &Bare{stack: s, http: &http.Client{Transport: transport, Timeout: time.Minute}}, nil
}

// LabCall is a request that the lab has answered.
type LabCall struct {
	Method string         `json:"method"`
	Path   string         `json:"path"`
	Params map[string]any `json:"params"`
}

// Forget empties the lab's journal.
func (b *Bare) Forget(ctx context.Context) error {
	return b.control(ctx, http.MethodDelete, "/requests", nil)
}

// Changes are the changing calls since then.
func (b *Bare) Changes(ctx context.Context) ([]LabCall, error) {
	var all, changes []LabCall
	if err := b.control(ctx, http.MethodGet, "/requests", &all); err != nil {
		return nil, err
	}
	for _, each := range all {
		if each.Method != http.MethodGet {
			changes = append(changes, each)
		}
	}
	return changes, nil
}

func (b *Bare) control(ctx context.Context, method, path string, reply any) error {
	request, err := http.NewRequestWithContext(ctx, method, b.stack.LabControl+path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+b.stack.LabControlKey)
	return b.send(request, reply)
}

// Replay makes calls again for another guest, waits for the task of each, and tells how long each took with its task. The guest
// is removed then.
func (b *Bare) Replay(ctx context.Context, calls []LabCall) (took Durations, err error) {
	defer func() { err = errors.Join(err, b.remove(ctx)) }()
	for _, each := range calls {
		path := each.Path
		parts := strings.Split(path, "/")
		if len(parts) > 4 { // /nodes/NODE/qemu/VMID/…
			parts[4] = fmt.Sprint(bareVMID)
			path = strings.Join(parts, "/")
		}
		parameters := map[string]any{}
		for name, value := range each.Params {
			// The digest is that of the other guest's configuration.
			if name != "node" && name != "vmid" && name != "digest" {
				parameters[name] = value
			}
		}
		if len(parts) == 4 { // /nodes/NODE/qemu
			parameters["vmid"] = bareVMID
		}
		begun := time.Now()
		if err := b.do(ctx, each.Method, path, parameters); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begun))
	}
	return took, nil
}

func (b *Bare) remove(ctx context.Context) error {
	guest := fmt.Sprintf("/nodes/%s/qemu/%d", node, bareVMID)
	return errors.Join(b.do(ctx, http.MethodPost, guest+"/status/stop", nil), b.do(ctx, http.MethodDelete, guest, nil))
}

// do makes a call and waits for its task.
func (b *Bare) do(ctx context.Context, method, path string, parameters map[string]any) error {
	var task string
	if err := b.call(ctx, method, path, parameters, &task); err != nil || task == "" {
		return err
	}
	for {
		var state struct {
			Status     string `json:"status"`
			ExitStatus string `json:"exitstatus"`
		}
		if err := b.call(ctx, http.MethodGet, "/nodes/"+node+"/tasks/"+url.PathEscape(task)+"/status", nil, &state); err != nil {
			return err
		}
		switch {
		case state.Status == "running":
		case state.ExitStatus == "OK":
			return nil
		default:
			return fmt.Errorf("%s %s: %s", method, path, state.ExitStatus)
		}
		if err := Pause(ctx, barePause); err != nil {
			return err
		}
	}
}

func (b *Bare) call(ctx context.Context, method, path string, parameters map[string]any, reply any) error {
	var body io.Reader
	if parameters != nil {
		text, err := json.Marshal(parameters)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, b.stack.Lab+"/api2/json"+path, body)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "PVEAPIToken="+b.stack.LabToken)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	var envelope struct {
		Data json.RawMessage `json:"data"`
	}
	if err := b.send(request, &envelope); err != nil {
		return err
	}
	return json.Unmarshal(envelope.Data, reply)
}

func (b *Bare) send(request *http.Request, reply any) error {
	response, err := b.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %s", request.Method, request.URL.Path, response.Status, text)
	}
	if reply == nil {
		return nil
	}
	return json.Unmarshal(text, reply)
}

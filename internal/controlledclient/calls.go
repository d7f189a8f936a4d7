package controlledclient

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"
)

// Status asks whether the daemon runs.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var status Status
	_, err := c.call(ctx, callTimeout, http.MethodGet, "/status", nil, nil, &status)
	return status, err
}

// Version asks for the daemon's version.
func (c *Client) Version(ctx context.Context) (string, error) {
	var version Version
	_, err := c.call(ctx, callTimeout, http.MethodGet, "/version", nil, nil, &version)
	return version.Version, err
}

// ListFiles returns the names in a folder of the node, in no particular order.
func (c *Client) ListFiles(ctx context.Context, folder string) ([]string, error) {
	var list FileList
	_, err := c.call(ctx, callTimeout, http.MethodGet, "/pathFile", url.Values{"path": {folder}}, nil, &list)
	return list.Files, err
}

// ReadFile returns the content of a text file of up to 1 MiB.
func (c *Client) ReadFile(ctx context.Context, folder, file string) (string, error) {
	var content FileContent
	body := map[string]string{"path": folder, "filename": file}
	_, err := c.call(ctx, callTimeout, http.MethodPost, "/readFile", nil, body, &content)
	return content.Data, err
}

// DeleteFile deletes a file in a folder; if it is being downloaded, the download ends and its partial file goes too.
func (c *Client) DeleteFile(ctx context.Context, folder, file string) error {
	_, err := c.call(ctx, callTimeout, http.MethodPost, "/deleteFile", nil, map[string]string{"path": folder, "file": file}, nil)
	return err
}

// DownloadOrder says what Download shall fetch.
type DownloadOrder struct {
	URL      string // http or https
	Folder   string // absolute path on the node
	File     string // name to store under; empty = the last segment of the URL
	Checksum string // "sha256:…" or "sha512:…" in hexadecimal; empty = not verified
	Restart  bool   // try a failed download again
}

// Download starts a download or tells how the one for this target stands: the same order again joins it and is how
// progress is asked for. Just started, it is DownloadQueued. A download that failed is no error of this call: its State is DownloadFailed
// and Error says why, until it is ordered with Restart or the file is deleted.
func (c *Client) Download(ctx context.Context, order DownloadOrder) (Download, error) {
	query := url.Values{"url": {order.URL}, "path": {order.Folder}}
	for name, value := range map[string]string{"file": order.File, "checksum": order.Checksum} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if order.Restart {
		query.Set("restart", "true")
	}
	var download Download
	envelope, err := c.call(ctx, callTimeout, http.MethodGet, "/wget", query, nil, &download)
	var failure *Error
	if errors.As(err, &failure) && failure.Kind == KindRefused {
		if json.Unmarshal(envelope.Data, &download) == nil && download.State == DownloadFailed {
			return download, nil
		}
	}
	if err != nil {
		return Download{}, err
	}
	if download.State == "" {
		return Download{File: order.File, Progress: "0.0%", State: DownloadQueued, Total: -1, Checksum: order.Checksum}, nil
	}
	return download, nil
}

// ImportDisk starts an import and returns at once; ask Operation how it stands. With an idempotency key in
// order.Operation it is safe to repeat after KindUnknown.
func (c *Client) ImportDisk(ctx context.Context, order ImportDisk) (Operation, error) {
	var operation Operation
	_, err := c.call(ctx, callTimeout, http.MethodPost, "/importDisk", nil, order, &operation)
	return operation, err
}

// Operation tells how an import stands. KindNotFound: the daemon never accepted it, or ended and forgot it long ago.
func (c *Client) Operation(ctx context.Context, id string) (Operation, error) {
	var operation Operation
	_, err := c.call(ctx, callTimeout, http.MethodGet, "/operations/"+url.PathEscape(id), nil, nil, &operation)
	return operation, err
}

// Unlock removes a guest's stale lock ("qm unlock").
func (c *Client) Unlock(ctx context.Context, vmid int64) error {
	_, err := c.call(ctx, commandTimeout, http.MethodPost, "/unlock", nil, map[string]int64{"vmid": vmid}, nil)
	return err
}

// ChangePassword sets a user's password inside a running guest through its agent ("qm guest passwd").
func (c *Client) ChangePassword(ctx context.Context, vmid int64, userName, password string) error {
	body := map[string]any{"id": vmid, "username": userName, "password": password}
	_, err := c.call(ctx, commandTimeout, http.MethodPost, "/changePassword", nil, body, nil)
	return err
}

// updateTimeout is for the fetch of a whole program.
const updateTimeout = 5*time.Minute + 15*time.Second

// Update lets the daemon fetch and become the release that its update_url names; it restarts after the answer.
func (c *Client) Update(ctx context.Context) (Update, error) {
	var update Update
	_, err := c.call(ctx, updateTimeout, http.MethodPost, "/update", nil, nil, &update)
	return update, err
}

// LastUpdate tells how the last update went. KindNotFound: there was none.
func (c *Client) LastUpdate(ctx context.Context) (Update, error) {
	var update Update
	_, err := c.call(ctx, callTimeout, http.MethodGet, "/update", nil, nil, &update)
	return update, err
}

// StartVNC opens a port of the node that leads to a guest's screen, or prolongs it.
func (c *Client) StartVNC(ctx context.Context, order VNC) error {
	_, err := c.call(ctx, callTimeout, http.MethodPost, "/vnc", nil, order, nil)
	return err
}

// StopVNC closes it with its connections.
func (c *Client) StopVNC(ctx context.Context, port int) error {
	_, err := c.call(ctx, callTimeout, http.MethodPost, "/vnc/stop", nil, map[string]int{"port": port}, nil)
	return err
}

// ImportVNC lets the websockify of this node lead to another node's port.
func (c *Client) ImportVNC(ctx context.Context, order VNC) error {
	_, err := c.call(ctx, callTimeout, http.MethodPost, "/vnc/import", nil, order, nil)
	return err
}

package controlled

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	wire "gantry/internal/controlledclient"
)

// image is content that is worth a few reads; every byte differs by place.
var image = func() string {
	var text strings.Builder
	for i := range 40_000 {
		fmt.Fprintf(&text, "%08d", i)
	}
	return text.String()
}()

func sha256Of(content string) string {
	sum := sha256.Sum256([]byte(content))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// origin is a web server of images which notes the Range headers that it got.
type origin struct {
	*httptest.Server
	mu     sync.Mutex
	ranges []string
}

func newOrigin(t *testing.T, serve http.HandlerFunc) *origin {
	t.Helper()
	o := &origin{}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		o.ranges = append(o.ranges, r.Header.Get("Range"))
		o.mu.Unlock()
		serve(w, r)
	}))
	t.Cleanup(o.Close)
	return o
}

func (o *origin) requests() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.ranges...)
}

// whole serves image with everything that net/http can: ranges, If-Range, ETag.
func whole(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("ETag", `"v1"`)
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(image))
}

// cutOff sends the first bytes of the answer and breaks the connection.
func cutOff(w http.ResponseWriter, content string, header map[string]string, total int) {
	for name, value := range header {
		w.Header().Set(name, value)
	}
	w.Header().Set("Content-Length", fmt.Sprint(total))
	_, _ = w.Write([]byte(content))
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// finish orders until the download has ended.
func (n *node) finish(order wire.DownloadOrder) wire.Download {
	n.t.Helper()
	var download wire.Download
	eventually(n.t, "the download ends", func() bool {
		var err error
		if download, err = n.client.Download(context.Background(), order); err != nil {
			n.t.Fatal(err)
		}
		order.Restart = false
		return download.State == wire.DownloadDone || download.State == wire.DownloadFailed
	})
	return download
}

func (n *node) expectImage(file string) {
	n.t.Helper()
	content, err := os.ReadFile(filepath.Join(n.images, file))
	if err != nil || string(content) != image {
		n.t.Errorf("%s holds %d bytes (%v), not the image", file, len(content), err)
	}
	if exists(filepath.Join(n.images, file+partSuffix)) {
		n.t.Errorf("the partial file is still there")
	}
}

func TestDownload(t *testing.T) {
	attempts := 0
	secondTry := func(first http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			attempts++
			if attempts == 1 {
				first(w, r)
				return
			}
			whole(w, r)
		}
	}
	half := len(image) / 2
	resumed := fmt.Sprintf("bytes=%d-", half)
	for name, row := range map[string]struct {
		serve    http.HandlerFunc
		checksum string
		ranges   []string
		fails    string // part of the error; empty = the image must arrive
	}{
		"plain":            {serve: whole, ranges: []string{""}},
		"right checksum":   {serve: whole, checksum: sha256Of(image), ranges: []string{""}},
		"upper case":       {serve: whole, checksum: strings.ToUpper(sha256Of(image)), ranges: []string{""}},
		"wrong checksum":   {serve: whole, checksum: sha256Of("other"), ranges: []string{""}, fails: "checksum mismatch"},
		"not found":        {serve: http.NotFound, ranges: []string{""}, fails: "404 Not Found"},
		"no length":        {serve: chunked, ranges: []string{""}},
		"server error":     {serve: secondTry(status(503)), ranges: []string{"", ""}},
		"too many":         {serve: secondTry(status(429)), ranges: []string{"", ""}},
		"always an error":  {serve: status(500), ranges: make([]string, 8), fails: "gave up after 8 attempts"},
		"cut with ETag":    {serve: secondTry(cutAt(half, "ETag", `"v1"`)), ranges: []string{"", resumed}},
		"cut, other ETag":  {serve: secondTry(cutAt(half, "ETag", `"v0"`)), ranges: []string{"", resumed}},
		"cut, weak ETag":   {serve: secondTry(cutAt(half, "ETag", `W/"v1"`)), ranges: []string{"", ""}},
		"cut, no ETag":     {serve: secondTry(cutAt(half, "X", "")), ranges: []string{"", ""}},
		"cut, by checksum": {serve: secondTry(cutAt(half, "X", "")), checksum: sha256Of(image), ranges: []string{"", resumed}},
		"mixed versions": {serve: secondTry(func(w http.ResponseWriter, _ *http.Request) {
			cutOff(w, strings.Repeat("x", half), nil, len(image))
		}), checksum: sha256Of(image), ranges: []string{"", resumed}, fails: "checksum mismatch"},
		"another range than asked for": {
			serve:  partly(&attempts, fmt.Sprintf("bytes %d-%d/%d", half+8, len(image)-1, len(image)), `"v1"`, half+8, len(image)),
			ranges: []string{"", resumed, ""},
		},
		"If-Range ignored": {
			serve:  partly(&attempts, fmt.Sprintf("bytes %d-%d/%d", half, len(image)-1, len(image)), `"v2"`, half, len(image)),
			ranges: []string{"", resumed, ""},
		},
		"part without ETag, cut": {
			serve:  partly(&attempts, fmt.Sprintf("bytes %d-%d/%d", half, len(image)-1, len(image)), "", half, half+8),
			ranges: []string{"", resumed, fmt.Sprintf("bytes=%d-", half+8)},
		},
		"redirect to a file": {serve: secondTry(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere/x", http.StatusFound)
		}), ranges: []string{"", ""}},
		"redirect to a file scheme": {serve: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(http.StatusFound)
		}, ranges: []string{""}, fails: "must begin with http"},
		"redirect to metadata": {serve: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusFound)
		}, ranges: []string{""}, fails: "169.254.169.254"},
	} {
		t.Run(name, func(t *testing.T) {
			attempts = 0
			origin := newOrigin(t, row.serve)
			n := newNode(t).start()
			download := n.finish(wire.DownloadOrder{URL: origin.URL + "/pool/debian.qcow2", Folder: n.images, Checksum: row.checksum})
			if row.fails != "" {
				if download.State != wire.DownloadFailed || !strings.Contains(download.Error, row.fails) {
					t.Errorf("got %+v, want a failure with %q", download, row.fails)
				}
				if strings.Contains(row.fails, "checksum") && exists(filepath.Join(n.images, "debian.qcow2.part")) {
					t.Error("the wrong bytes were kept")
				}
			} else {
				if download.State != wire.DownloadDone || download.Progress != "100.0%" || download.File != "debian.qcow2" {
					t.Errorf("got %+v", download)
				}
				n.expectImage("debian.qcow2")
			}
			if got := origin.requests(); strings.Join(got, ",") != strings.Join(row.ranges, ",") || len(got) != len(row.ranges) {
				t.Errorf("ranges asked for: %q, want %q", got, row.ranges)
			}
		})
	}
}

// partly sends the first half and breaks off, then the bytes from…to under the given headers, then what was asked for.
func partly(attempts *int, contentRange, etag string, from, to int) http.HandlerFunc {
	half := len(image) / 2
	return func(w http.ResponseWriter, r *http.Request) {
		switch *attempts++; *attempts {
		case 1:
			cutAt(half, "ETag", `"v1"`)(w, r)
		case 2:
			w.Header().Set("Content-Range", contentRange)
			if etag != "" {
				w.Header().Set("ETag", etag)
			}
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write([]byte(image[from:to]))
		default:
			whole(w, r)
		}
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func chunked(w http.ResponseWriter, _ *http.Request) {
	_, _ = w.Write([]byte(image[:1000]))
	_ = http.NewResponseController(w).Flush()
	_, _ = w.Write([]byte(image[1000:]))
}

func cutAt(length int, header, value string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		cutOff(w, image[:length], map[string]string{header: value}, len(image))
	}
}

func requestTo(t *testing.T, address string) *http.Request {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	return request
}

func repeat(request *http.Request, count int) []*http.Request {
	list := make([]*http.Request, count)
	for i := range list {
		list[i] = request
	}
	return list
}

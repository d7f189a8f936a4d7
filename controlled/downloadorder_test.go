package controlled

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	wire "gantry/internal/controlledclient"
)

// gated serves the image's first half and the rest when the gate opens.
func gated(t *testing.T) (http.HandlerFunc, func()) {
	gate := make(chan struct{})
	open := func() {
		select {
		case <-gate:
		default:
			close(gate)
		}
	}
	t.Cleanup(open)
	return func(w http.ResponseWriter, r *http.Request) {
		half := len(image) / 2
		_, _ = w.Write([]byte(image[:half]))
		_ = http.NewResponseController(w).Flush()
		select {
		case <-gate:
			_, _ = w.Write([]byte(image[half:]))
		case <-r.Context().Done():
		}
	}, open
}

func (n *node) download(order wire.DownloadOrder) (wire.Download, error) {
	return n.client.Download(context.Background(), order)
}

// The wire as documented: the first call starts and has empty data, later ones tell file and progress.
func TestWgetOnTheWire(t *testing.T) {
	origin := newOrigin(t, whole)
	n := newNode(t).start()
	call := "/wget?" + url.Values{"url": {origin.URL + "/debian.qcow2"}, "path": {n.images}}.Encode()
	if status, body := n.raw("GET", call, "", n.server.Secret()); status != 200 || body != `{"code":200,"message":"success","data":{}}` {
		t.Errorf("the first call answers %d %s", status, body)
	}
	n.finish(wire.DownloadOrder{URL: origin.URL + "/debian.qcow2", Folder: n.images})
	want := `{"code":200,"message":"success","data":{"file":"debian.qcow2","progress":"100.0%","state":"done","bytes":320000,"total":320000}}`
	if status, body := n.raw("GET", call, "", n.server.Secret()); status != 200 || body != want {
		t.Errorf("a later call answers %d %s", status, body)
	}
	if err := n.client.DeleteFile(context.Background(), n.images, "debian.qcow2"); err != nil {
		t.Fatal(err)
	}
	if _, body := n.raw("GET", call, "", n.server.Secret()); body != `{"code":200,"message":"success","data":{}}` {
		t.Errorf("after deletion a call answers %s", body)
	}
	n.finish(wire.DownloadOrder{URL: origin.URL + "/debian.qcow2", Folder: n.images})
	n.expectImage("debian.qcow2")
}

func TestFailedWgetOnTheWire(t *testing.T) {
	origin := newOrigin(t, http.NotFound)
	n := newNode(t).start()
	n.finish(wire.DownloadOrder{URL: origin.URL + "/x.qcow2", Folder: n.images})
	call := "/wget?" + url.Values{"url": {origin.URL + "/x.qcow2"}, "path": {n.images}}.Encode()
	want := `{"code":500,"message":"the server answers 404 Not Found","data":{"file":"x.qcow2","progress":"0.0%","state":"failed","bytes":0,"total":-1,"error":"the server answers 404 Not Found"}}`
	if status, body := n.raw("GET", call, "", n.server.Secret()); status != 200 || body != want {
		t.Errorf("got %d %s", status, body)
	}
}

func TestOneDownloadATarget(t *testing.T) {
	serve, open := gated(t)
	origin := newOrigin(t, serve)
	n := newNode(t).start()
	if err := os.Mkdir(filepath.Join(n.images, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("sub", filepath.Join(n.images, "alias")); err != nil {
		t.Fatal(err)
	}
	order := wire.DownloadOrder{URL: origin.URL + "/a", File: "debian.qcow2", Folder: n.images + "/sub"}
	if first, err := n.download(order); err != nil || first.State != wire.DownloadQueued {
		t.Fatalf("got %+v, %v", first, err)
	}
	eventually(t, "half is here, of an unknown size", func() bool {
		download, err := n.download(order)
		return err == nil && download.Bytes == int64(len(image)/2) && download.Total == -1 && download.Progress == "0.0%"
	})
	for name, row := range map[string]struct {
		change func(*wire.DownloadOrder)
		want   string
	}{
		"the same":               {func(*wire.DownloadOrder) {}, ""},
		"by another path":        {func(o *wire.DownloadOrder) { o.Folder = n.images + "/alias/" }, ""},
		"another URL":            {func(o *wire.DownloadOrder) { o.URL = origin.URL + "/b" }, "refused conflict"},
		"another URL, by a link": {func(o *wire.DownloadOrder) { o.URL, o.Folder = origin.URL+"/b", n.images+"/alias" }, "refused conflict"},
		"another checksum":       {func(o *wire.DownloadOrder) { o.Checksum = sha256Of("x") }, "refused conflict"},
	} {
		changed := order
		row.change(&changed)
		if _, err := n.download(changed); kindOf(err) != row.want {
			t.Errorf("%s: got %v", name, err)
		}
	}
	open()
	if download := n.finish(order); download.State != wire.DownloadDone {
		t.Errorf("got %+v", download)
	}
	if content, err := os.ReadFile(filepath.Join(n.images, "sub", "debian.qcow2")); err != nil || string(content) != image {
		t.Errorf("got %d bytes, %v", len(content), err)
	}
	other := order
	other.URL = origin.URL + "/b"
	if _, err := n.download(other); kindOf(err) != "refused conflict" {
		t.Errorf("another URL for the finished file: %v", err)
	}
	if got := len(origin.requests()); got != 1 {
		t.Errorf("%d requests for one file", got)
	}
}

func TestWgetRefuses(t *testing.T) {
	origin := newOrigin(t, whole)
	n := newNode(t).start()
	if err := os.Mkdir(filepath.Join(n.images, "folder.qcow2"), 0o755); err != nil {
		t.Fatal(err)
	}
	good := wire.DownloadOrder{URL: origin.URL + "/debian.qcow2", Folder: n.images}
	for name, row := range map[string]struct {
		change func(*wire.DownloadOrder)
		want   string
	}{
		"no url":           {func(o *wire.DownloadOrder) { o.URL = "" }, "refused invalid url"},
		"ftp":              {func(o *wire.DownloadOrder) { o.URL = "ftp://a.example/x" }, "refused invalid url"},
		"no scheme":        {func(o *wire.DownloadOrder) { o.URL = "a.example/x" }, "refused invalid url"},
		"bad escape":       {func(o *wire.DownloadOrder) { o.URL = "http://a.example/%zz" }, "refused invalid url"},
		"very long":        {func(o *wire.DownloadOrder) { o.URL += strings.Repeat("x", maxURLLength) }, "refused invalid url"},
		"no name":          {func(o *wire.DownloadOrder) { o.URL = origin.URL + "/" }, "refused invalid url"},
		"metadata":         {func(o *wire.DownloadOrder) { o.URL = "http://169.254.169.254/x" }, "refused forbidden url"},
		"option as name":   {func(o *wire.DownloadOrder) { o.File = "../x" }, "refused invalid file"},
		"name in disguise": {func(o *wire.DownloadOrder) { o.URL = origin.URL + "/..%2f..%2fetc%2fx%00" }, "refused invalid file"},
		"partial name":     {func(o *wire.DownloadOrder) { o.File = "x.part" }, "refused invalid file"},
		"no path":          {func(o *wire.DownloadOrder) { o.Folder = "" }, "refused invalid path"},
		"outside":          {func(o *wire.DownloadOrder) { o.Folder = "/etc" }, "refused forbidden path"},
		"missing folder":   {func(o *wire.DownloadOrder) { o.Folder += "/none" }, "not_found not_found"},
		"weak checksum":    {func(o *wire.DownloadOrder) { o.Checksum = "md5:00" }, "refused invalid checksum"},
		"onto a folder":    {func(o *wire.DownloadOrder) { o.File = "folder.qcow2" }, "refused conflict"},
	} {
		t.Run(name, func(t *testing.T) {
			order := good
			row.change(&order)
			if _, err := n.download(order); kindOf(err) != row.want {
				t.Errorf("got %v (%s)", err, kindOf(err))
			}
		})
	}
	if _, body := n.raw("GET", "/wget?restart=maybe&path=/x&url=http://127.0.0.1/x", "", n.server.Secret()); !strings.Contains(body, "restart: must be true or false") {
		t.Errorf("got %s", body)
	}
	if origin.requests() != nil {
		t.Error("a refused order was fetched")
	}
}

func TestFailedDownloadStaysFailedUntilRestarted(t *testing.T) {
	fine := make(chan struct{})
	origin := newOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-fine:
			whole(w, r)
		default:
			http.NotFound(w, r)
		}
	})
	n := newNode(t).start()
	order := wire.DownloadOrder{URL: origin.URL + "/debian.qcow2", Folder: n.images}
	n.finish(order)
	close(fine)
	if download := n.finish(order); download.State != wire.DownloadFailed || len(origin.requests()) != 1 {
		t.Errorf("asking alone changed it: %+v", download)
	}
	n.halt()
	n.start()
	if download := n.finish(order); download.State != wire.DownloadFailed {
		t.Errorf("the restart of the daemon changed it: %+v", download)
	}
	order.Restart = true
	if download := n.finish(order); download.State != wire.DownloadDone {
		t.Errorf("got %+v", download)
	}
	n.expectImage("debian.qcow2")
}

func TestExistingFile(t *testing.T) {
	for name, row := range map[string]struct {
		checksum string
		state    wire.DownloadState
		message  string
	}{
		"unverified":     {"", wire.DownloadDone, ""},
		"right checksum": {sha256Of(image), wire.DownloadDone, ""},
		"wrong checksum": {sha256Of("x"), wire.DownloadFailed, "delete it to download it"},
	} {
		t.Run(name, func(t *testing.T) {
			origin := newOrigin(t, whole)
			n := newNode(t).start()
			n.write("debian.qcow2", image)
			download := n.finish(wire.DownloadOrder{URL: origin.URL + "/debian.qcow2", Folder: n.images, Checksum: row.checksum})
			if download.State != row.state || !strings.Contains(download.Error, row.message) {
				t.Errorf("got %+v", download)
			}
			n.expectImage("debian.qcow2")
			if origin.requests() != nil {
				t.Error("it was downloaded again")
			}
		})
	}
}

func TestDeleteEndsDownload(t *testing.T) {
	serve, _ := gated(t)
	origin := newOrigin(t, serve)
	n := newNode(t).start()
	order := wire.DownloadOrder{URL: origin.URL + "/debian.qcow2", Folder: n.images}
	eventually(t, "half is here", func() bool {
		download, err := n.download(order)
		return err == nil && download.Bytes == int64(len(image)/2)
	})
	if err := n.client.DeleteFile(context.Background(), n.images, "debian.qcow2"); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(n.images)
	if err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if err := n.client.DeleteFile(context.Background(), n.images, "debian.qcow2"); kindOf(err) != "not_found not_found" {
		t.Errorf("twice: %v", err)
	}
}

func TestDownloadLimits(t *testing.T) {
	for name, row := range map[string]struct {
		serve  http.HandlerFunc
		change func(*Config)
		want   string
	}{
		"announced size": {whole, func(c *Config) { c.MaxDownloadBytes = int64(len(image)) - 1 }, "allowed are 319999"},
		"unknown size":   {chunked, func(c *Config) { c.MaxDownloadBytes = int64(len(image)) - 1 }, "more than the allowed 319999"},
		"stalled": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte("x"))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, func(c *Config) { c.DownloadStallTimeout, c.DownloadAttempts = 50*time.Millisecond, 2 }, "no data for 50ms"},
		"stalled before the first byte": {func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, func(c *Config) { c.DownloadStallTimeout, c.DownloadAttempts = 50*time.Millisecond, 2 }, "no data for 50ms"},
		"deadline": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			func(c *Config) { c.DownloadDeadline = 50 * time.Millisecond }, "not finished within 50ms"},
		"no room": {func(w http.ResponseWriter, _ *http.Request) {
			cutOff(w, "x", nil, 1<<50)
		}, func(c *Config) { c.MaxDownloadBytes = 1 << 60 }, "no space left"},
	} {
		t.Run(name, func(t *testing.T) {
			origin := newOrigin(t, row.serve)
			n := newNode(t)
			row.change(&n.config)
			n.start()
			download := n.finish(wire.DownloadOrder{URL: origin.URL + "/debian.qcow2", Folder: n.images})
			if download.State != wire.DownloadFailed || !strings.Contains(download.Error, row.want) {
				t.Errorf("got %+v", download)
			}
			if exists(filepath.Join(n.images, "debian.qcow2")) {
				t.Error("an incomplete file has the image's name")
			}
		})
	}
}

func TestDownloadsQueue(t *testing.T) {
	serve, open := gated(t)
	origin := newOrigin(t, serve)
	n := newNode(t)
	n.config.MaxDownloads = 1
	n.start()
	first := wire.DownloadOrder{URL: origin.URL + "/a", Folder: n.images}
	second := wire.DownloadOrder{URL: origin.URL + "/b", Folder: n.images}
	eventually(t, "the first runs", func() bool {
		download, err := n.download(first)
		return err == nil && download.Bytes > 0
	})
	for range 2 {
		if download, err := n.download(second); err != nil || download.State != wire.DownloadQueued {
			t.Errorf("got %+v, %v", download, err)
		}
	}
	if got := len(origin.requests()); got != 1 {
		t.Errorf("%d requests run at once", got)
	}
	open()
	if a, b := n.finish(first), n.finish(second); a.State != wire.DownloadDone || b.State != wire.DownloadDone {
		t.Errorf("got %+v and %+v", a, b)
	}
}

func TestFileAppearsMeanwhile(t *testing.T) {
	serve, open := gated(t)
	origin := newOrigin(t, serve)
	n := newNode(t).start()
	order := wire.DownloadOrder{URL: origin.URL + "/debian.qcow2", Folder: n.images}
	eventually(t, "half is here", func() bool {
		download, err := n.download(order)
		return err == nil && download.Bytes == int64(len(image)/2)
	})
	n.write("debian.qcow2", "by hand")
	open()
	if download := n.finish(order); download.State != wire.DownloadFailed || !strings.Contains(download.Error, "appeared meanwhile") {
		t.Errorf("got %+v", download)
	}
	if content, err := os.ReadFile(filepath.Join(n.images, "debian.qcow2")); err != nil || string(content) != "by hand" {
		t.Errorf("it was overwritten: %q, %v", content, err)
	}
}

func TestProgressText(t *testing.T) {
	for _, row := range []struct {
		bytes, total int64
		state        wire.DownloadState
		want         string
	}{
		{0, -1, wire.DownloadRunning, "0.0%"}, {5, -1, wire.DownloadRunning, "0.0%"}, {0, 0, wire.DownloadRunning, "0.0%"},
		{123, 1000, wire.DownloadRunning, "12.3%"}, {1, 3, wire.DownloadRunning, "33.33%"}, {1, 2, wire.DownloadRunning, "50.0%"},
		{99_999, 100_000, wire.DownloadRunning, "99.99%"}, {10, 10, wire.DownloadVerifying, "99.99%"},
		{10, 10, wire.DownloadDone, "100.0%"}, {0, 0, wire.DownloadDone, "100.0%"},
		{1 << 60, 1 << 61, wire.DownloadRunning, "50.0%"},
	} {
		if got := progressText(row.bytes, row.total, row.state); got != row.want {
			t.Errorf("%d of %d, %s: got %s, want %s", row.bytes, row.total, row.state, got, row.want)
		}
	}
}

func FuzzParseContentRange(f *testing.F) {
	f.Add("bytes 0-9/10")
	f.Add("bytes 5-9/*")
	f.Add("bytes */10")
	f.Fuzz(func(t *testing.T, text string) {
		start, total, ok := parseContentRange(text)
		if ok && (start < 0 || total != -1 && total <= start) {
			t.Errorf("%q is %d of %d", text, start, total)
		}
	})
}

func TestErrorTextHidesURL(t *testing.T) {
	err := error(&url.Error{Op: "Get", URL: "http://user:secret@a.example/?token=secret", Err: errors.New("connection refused")})
	if got := downloadErrorText(err); got != "connection refused" {
		t.Errorf("got %q", got)
	}
	if got := withoutSecrets("http://user:secret@a.example/pool/x?token=secret"); got != "http://a.example/pool/x" {
		t.Errorf("got %q", got)
	}
}

package catalogue

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gantry/server/broker"
)

const valid = `{"fileName":"a.qcow2","name":"A","type":"linux","arch":"x86_64","osType":"debian","url":"https://example.com/a.qcow2"}`

func open(t *testing.T, url string, now func() time.Time) *Source {
	t.Helper()
	source, err := New(url, now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func TestTheShippedListCanBeTakenOver(t *testing.T) {
	images := open(t, "", time.Now).Images(t.Context())
	if len(images) < 8 {
		t.Errorf("%d images", len(images))
	}
	for _, image := range images {
		if !strings.HasPrefix(image.URL, "https://") {
			t.Errorf("%s is fetched from %s", image.Name, image.URL)
		}
		// Nobody could see here whether a sum is right: the publisher's own file says so at the time of the download.
		site, _, _ := strings.Cut(strings.TrimPrefix(image.URL, "https://"), "/")
		if !broker.ChecksumIsFile(image.Checksum) || !strings.HasPrefix(image.Checksum, "https://"+site+"/") {
			t.Errorf("%s goes by the checksum %q", image.Name, image.Checksum)
		}
	}
}

func TestAURLReplacesTheShippedList(t *testing.T) {
	var body atomic.Value
	var asked atomic.Int64
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body.Load().(string))
	}))
	t.Cleanup(server.Close)
	now := time.Now()
	clock := func() time.Time { return now }

	for name, text := range map[string]string{
		"not JSON": "<html>", "empty": "[]", "another form": `{"a":1}`, "too large": "[" + strings.Repeat(valid+",", 10000) + valid + "]",
	} {
		body.Store(text)
		if got := open(t, server.URL, clock).Images(t.Context()); len(got) < 8 {
			t.Errorf("%s: %d images, wanted are the shipped ones", name, len(got))
		}
	}

	bad := strings.Replace(valid, `"linux"`, `"beos"`, 1)
	local := strings.Replace(valid, "https://example.com", "file://", 1)
	body.Store("[" + valid + "," + bad + "," + local + "," + valid + "]")
	source := open(t, server.URL, clock)
	images := source.Images(t.Context())
	if len(images) != 1 || images[0].FileName != "a.qcow2" || images[0].Source != broker.ImageFromURL {
		t.Fatalf("images %+v", images)
	}
	before := asked.Load()
	source.Images(t.Context())
	if asked.Load() != before {
		t.Error("a fresh list was fetched again")
	}
	now, status = now.Add(time.Hour), http.StatusInternalServerError
	if got := source.Images(t.Context()); len(got) != 1 || asked.Load() != before+1 {
		t.Errorf("URL down: %d images, asked %d times", len(got), asked.Load()-before)
	}
}

package task

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gantry/server/broker"
)

func TestChecksumsAreReadFromThePublishersFile(t *testing.T) {
	short, long := strings.Repeat("a1", 32), strings.Repeat("B2", 64)
	files := map[string]string{
		"/SHA256SUMS": short + " *other.img\n" + strings.Repeat("c", 64) + " *noble.img\n", // Ubuntu
		"/SHA512SUMS": long + "  debian.qcow2\n",                                           // Debian
		"/CHECKSUM":   "-----BEGIN PGP SIGNED MESSAGE-----\n\n# fedora.qcow2: 5 bytes\nSHA256 (fedora.qcow2) = " + short + "\n",
		"/BROKEN":     "<html>\n",
	}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, found := files[r.URL.Path]
		if !found {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(site.Close)
	for _, row := range []struct{ file, checksum, want, kind string }{
		{"noble.img", site.URL + "/SHA256SUMS", "sha256:" + strings.Repeat("c", 64), ""},
		{"debian.qcow2", site.URL + "/SHA512SUMS", "sha512:" + strings.ToLower(long), ""},
		{"fedora.qcow2", site.URL + "/CHECKSUM", "sha256:" + short, ""},
		{"any.img", "sha256:" + short, "sha256:" + short, ""},
		{"any.img", "", "", ""},
		{"ble.img", site.URL + "/SHA256SUMS", "", string(broker.Failed)},
		{"any.img", site.URL + "/BROKEN", "", string(broker.Failed)},
		{"any.img", site.URL + "/MISSING", "", string(broker.Unreachable)},
	} {
		got, err := (&Workflows{}).checksum(t.Context(), &broker.Image{FileName: "here.qcow2", URL: "https://images.example/path/" + row.file, Checksum: row.checksum})
		kind := ""
		if err != nil {
			kind = string(broker.KindOf(err))
		}
		if got != row.want || kind != row.kind {
			t.Errorf("%s by %s: %q, %v", row.file, row.checksum, got, err)
		}
	}
}

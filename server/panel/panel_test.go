package panel_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"gantry/server/panel"
)

const page = "text/html,application/xhtml+xml"

func open(t *testing.T, consoles ...string) *panel.Panel {
	t.Helper()
	p, err := panel.New(panel.Config{
		AdminPath: "secret",
		Files: fstest.MapFS{
			"index.html":            {Data: []byte(`<html><head><base href="./" /></head></html>`)},
			"icon.svg":              {Data: []byte("<svg/>")},
			"assets/main-AB.js":     {Data: []byte("plain")},
			"assets/main-AB.js.br":  {Data: []byte("as brotli")},
			"assets/main-AB.js.gz":  {Data: []byte("as gzip")},
			"assets/style-CD.css":   {Data: []byte("style")},
			"assets/chunks/keep.js": {Data: []byte("chunk")},
		},
		ConsoleURLs: func(context.Context) []string { return consoles },
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestOnlyFilesAndPagesBelowTheAdminPathAreServed(t *testing.T) {
	p := open(t)
	for _, row := range []struct {
		method, path, accept string
		serves               bool
	}{
		{"GET", "/secret", page, true},
		{"GET", "/secret/", page, true},
		{"HEAD", "/secret/", page, true},
		{"GET", "/secret/vms/7", page, true},
		{"GET", "/secret/assets/main-AB.js", "*/*", true},
		{"GET", "/secret/icon.svg", "", true},
		{"GET", "/secret/", "*/*", false},
		{"GET", "/secret/getVmByPagee", "application/json", false},
		{"POST", "/secret/", page, false},
		{"GET", "/secret/assets/main-AB.js.gz", "*/*", false},
		{"GET", "/secret/assets/", "*/*", false},
		{"GET", "/secret/assets/absent.js", "*/*", false},
		{"GET", "/secret/../secret/icon.svg", "*/*", false},
		{"GET", "/", page, false},
		{"GET", "/secre", page, false},
		{"GET", "/secrets/", page, false},
		{"GET", "/other/assets/main-AB.js", page, false},
	} {
		request := httptest.NewRequest(row.method, "/", nil)
		request.URL.Path = row.path
		request.Header.Set("Accept", row.accept)
		if got := p.Serves(request); got != row.serves {
			t.Errorf("%s %s (%s): serves %v, want %v", row.method, row.path, row.accept, got, row.serves)
		}
	}
}

func TestAnswers(t *testing.T) {
	p := open(t)
	for _, row := range []struct {
		path, encoding, body, header, value string
	}{
		{"/secret/vms", "", `<html><head><base href="/secret/" /></head></html>`, "Content-Type", "text/html; charset=utf-8"},
		{"/secret/index.html", "", `<html><head><base href="/secret/" /></head></html>`, "Vary", "Accept"},
		{"/secret/assets/main-AB.js", "", "plain", "Content-Type", "text/javascript; charset=utf-8"},
		{"/secret/assets/main-AB.js", "gzip, deflate, br, zstd", "as brotli", "Content-Encoding", "br"},
		{"/secret/assets/main-AB.js", "gzip", "as gzip", "Content-Encoding", "gzip"},
		{"/secret/assets/main-AB.js", "br;q=0, GZIP;q=0.5", "as gzip", "Content-Type", "text/javascript; charset=utf-8"},
		{"/secret/assets/main-AB.js", "br;q=0.0", "plain", "Content-Encoding", ""},
		{"/secret/assets/style-CD.css", "br", "style", "Cache-Control", "private, max-age=31536000, immutable"},
		{"/secret/icon.svg", "", "<svg/>", "Cache-Control", "no-cache"},
	} {
		request := httptest.NewRequest("GET", row.path, nil)
		request.Header.Set("Accept", page)
		request.Header.Set("Accept-Encoding", row.encoding)
		recorder := httptest.NewRecorder()
		p.ServeHTTP(recorder, request)
		if recorder.Code != 200 || recorder.Body.String() != row.body || recorder.Header().Get(row.header) != row.value {
			t.Errorf("%s (%s): %d %q, %s: %q", row.path, row.encoding, recorder.Code, recorder.Body, row.header, recorder.Header().Get(row.header))
		}
	}
}

func TestTheBareAdminPathLeadsToThePanel(t *testing.T) {
	recorder := httptest.NewRecorder()
	open(t).ServeHTTP(recorder, httptest.NewRequest("GET", "/secret", nil))
	if recorder.Code != 302 || recorder.Header().Get("Location") != "/secret/" {
		t.Errorf("%d to %q", recorder.Code, recorder.Header().Get("Location"))
	}
}

func TestContentPolicyAllowsOwnFilesAndConsolesOnly(t *testing.T) {
	for _, row := range []struct {
		consoles []string
		frames   string
	}{
		{nil, "frame-src 'none';"},
		{[]string{"https://console.example:7600/console/"}, "frame-src https://console.example:7600;"},
		{[]string{"http://10.0.0.2:81", "javascript:alert(1)", "https://x; script-src *", "//y"}, "frame-src http://10.0.0.2:81;"},
	} {
		recorder := httptest.NewRecorder()
		open(t, row.consoles...).ServeHTTP(recorder, httptest.NewRequest("GET", "/secret/", nil))
		got := recorder.Header().Get("Content-Security-Policy")
		for _, want := range []string{row.frames, "default-src 'none'", "script-src 'self';", "style-src 'self';", "connect-src 'self';", "frame-ancestors 'none'"} {
			if !strings.Contains(got, want) {
				t.Errorf("%v: policy %q lacks %q", row.consoles, got, want)
			}
		}
		if strings.Contains(got, "unsafe") || strings.Contains(got, "*") {
			t.Errorf("%v: policy %q", row.consoles, got)
		}
	}
}

func TestAPageWithoutAPlaceForItsAddressIsRefused(t *testing.T) {
	for name, files := range map[string]fstest.MapFS{
		"none":       {},
		"no base":    {"index.html": {Data: []byte("<html></html>")}},
		"base twice": {"index.html": {Data: []byte(`<base href="./" /><base href="./" />`)}},
	} {
		if _, err := panel.New(panel.Config{Files: files, AdminPath: "x"}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

package api_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gantry/controlled"
	"gantry/internal/tlspin"
)

// servedByTheDaemon are the documented calls of the node daemon, with what their example needs: "{images}" is a folder that it may use,
// "{vnc}" one for VNC tokens, "{site}" a web server, and a port that is free.
var servedByTheDaemon = map[string]example{
	"GET /status":          {},
	"GET /version":         {},
	"GET /pathFile":        {path: "/pathFile?path={images}"},
	"GET /wget":            {path: "/wget?url={site}/image.qcow2&path={images}"},
	"POST /readFile":       {set: map[string]any{"path": "{images}", "filename": "a file"}},
	"POST /deleteFile":     {set: map[string]any{"path": "{images}", "file": "a file"}},
	"POST /changePassword": {},
	"POST /importDisk":     {set: map[string]any{"vmid": 101, "image_path": "{images}/a file", "save_path": "local"}},
	"POST /update":         {},
	"POST /vnc":            {set: map[string]any{"vnc_file_path": "{vnc}", "port": "{port}"}},
	"POST /vnc/stop":       {set: map[string]any{"port": "{port}"}},
	"POST /vnc/import": {set: map[string]any{
		"vnc_file_path": "{vnc}", "host": "192.168.36.155", "port": 59002, "username": "qimen", "password": "test123", "time": 7200, "vmid": 101,
	}},
}

// TestEveryDocumentedCallIsServed fails on a call of the documentation that no example is tried with.
func TestEveryDocumentedCallIsServed(t *testing.T) {
	contract := readContract(t)
	served := maps.Clone(served)
	maps.Copy(served, servedResources)
	maps.Copy(served, servedByTheDaemon)
	for key := range contract {
		if _, found := served[key]; !found {
			t.Errorf("%s is documented and not served", key)
		}
	}
	if len(contract) != 108 || len(served) != len(contract) {
		t.Errorf("%d calls are documented, %d are tried", len(contract), len(served))
	}
}

// daemonOfContract is a running daemon on whose node qm answers to everything with success.
func daemonOfContract(t *testing.T) (send func(method, path, body, secret string) (int, string), fill *strings.Replacer, port int) {
	t.Helper()
	base := t.TempDir()
	images, tokens := filepath.Join(base, "images"), filepath.Join(base, "vnc")
	check(t, os.Mkdir(images, 0o755))
	check(t, os.Mkdir(tokens, 0o755))
	check(t, os.WriteFile(filepath.Join(images, "a file"), []byte("text"), 0o644))
	public, private, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	release := []byte(`{"version":"1.2.3","files":{}}`)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/release.json":
			_, _ = w.Write(release)
		case "/release.json.sig":
			_, _ = io.WriteString(w, base64.StdEncoding.EncodeToString(ed25519.Sign(private, release)))
		default:
			_, _ = io.WriteString(w, "an image")
		}
	}))
	t.Cleanup(site.Close)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	port = listener.Addr().(*net.TCPAddr).Port
	check(t, listener.Close())

	config := controlled.DefaultConfig()
	config.Listen, config.DataDir, config.Version = "127.0.0.1:0", filepath.Join(base, "data"), "1.2.3"
	config.ImageDirs, config.VNCDirs, config.AllowPrivateDownloads = []string{images}, []string{tokens}, true
	config.QMCommand, config.SupervisorCommand = []string{"/bin/true"}, []string{"/bin/true"}
	config.UpdateURL, config.UpdateKey = site.URL+"/release.json", base64.StdEncoding.EncodeToString(public)
	config.Logger = slog.New(slog.DiscardHandler)
	server, err := controlled.Start(t.Context(), config)
	check(t, err)
	t.Cleanup(func() { check(t, server.Wait()) }) // t.Context has ended by then
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: tlspin.Pinned(server.Pin()), DisableKeepAlives: true}}
	send = func(method, path, body, secret string) (int, string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, server.URL()+path, strings.NewReader(body))
		check(t, err)
		if secret == "right" {
			secret = server.Secret()
		}
		request.Header.Set("Authorization", secret)
		reply, err := client.Do(request)
		check(t, err)
		defer reply.Body.Close()
		text, err := io.ReadAll(reply.Body)
		check(t, err)
		return reply.StatusCode, string(text)
	}
	return send, strings.NewReplacer("{images}", images, "{vnc}", tokens, "{site}", site.URL), port
}

// wrongTypes is a body with a list for every value.
func wrongTypes(t *testing.T, body string) string {
	t.Helper()
	var fields map[string]any
	check(t, json.Unmarshal([]byte(body), &fields))
	for name := range fields {
		fields[name] = []any{}
	}
	text, err := json.Marshal(fields)
	check(t, err)
	return string(text)
}

func TestDocumentedExamplesOfTheDaemonAreAnswered(t *testing.T) {
	contract := readContract(t)
	send, fill, port := daemonOfContract(t)
	// The order matters: a service is stopped after it was started, a file deleted after it was read.
	for _, key := range []string{
		"GET /status", "GET /version", "GET /pathFile", "GET /wget", "POST /readFile", "POST /changePassword", "POST /importDisk", "POST /update",
		"POST /vnc", "POST /vnc/import", "POST /vnc/stop", "POST /deleteFile",
	} {
		call, needs := contract[key], servedByTheDaemon[key]
		body := ""
		if example, isObject := call.Body.(map[string]any); isObject {
			for name, value := range needs.set {
				if text, isText := value.(string); isText {
					if value = fill.Replace(text); text == "{port}" {
						value = port
					}
				}
				example[name] = value
			}
			text, err := json.Marshal(example)
			check(t, err)
			body = string(text)
		}
		path := call.Path
		if needs.path != "" {
			path = fill.Replace(needs.path)
		}
		status, text := send(call.Method, path, body, "right")
		var answer struct {
			Code    int            `json:"code"`
			Message string         `json:"message"`
			Data    map[string]any `json:"data"`
		}
		check(t, json.Unmarshal([]byte(text), &answer))
		if status != 200 || answer.Code != 200 || answer.Message != "success" || answer.Data == nil {
			t.Errorf("%s: %d %s", key, status, text)
		}
		for name, secret := range map[string]string{"no secret": "", "another's": strings.Repeat("0", 64)} {
			if status, text := send(call.Method, path, body, secret); status != 401 && status != 429 || !strings.Contains(text, `"code":401`) {
				t.Errorf("%s with %s: %d %s", key, name, status, text)
			}
		}
		if body == "" {
			continue
		}
		for name, bad := range map[string]string{"nothing": "", "no object": "[]", "nothing in it": "{}", "wrong types": wrongTypes(t, body)} {
			if status, text := send(call.Method, path, bad, "right"); status != 200 || !strings.Contains(text, `"code":500`) || !strings.Contains(text, `"reason":"invalid"`) {
				t.Errorf("%s with %s: %d %s", key, name, status, text)
			}
		}
	}
	if status, text := send("POST", "/nothing", "", "right"); status != 404 || !strings.Contains(text, fmt.Sprintf(`"code":%d`, 404)) {
		t.Errorf("unknown call: %d %s", status, text)
	}
}

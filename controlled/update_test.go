package controlled

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	wire "gantry/internal/controlledclient"
)

// program is a copy of the test binary that stands for a release.
func program(t *testing.T, path, release string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(content, releaseMark+release...), 0o755); err != nil {
		t.Fatal(err)
	}
}

// publisher signs releases and serves them.
type publisher struct {
	key    ed25519.PrivateKey
	url    string
	folder string
}

func newPublisher(t *testing.T) *publisher {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &publisher{key: key, folder: t.TempDir()}
	server := httptest.NewServer(http.FileServer(http.Dir(p.folder)))
	t.Cleanup(server.Close)
	p.url = server.URL + "/release.json"
	return p
}

// publish puts a release up; spoil may change what is served.
func (p *publisher) publish(t *testing.T, release string, spoil func(p *publisher, manifest []byte) []byte) {
	t.Helper()
	file := filepath.Join(p.folder, "gantry")
	program(t, file, release)
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	manifest, err := json.Marshal(updateManifest{Version: release, Files: map[string]updateBinary{
		runtime.GOOS + "/" + runtime.GOARCH: {URL: "gantry", SHA256: hex.EncodeToString(sum[:])},
	}})
	if err != nil {
		t.Fatal(err)
	}
	signature := base64.StdEncoding.EncodeToString(ed25519.Sign(p.key, manifest))
	if spoil != nil {
		manifest = spoil(p, manifest)
	}
	for name, text := range map[string]string{"release.json": string(manifest), "release.json.sig": signature + "\n"} {
		if err := os.WriteFile(filepath.Join(p.folder, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// updatable is a node whose daemon is a program of its own, release 1.2.3.
func updatable(t *testing.T, p *publisher) *node {
	t.Helper()
	n := newNode(t)
	n.config.Executable = filepath.Join(filepath.Dir(n.images), "program")
	n.config.GuardArguments = []string{"guard-update"}
	n.config.Listen = fmt.Sprintf("127.0.0.1:%d", freePort(t))
	n.config.UpdateURL = p.url
	n.config.UpdateKey = base64.StdEncoding.EncodeToString(p.key.Public().(ed25519.PublicKey))
	n.config.UpdatePatience = 20 * time.Second
	program(t, n.config.Executable, "1.2.3")
	return n
}

func (n *node) awaitUpdate(t *testing.T, want wire.UpdateState) wire.Update {
	t.Helper()
	var last wire.Update
	eventually(t, "the update is "+string(want), func() bool {
		got, err := n.client.LastUpdate(t.Context())
		last = got
		return err == nil && got.State == want
	})
	return last
}

func TestANewReleaseTakesOver(t *testing.T) {
	p := newPublisher(t)
	p.publish(t, "1.3.0", nil)
	n := updatable(t, p)
	process := n.spawnProgram(n.config.Executable)
	got, err := n.client.Update(t.Context())
	if err != nil || got != (wire.Update{Version: "1.3.0", State: wire.UpdateRestarting}) {
		t.Fatalf("%+v, %v", got, err)
	}
	n.awaitUpdate(t, wire.UpdateDone)
	if version, err := n.client.Version(t.Context()); err != nil || version != "1.3.0" {
		t.Errorf("version %q, %v", version, err)
	}
	if running, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", process.Pid)); err != nil || running != n.config.Executable {
		t.Errorf("process %d runs %s, %v: a supervisor would have seen an end", process.Pid, running, err)
	}
	if got, err := n.client.Update(t.Context()); err != nil || got.State != wire.UpdateCurrent {
		t.Errorf("again: %+v, %v", got, err)
	}
}

func TestAReleaseThatDoesNotAnswerIsTakenBack(t *testing.T) {
	for name, release := range map[string]string{"it ends at once": "9.0.0", "it never answers": "9.1.0"} {
		t.Run(name, func(t *testing.T) {
			p := newPublisher(t)
			p.publish(t, release, nil)
			n := updatable(t, p)
			n.config.UpdatePatience = 2 * time.Second
			n.spawnProgram(n.config.Executable)
			if _, err := n.client.Update(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := n.awaitUpdate(t, wire.UpdateRolledBack); got.Version != release || got.Error == "" {
				t.Errorf("%+v", got)
			}
			if version, err := n.client.Version(t.Context()); err != nil || version != "1.2.3" {
				t.Errorf("version %q, %v", version, err)
			}
			endDaemon(t, n) // the one that came back is not the test's child
		})
	}
}

// endDaemon ends the daemon that holds the data directory.
func endDaemon(t *testing.T, n *node) {
	t.Helper()
	for _, process := range runningCopies(t, n.config.Executable) {
		_ = process.Kill()
	}
	eventually(t, "the daemon is gone", func() bool {
		lock, err := lockDataDir(n.config.DataDir)
		return err == nil && lock.Close() == nil
	})
}

// runningCopies are the processes that run a program.
func runningCopies(t *testing.T, program string) (found []*os.Process) {
	t.Helper()
	entries, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		target, err := os.Readlink(entry)
		if err != nil || strings.TrimSuffix(target, " (deleted)") != program {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(entry, "/proc/%d/exe", &pid); err != nil {
			t.Fatal(err)
		}
		if process, err := os.FindProcess(pid); err == nil {
			found = append(found, process)
		}
	}
	return found
}

func TestReleasesThatAreRefused(t *testing.T) {
	replace := func(old, fresh string) func(*publisher, []byte) []byte {
		return func(_ *publisher, manifest []byte) []byte {
			return []byte(strings.Replace(string(manifest), old, fresh, 1))
		}
	}
	for name, row := range map[string]struct {
		spoil func(p *publisher, manifest []byte) []byte
		want  string
	}{
		"a description that was changed": {replace("1.3.0", "1.4.0"), "refused forbidden signature"},
		"a program that was changed": {func(p *publisher, manifest []byte) []byte {
			program(t, filepath.Join(p.folder, "gantry"), "6.6.6")
			return manifest
		}, "refused forbidden sha256"},
		"a program that is not there": {func(p *publisher, manifest []byte) []byte {
			_ = os.Remove(filepath.Join(p.folder, "gantry"))
			return manifest
		}, "refused failed"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPublisher(t)
			p.publish(t, "1.3.0", row.spoil)
			n := updatable(t, p).start()
			before, err := os.ReadFile(n.config.Executable)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := n.client.Update(t.Context()); kindOf(err) != row.want {
				t.Errorf("%v, want %s", err, row.want)
			}
			after, err := os.ReadFile(n.config.Executable)
			if err != nil || string(after) != string(before) {
				t.Error("the program was changed")
			}
			if left, _ := filepath.Glob(filepath.Join(filepath.Dir(n.config.Executable), ".gantry-update-*")); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
			if _, err := n.client.LastUpdate(t.Context()); kindOf(err) != "not_found not_found" {
				t.Errorf("last update: %v", err)
			}
		})
	}
	t.Run("another key", func(t *testing.T) {
		p := newPublisher(t)
		p.publish(t, "1.3.0", nil)
		n := updatable(t, p)
		n.config.UpdateKey = base64.StdEncoding.EncodeToString(make([]byte, ed25519.PublicKeySize))
		if _, err := n.start().client.Update(t.Context()); kindOf(err) != "refused forbidden signature" {
			t.Errorf("%v", err)
		}
	})
	t.Run("not configured", func(t *testing.T) {
		if _, err := newNode(t).start().client.Update(t.Context()); kindOf(err) != "refused forbidden update_url" {
			t.Errorf("%v", err)
		}
	})
}

func TestNewerReleases(t *testing.T) {
	for _, row := range []struct {
		release, present string
		want             bool
	}{
		{"1.2.4", "1.2.3", true}, {"1.10.0", "1.9.9", true}, {"2.0.0", "v1.99.0", true}, {"1.2.3", "1.2.3", false}, {"1.2.2", "1.2.3", false},
		{"1.3.0-rc.1", "1.2.9", true}, {"1.3.0", "1.3.0-rc.1", true}, {"1.3.0-rc.1", "1.3.0", false}, {"1.3.0-rc.10", "1.3.0-rc.9", true},
		{"1.3.0-rc", "1.3.0-rc.1", false}, {"1.3.0-beta", "1.3.0-1", true}, {"1.2.3+b2", "1.2.3+b1", false}, {"1.2.3", "development", true}, {"latest", "1.2.3", false},
	} {
		if got := newer(row.release, row.present); got != row.want {
			t.Errorf("%s after %s: %v", row.release, row.present, got)
		}
	}
}

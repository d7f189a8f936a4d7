package vncproxy_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gantry/internal/consoleapi"
	"gantry/vncproxy"
)

func TestLimits(t *testing.T) {
	for _, row := range []struct {
		name  string
		limit func(*vncproxy.Config)
		vms   [3]int64
	}{
		{"of the proxy", func(c *vncproxy.Config) { c.MaxSessions = 2 }, [3]int64{1, 2, 3}},
		{"of a client address", func(c *vncproxy.Config) { c.MaxSessionsPerClient = 2 }, [3]int64{1, 2, 3}},
		{"of a virtual machine", func(c *vncproxy.Config) { c.MaxSessionsPerVM = 2 }, [3]int64{1, 1, 1}},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t, row.limit)
			first, firstStream := r.browser(t).open(t, r.issue(t, row.vms[0]))
			_, secondStream := r.browser(t).open(t, r.issue(t, row.vms[1]))
			readServerInit(t, firstStream)
			readServerInit(t, secondStream)
			b, token := r.browser(t), r.issue(t, row.vms[2])
			// The limit of a VM shows after the RFB opening only, as a console in the same session may give way.
			conn := b.dial(t, token)
			if row.vms[2] == row.vms[0] {
				conn.CloseNow()
				conn, _ = r.browser(t).open(t, r.issue(t, row.vms[2]))
			}
			expectClose(t, conn, consoleapi.ReasonTooMany)
			first.CloseNow()
			eventually(t, "room for one more", func() bool { return strings.Count(r.log.String(), "console closed") >= 1 })
			eventually(t, "a place given back", func() bool { return !strings.Contains(health(t, r), `"sessions":2`) })
			_, stream := b.open(t, token)
			readServerInit(t, stream)
		})
	}
}

func health(t *testing.T, r *rig) string {
	t.Helper()
	answer, err := http.Get(r.url + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("/healthz: %d %s %v", answer.StatusCode, text, err)
	}
	return string(text)
}

func TestSessionsEnd(t *testing.T) {
	for _, row := range []struct {
		name      string
		configure func(*vncproxy.Config)
		act       func(t *testing.T, r *rig)
		want      consoleapi.Reason
	}{
		{"without input", func(c *vncproxy.Config) { c.IdleTimeout = 50 * time.Millisecond }, func(*testing.T, *rig) {}, consoleapi.ReasonIdle},
		{"when the operator revokes", func(c *vncproxy.Config) { c.CheckInterval = 20 * time.Millisecond }, func(t *testing.T, r *rig) {
			if _, err := r.service.RevokeVM(t.Context(), 7); err != nil {
				t.Fatal(err)
			}
		}, consoleapi.ReasonEndedByAdmin},
		{"when their time is over", func(c *vncproxy.Config) { c.CheckInterval = 20 * time.Millisecond }, func(_ *testing.T, r *rig) {
			r.set(func() { r.ahead = 3 * time.Hour })
		}, consoleapi.ReasonSessionOver},
		{"when the proxy stops", func(*vncproxy.Config) {}, func(_ *testing.T, r *rig) { r.stop() }, consoleapi.ReasonShuttingDown},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t, row.configure)
			conn, stream := r.browser(t).open(t, r.issue(t, 7))
			readServerInit(t, stream)
			row.act(t, r)
			expectClose(t, conn, row.want)
		})
	}
}

// The viewer's own requests for pixels don't keep a console open, keys do.
func TestOnlyTheUserKeepsAConsoleOpen(t *testing.T) {
	r := newRig(t, func(c *vncproxy.Config) { c.IdleTimeout = 200 * time.Millisecond })
	requesting, _ := r.browser(t).open(t, r.issue(t, 7))
	_, typing := r.browser(t).open(t, r.issue(t, 8))
	readServerInit(t, typing)
	done, quit := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-quit:
				return
			case <-ticker.C:
				// Errors show in what the test expects below.
				_, _ = typing.Write([]byte{4, 1, 0, 0, 0, 0, 0, 0x61})
				_ = requesting.Write(t.Context(), 2, []byte{3, 1, 0, 0, 0, 0, 0, 1, 0, 1})
			}
		}
	}()
	expectClose(t, requesting, consoleapi.ReasonIdle)
	keys := len(r.screen.Keys())
	eventually(t, "keys still arriving", func() bool { return len(r.screen.Keys()) > keys+3 })
	close(quit)
	<-done
}

// A browser that stops reading while the guest draws must not hold the session for ever.
func TestStalledBrowserIsDropped(t *testing.T) {
	r := newRig(t, func(c *vncproxy.Config) { c.StallTimeout = 100 * time.Millisecond })
	r.screen.Flood = true
	r.browser(t).open(t, r.issue(t, 7)) // and never reads
	eventually(t, "the end of the stalled session", func() bool {
		return strings.Contains(r.log.String(), `"reason":"stalled"`)
	})
}

func TestMetrics(t *testing.T) {
	r := newRig(t, nil)
	_, stream := r.browser(t).open(t, r.issue(t, 7))
	readServerInit(t, stream)
	expectClose(t, r.browser(t).dial(t, "nonsense"), consoleapi.ReasonLinkInvalid)
	figures := func() string {
		recorder := httptest.NewRecorder()
		r.proxy.Metrics().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		return recorder.Body.String()
	}
	for _, line := range []string{
		"gantry_vncproxy_sessions 1", `gantry_vncproxy_closed_total{reason="link_invalid"} 1`, `gantry_vncproxy_closed_total{reason="idle"} 0`,
		`gantry_vncproxy_bytes_total{direction="down"} 42`, "gantry_vncproxy_open_seconds_count 1",
	} {
		eventually(t, "the line "+line, func() bool { return strings.Contains(figures(), line+"\n") })
	}
}

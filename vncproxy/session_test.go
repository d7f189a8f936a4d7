package vncproxy_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"gantry/internal/consoleapi"
	"gantry/vncproxy"
	"gantry/vncproxy/vnctest"
)

func TestConsoleShowsPixelsAndTakesKeys(t *testing.T) {
	r := newRig(t, nil)
	token := r.issue(t, 7)
	conn, stream := r.browser(t).open(t, token)
	if width, height := readServerInit(t, stream); width != vnctest.Width || height != vnctest.Height {
		t.Errorf("screen is %d x %d", width, height)
	}
	request := []byte{3, 0, 0, 0, 0, 0, 2, 128, 1, 144}
	if _, err := stream.Write(request); err != nil {
		t.Fatal(err)
	}
	update := make([]byte, 16+4*vnctest.Width*vnctest.Height)
	if _, err := io.ReadFull(stream, update); err != nil {
		t.Fatalf("picture: %v", err)
	}
	if got := update[16:19]; !bytes.Equal(got, []byte{vnctest.TopLeft.B, vnctest.TopLeft.G, vnctest.TopLeft.R}) {
		t.Errorf("first pixel is % x", got)
	}
	changed := r.screen.Changed()
	if _, err := stream.Write([]byte{4, 1, 0, 0, 0, 0, 0xff, 0x0d}); err != nil {
		t.Fatal(err)
	}
	<-changed
	if got := r.screen.Keys(); !slices.Equal(got, []uint32{0xff0d}) {
		t.Errorf("keys %x, want Return", got)
	}
	if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Errorf("close: %v", err)
	}
	eventually(t, "end of the session in the log", func() bool { return strings.Contains(r.log.String(), "console closed") })
	checkSecrets(t, r, token)
	if got := r.pve.Violations(); len(got) != 0 {
		t.Errorf("PVE complains: %v", got)
	}
}

// A screen that only the broker reaches looks the same to the browser, and a second browser gets none of it.
func TestConsoleThroughTheBroker(t *testing.T) {
	r := newRig(t, nil)
	r.instead(consoleapi.Target{Network: consoleapi.NetworkBroker, VNCPassword: "PVEVNC:6"})
	token := r.issue(t, 7)
	conn, stream := r.browser(t).open(t, token)
	if width, height := readServerInit(t, stream); width != vnctest.Width || height != vnctest.Height {
		t.Errorf("screen is %d x %d", width, height)
	}
	changed := r.screen.Changed()
	if _, err := stream.Write([]byte{4, 1, 0, 0, 0, 0, 0xff, 0x0d}); err != nil {
		t.Fatal(err)
	}
	<-changed
	if code, _ := readClose(t, r.browser(t).dial(t, token)); code != consoleapi.ReasonLinkUsed.CloseCode() {
		t.Errorf("a second browser is told %d", code)
	}
	if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Errorf("close: %v", err)
	}
	eventually(t, "end of the screen in the log", func() bool { return strings.Contains(r.log.String(), "screen closed") })
	checkSecrets(t, r, token)

	// With the wrong password, or none to give, the screen is not shown.
	r.instead(consoleapi.Target{Network: consoleapi.NetworkBroker, VNCPassword: "wrong"})
	if code, _ := readClose(t, r.browser(t).dial(t, r.issue(t, 7))); code != consoleapi.ReasonTargetRefused.CloseCode() {
		t.Errorf("a wrong password is told as %d", code)
	}
}

// checkSecrets holds that the log names neither the token nor anything that leads to the hypervisor.
func checkSecrets(t *testing.T, r *rig, token string) {
	t.Helper()
	target := r.pve.Target()
	address, err := url.Parse(target.Address)
	if err != nil {
		t.Fatal(err)
	}
	for name, secret := range map[string]string{
		"token": token, "API token": vnctest.APIToken, "VNC password": target.VNCPassword,
		"ticket": "vncticket", "port": ":" + address.Port(),
	} {
		if strings.Contains(r.log.String(), secret) {
			t.Errorf("the log holds the %s:\n%s", name, r.log)
		}
	}
}

// A clipboard of 300 KiB comes as one message from the browser; PVE takes 128 KiB a frame.
func TestBigMessagesAreCutToWhatPVETakes(t *testing.T) {
	r := newRig(t, nil)
	conn, stream := r.browser(t).open(t, r.issue(t, 7))
	readServerInit(t, stream)
	text := bytes.Repeat([]byte("0123456789"), 30<<10)
	message := binary.BigEndian.AppendUint32([]byte{6, 0, 0, 0}, uint32(len(text)))
	changed := r.screen.Changed()
	if err := conn.Write(t.Context(), websocket.MessageBinary, append(message, text...)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-changed:
	case <-time.After(20 * time.Second):
		t.Fatalf("the text did not arrive; PVE complains: %v", r.pve.Violations())
	}
	if !bytes.Equal(r.screen.CutText(), text) {
		t.Error("the text arrived changed")
	}
	if got := r.pve.Violations(); len(got) != 0 {
		t.Errorf("PVE complains: %v", got)
	}
}

func TestConsoleOverSocket(t *testing.T) {
	for _, network := range []string{consoleapi.NetworkUnix, consoleapi.NetworkTCP} {
		t.Run(network, func(t *testing.T) {
			r := newRig(t, nil)
			address := "127.0.0.1:0"
			if network == consoleapi.NetworkUnix {
				address = filepath.Join(t.TempDir(), "vnc.sock")
			}
			listener, err := net.Listen(network, address)
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			go func() {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				_ = r.screen.Serve(conn) // what goes wrong shows on the other side
			}()
			r.instead(consoleapi.Target{Network: network, Address: listener.Addr().String(), VNCPassword: r.screen.Password})
			_, stream := r.browser(t).open(t, r.issue(t, 7))
			if width, _ := readServerInit(t, stream); width != vnctest.Width {
				t.Errorf("screen is %d wide", width)
			}
			request := bytes.Repeat([]byte{3, 0, 0, 0, 0, 0, 2, 128, 1, 144}, 20)
			if _, err := stream.Write(request); err != nil {
				t.Fatal(err)
			}
			if _, err := io.CopyN(io.Discard, stream, 20*(16+4*vnctest.Width*vnctest.Height)); err != nil {
				t.Errorf("20 pictures: %v", err)
			}
		})
	}
}

func TestLinkBelongsToTheFirstBrowser(t *testing.T) {
	r := newRig(t, nil)
	token := r.issue(t, 7)
	mine, other := r.browser(t), r.browser(t)
	first, _ := mine.open(t, token)
	expectClose(t, other.dial(t, token), consoleapi.ReasonLinkUsed)

	// The same browser again, in another tab: it gets the console, the first tab is told.
	second, stream := mine.open(t, token)
	expectClose(t, first, consoleapi.ReasonTakenOver)
	if width, _ := readServerInit(t, stream); width != vnctest.Width {
		t.Error("the second tab shows no screen")
	}
	if err := second.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Errorf("close: %v", err)
	}
	mine.open(t, token)

	r.set(func() { r.ahead = 3 * time.Hour })
	expectClose(t, mine.dial(t, token), consoleapi.ReasonSessionOver)
}

func TestRefusedLinks(t *testing.T) {
	r := newRig(t, nil)
	for name, token := range map[string]string{
		"empty": "", "short": "abc", "unknown": string(consoleapi.NewToken()), "hostile": strings.Repeat("/", 4000),
	} {
		t.Run(name, func(t *testing.T) {
			expectClose(t, r.browser(t).dial(t, token), consoleapi.ReasonLinkInvalid)
		})
	}
	t.Run("expired", func(t *testing.T) {
		token := r.issue(t, 7)
		r.set(func() { r.ahead = 6 * time.Minute })
		expectClose(t, r.browser(t).dial(t, token), consoleapi.ReasonLinkExpired)
	})
}

// What is no websocket of an allowed page must not spend the link.
func TestLinkIsNotSpentByForeignRequests(t *testing.T) {
	r := newRig(t, func(c *vncproxy.Config) { c.AllowedOrigins = []string{"https://panel.example.com"} })
	token := r.issue(t, 7)
	address := r.url + "/console/ws?token=" + token
	upgrade := http.Header{
		"Connection": {"keep-alive, Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	}
	with := func(name, value string) http.Header {
		header := upgrade.Clone()
		header.Set(name, value)
		return header
	}
	for _, row := range []struct {
		name   string
		header http.Header
		want   int
	}{
		{"plain GET, as link previews do", http.Header{}, http.StatusUpgradeRequired},
		{"old websocket version", with("Sec-Websocket-Version", "8"), http.StatusUpgradeRequired},
		{"another site", with("Origin", "https://evil.example.com"), http.StatusForbidden},
		{"another site with our name in it", with("Origin", "https://panel.example.com.evil.example.com"), http.StatusForbidden},
		{"allowed host, other scheme", with("Origin", "http://panel.example.com"), http.StatusForbidden},
		{"sandboxed page", with("Origin", "null"), http.StatusForbidden},
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header = row.header
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		answer.Body.Close()
		if answer.StatusCode != row.want {
			t.Errorf("%s: %d, want %d", row.name, answer.StatusCode, row.want)
		}
	}
	allowed := r.browser(t)
	allowed.header.Set("Origin", "https://panel.example.com")
	allowed.open(t, token)
}

func TestTargetFailures(t *testing.T) {
	unix := func(t *testing.T) consoleapi.Target {
		return consoleapi.Target{Network: consoleapi.NetworkUnix, Address: filepath.Join(t.TempDir(), "none.sock")}
	}
	for _, row := range []struct {
		name     string
		prepare  func(t *testing.T, r *rig)
		want     consoleapi.Reason
		wantText string
	}{
		{"ticket too old", func(_ *testing.T, r *rig) { r.pve.Answer(http.StatusUnauthorized) }, consoleapi.ReasonTargetRefused, ""},
		{"node behind is down", func(_ *testing.T, r *rig) { r.pve.Answer(595) }, consoleapi.ReasonUnreachable, ""},
		{"PVE fails", func(_ *testing.T, r *rig) { r.pve.Answer(500) }, consoleapi.ReasonTargetFailed, ""},
		{"redirect is not followed", func(_ *testing.T, r *rig) { r.pve.Answer(http.StatusFound) }, consoleapi.ReasonTargetFailed, ""},
		{"RFB refuses with a reason", func(_ *testing.T, r *rig) { r.screen.Refuse = "Too many\x00 clients" }, consoleapi.ReasonTargetFailed, "Too many clients"},
		{"wrong VNC password", func(_ *testing.T, r *rig) {
			target := r.pve.Target()
			target.VNCPassword = "other"
			r.instead(target)
		}, consoleapi.ReasonTargetRefused, "Authentication failed"},
		{"no VNC password", func(_ *testing.T, r *rig) {
			target := r.pve.Target()
			target.VNCPassword = ""
			r.instead(target)
		}, consoleapi.ReasonTargetRefused, ""},
		{"certificate changed", func(_ *testing.T, r *rig) {
			target := r.pve.Target()
			target.TLSPin[0]++
			r.instead(target)
		}, consoleapi.ReasonTargetFailed, "the node shows another TLS certificate than the one on record"},
		{"nobody listens", func(_ *testing.T, r *rig) {
			r.instead(r.pve.Target())
			r.pve.Close()
		}, consoleapi.ReasonUnreachable, ""},
		{"speaks no HTTP", func(t *testing.T, r *rig) {
			target := r.pve.Target()
			target.Address = "ws://" + garbage(t) + "/?vncticket=x"
			r.instead(target)
		}, consoleapi.ReasonTargetFailed, ""},
		{"no such socket", func(t *testing.T, r *rig) { r.instead(unix(t)) }, consoleapi.ReasonUnreachable, ""},
		{"target without an address", func(_ *testing.T, r *rig) { r.instead(consoleapi.Target{Network: "pipe"}) }, consoleapi.ReasonTargetFailed, ""},
		{"guest is off", func(_ *testing.T, r *rig) {
			r.set(func() {
				r.override = func() (consoleapi.Target, error) {
					return consoleapi.Target{}, consoleapi.Refuse(consoleapi.ReasonGuestOff)
				}
			})
		}, consoleapi.ReasonGuestOff, ""},
		{"broker is away", func(_ *testing.T, r *rig) { r.set(func() { r.offline = true }) }, consoleapi.ReasonBrokerUnreachable, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t, nil)
			token := r.issue(t, 7)
			row.prepare(t, r)
			b := r.browser(t)
			code, text := readClose(t, b.dial(t, token))
			if row.wantText == "" {
				row.wantText = row.want.Text()
			}
			if code != row.want.CloseCode() || text != row.wantText {
				t.Errorf("closed with %d %q, want %d %q", code, text, row.want.CloseCode(), row.wantText)
			}
			eventually(t, "a line in the log", func() bool { return strings.Contains(r.log.String(), string(row.want)) })
			checkSecrets(t, r, token)
		})
	}
}

// garbage is a server that greets with something that is neither HTTP nor RFB.
func garbage(t *testing.T) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "220 mail.example.com ESMTP\r\n") // what becomes of it shows at the other end
		_, _ = io.Copy(io.Discard, conn)
		conn.Close()
	}()
	return listener.Addr().String()
}

// A console that could not be opened leaves its link to the browser that tried, also when the broker's answer was lost.
func TestBrowserMayTryAgainAfterAFailure(t *testing.T) {
	r := newRig(t, nil)
	for name, fail := range map[string]func(on bool){
		"node down": func(on bool) { r.pve.Answer(map[bool]int{true: 595}[on]) },
		"guest off": func(on bool) {
			r.set(func() {
				r.override = nil
				if on {
					r.override = func() (consoleapi.Target, error) {
						return consoleapi.Target{}, consoleapi.Refuse(consoleapi.ReasonGuestOff)
					}
				}
			})
		},
		"broker's answer lost": func(on bool) { r.set(func() { r.offline = on }) },
	} {
		t.Run(name, func(t *testing.T) {
			token, b := r.issue(t, 7), r.browser(t)
			fail(true)
			readClose(t, b.dial(t, token))
			readClose(t, b.dial(t, token))
			fail(false)
			b.open(t, token)
			expectClose(t, r.browser(t).dial(t, token), consoleapi.ReasonLinkUsed)
		})
	}
}

func TestGuestPowersOff(t *testing.T) {
	r := newRig(t, nil)
	b, token := r.browser(t), r.issue(t, 7)
	conn, stream := b.open(t, token)
	readServerInit(t, stream)
	r.pve.HangUp()
	expectClose(t, conn, consoleapi.ReasonTargetClosed)
	b.open(t, token) // with a fresh ticket
}

func TestTextMessageIsNoRFB(t *testing.T) {
	r := newRig(t, nil)
	conn, stream := r.browser(t).open(t, r.issue(t, 7))
	readServerInit(t, stream)
	if err := conn.Write(context.WithoutCancel(t.Context()), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	expectClose(t, conn, consoleapi.ReasonProtocol)
}

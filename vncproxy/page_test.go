package vncproxy_test

import (
	"image/color"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gantry/internal/browsertest"
	"gantry/internal/consoleapi"
	"gantry/server/console"
	"gantry/vncproxy/vnctest"
)

// link issues a console link for a VM.
func (r *rig) link(t *testing.T, vm int64) string {
	t.Helper()
	link, err := r.service.Issue(t.Context(), console.IssueRequest{VMID: vm, ProxyURL: r.url})
	if err != nil {
		t.Fatal(err)
	}
	return link.URL
}

const (
	isConnected    = "document.body.dataset.state === 'connected'"
	isDisconnected = "document.body.dataset.state === 'disconnected'"
	// hasPixels reads noVNC's canvas: the picture has come when a pixel of the last quarter is painted.
	hasPixels = `(() => { const c = document.querySelector('#screen canvas');
		return c && c.width === 640 && c.getContext('2d').getImageData(630, 390, 1, 1).data[3] === 255 &&
			c.getContext('2d').getImageData(630, 390, 1, 1).data[0] > 200 })()`
)

// A real browser opens the link, shows the guest's picture, passes keys on, and says why a console ended.
func TestPageInChromium(t *testing.T) {
	r := newRig(t, nil)
	chromium := browsertest.Start(t)

	page := chromium.Open(r.link(t, 7), browsertest.Desktop)
	page.Wait(isConnected)
	page.Wait(hasPixels)
	picture := page.Screenshot()
	page.SaveScreenshot("console-connected-light")
	for name, quarter := range map[string]color.RGBA{
		"top left": vnctest.TopLeft, "top right": vnctest.TopRight, "bottom left": vnctest.BottomLeft, "bottom right": vnctest.BottomRight,
	} {
		if share := browsertest.Share(picture, quarter, 8); share < 0.15 {
			t.Errorf("%s quarter fills %.3f of the window, want about 0.2", name, share)
		}
	}
	if got := page.Text("#name"); got != "gantry test screen" {
		t.Errorf("page is headed %q", got)
	}

	page.Type("a\r")
	eventually(t, "keys at the guest", func() bool { return slices.Equal(r.screen.Keys(), []uint32{'a', 0xff0d}) })
	page.Click("#ctrl-alt-del")
	eventually(t, "Ctrl+Alt+Del at the guest", func() bool {
		return slices.Equal(r.screen.Keys()[2:], []uint32{0xffe3, 0xffe9, 0xffff})
	})
	page.Click("#paste")
	page.Fill("#paste-text", "A!")
	page.SaveScreenshot("console-paste")
	page.Click("#paste-send")
	eventually(t, "typed text at the guest", func() bool {
		return slices.Equal(r.screen.Keys()[5:], []uint32{0xffe1, 'A', 0xffe1, '!'})
	})

	// Reloading keeps the link: the cookie came with the first connection.
	page.Reload()
	page.Wait(hasPixels)

	r.set(func() {
		r.override = func() (consoleapi.Target, error) {
			return consoleapi.Target{}, consoleapi.Refuse(consoleapi.ReasonGuestOff)
		}
	})
	r.pve.HangUp()
	page.Wait(isDisconnected)
	if got := page.Text("#notice"); !strings.Contains(got, "switched off") {
		t.Errorf("page says %q", got)
	}
	page.SaveScreenshot("console-guest-off-light")
	r.set(func() { r.override = nil })
	page.Click("#reconnect")
	page.Wait(hasPixels)
	if got := page.Problems(); len(got) != 0 {
		t.Errorf("the page reports %q", got)
	}
	if got := r.pve.Violations(); len(got) != 0 {
		t.Errorf("PVE complains: %v", got)
	}
}

func TestPageOnAPhoneInChineseAndDark(t *testing.T) {
	r := newRig(t, nil)
	chromium := browsertest.Start(t)
	phone := browsertest.Look{Width: 390, Height: 780, Dark: true, Language: "zh-CN", Touch: true}

	link := r.link(t, 7)
	page := chromium.Open(link, phone)
	page.Wait(hasPixels)
	page.SaveScreenshot("console-connected-phone")
	if got := page.Text("#status"); got != "已连接" {
		t.Errorf("page says %q", got)
	}
	var overflow int
	page.Evaluate("document.documentElement.scrollWidth - innerWidth", &overflow)
	if overflow > 0 {
		t.Errorf("page is %d pixels wider than the phone", overflow)
	}

	r.screen.Refuse = "no room for another viewer"
	refused := chromium.Open(r.link(t, 8), phone)
	refused.Wait(isDisconnected)
	refused.SaveScreenshot("console-refused-phone")
	if got := refused.Text("#notice"); !strings.Contains(got, "虚拟化平台无法打开控制台") || !strings.Contains(got, "no room for another viewer") {
		t.Errorf("page says %q", got)
	}

	empty := chromium.Open(r.url+"/console/", phone)
	empty.Wait(isDisconnected)
	if got := empty.Text("#notice"); !strings.Contains(got, "没有控制台链接") {
		t.Errorf("page says %q", got)
	}
}

func TestPageHeaders(t *testing.T) {
	r := newRig(t, nil)
	for path, want := range map[string]int{
		"/console/": http.StatusOK, "/console/none.html": http.StatusNotFound, "/console/assets/": http.StatusNotFound,
		"/console/..%2f..%2fgo.mod": http.StatusNotFound, "/": http.StatusNotFound, "/metrics": http.StatusNotFound,
	} {
		answer, err := http.Get(r.url + path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, answer.StatusCode, want)
		}
		if path != "/console/" {
			continue
		}
		policy := answer.Header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "script-src 'self';") || strings.Contains(policy, "unsafe") {
			t.Errorf("content policy is %q", policy)
		}
		if got := answer.Header.Get("Referrer-Policy"); got != "no-referrer" {
			t.Errorf("referrer policy is %q", got)
		}
	}
}

// The page has a sentence in both languages for every reason but those that it never sees.
func TestPageKnowsEveryReason(t *testing.T) {
	texts, err := os.ReadFile("../web/console/texts.ts")
	if err != nil {
		t.Fatal(err)
	}
	for _, reason := range consoleapi.Reasons() {
		code := strconv.Itoa(reason.CloseCode())
		if got := strings.Count(string(texts), "    "+code+": '"); got != 2 {
			t.Errorf("texts.ts has %d sentences for %s (%s), want one in each of 2 languages", got, code, reason)
		}
	}
}

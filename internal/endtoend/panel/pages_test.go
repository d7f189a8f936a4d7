package panel

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"gantry/internal/browsertest"
)

// pages are all pages with what shows that they are complete.
func pages(d *demo) []struct{ name, path, ready string } {
	rows := `document.querySelectorAll('main table.grid tbody tr').length > 0`
	machine := fmt.Sprintf("vms/%d", d.said.DemoVM.HostID)
	return []struct{ name, path, ready string }{
		{"dashboard", "", `document.querySelectorAll('.figure strong').length === 4 && ` + rows},
		{"setup", "setup", `document.querySelectorAll('[data-step]').length === 4`},
		{"machines", "vms", rows},
		{"machines-none-found", "vms?search=nothing-like-this", `!!document.querySelector('.empty')`},
		{"create", "vms?create=yes", `!!document.querySelector('#order')`},
		{"machine", machine, `!!document.querySelector('.gauges') && !!document.querySelector('.machine-status')`},
		{"machine-tasks", machine + "?tab=tasks", `document.querySelectorAll('[data-task]').length > 0`},
		{"tasks", "tasks", rows},
		{"nodes", "nodes", rows},
		{"pools", "pools", rows},
		{"pool", fmt.Sprintf("pools/%d", d.said.IPPoolID), rows},
		{"images", "images", `!!document.querySelector('[data-copy]')`},
		{"keys", "keys", rows},
		{"absent", "no-such-page", `!!document.querySelector('.empty')`},
	}
}

// TestEveryPageInEveryLook opens all pages in both themes, both languages and on a phone. Nothing may be wider than the window, be
// left untranslated, be reported by the browser, or be a serious finding of axe.
func TestEveryPageInEveryLook(t *testing.T) {
	d := start(t)
	axe, err := os.ReadFile("../../../web/node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Fatalf("run npm ci in web/: %v", err)
	}
	phone := browsertest.Look{Width: 390, Height: 844, Language: "en-US", Touch: true}
	chinese := browsertest.Desktop
	chinese.Language = "zh-CN"
	dark, phoneDark := browsertest.Desktop, phone
	dark.Dark, phoneDark.Dark, phoneDark.Language = true, true, "zh-CN"
	browser := browsertest.Start(t)
	for _, look := range []struct {
		name string
		look browsertest.Look
	}{{"light", browsertest.Desktop}, {"dark", dark}, {"chinese", chinese}, {"phone", phone}, {"phone-dark", phoneDark}} {
		t.Run(look.name, func(t *testing.T) {
			signedOut := browser.Open(d.address(""), look.look)
			signedOut.Wait(`!!document.querySelector('#password')`)
			signedOut.SaveScreenshot("panel-login-" + look.name)
			page := d.signIn(browser, look.look)
			for _, each := range pages(d) {
				visit(page, d, each.path, each.ready)
				page.Wait(`document.querySelectorAll('.el-skeleton').length === 0 && document.getAnimations().every((a) => a.playState !== 'running' || a.effect.getComputedTiming().iterations === Infinity)`)
				page.SaveScreenshot("panel-" + each.name + "-" + look.name)
				fits(t, page, each.name)
				translated(t, page, each.name)
				accessible(t, page, each.name, string(axe))
			}
			noProblems(t, page)
		})
	}
}

func fits(t *testing.T, page *browsertest.Page, name string) {
	t.Helper()
	var wide []string
	page.Evaluate(`document.documentElement.scrollWidth <= innerWidth ? [] :
		[...document.querySelectorAll('main *')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1).slice(0, 5).map((e) => e.outerHTML.slice(0, 160))`, &wide)
	if len(wide) > 0 {
		t.Errorf("%s is wider than the window: %s", name, strings.Join(wide, "\n"))
	}
}

// translated looks for keys of texts that are shown as they are.
func translated(t *testing.T, page *browsertest.Page, name string) {
	t.Helper()
	var keys []string
	page.Evaluate(`[...document.body.innerText.matchAll(/\b(nav|common|failure|login|shell|dashboard|setup|status|power|machines?|charts|console|create|reinstall|tasks?|step|nodes|pools|images|keys)\.[a-z][A-Za-z.]+\b/g)].map((m) => m[0])`, &keys)
	if len(keys) > 0 {
		t.Errorf("%s shows untranslated %v", name, keys)
	}
}

// accessible runs axe; serious and critical findings fail.
func accessible(t *testing.T, page *browsertest.Page, name, axe string) {
	t.Helper()
	var loaded bool
	page.Evaluate(axe+";true", &loaded)
	page.Evaluate(`window.found = undefined; axe.run(document, { resultTypes: ['violations'] }).then((r) => { window.found = JSON.stringify(r.violations
		.filter((v) => v.impact === 'serious' || v.impact === 'critical')
		.map((v) => ({ rule: v.id, nodes: v.nodes.slice(0, 4).map((n) => n.html.slice(0, 200) + ' ' + (n.failureSummary || '').slice(0, 240)) }))) }, (e) => { window.found = JSON.stringify([{rule: String(e), nodes: []}]) }); true`, &loaded)
	page.Wait(`window.found !== undefined`)
	var text string
	page.Evaluate(`window.found`, &text)
	var findings []struct {
		Rule  string   `json:"rule"`
		Nodes []string `json:"nodes"`
	}
	if err := json.Unmarshal([]byte(text), &findings); err != nil {
		t.Fatal(err)
	}
	for _, finding := range findings {
		t.Errorf("%s: axe says %s: %s", name, finding.Rule, strings.Join(finding.Nodes, "\n  "))
	}
}

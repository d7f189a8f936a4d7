package browsertest

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Look is how the page is looked at.
type Look struct {
	Width, Height int64 // CSS pixels
	Dark          bool
	Language      string // navigator.language, e.g. "zh-CN"
	Touch         bool   // a phone: touch screen instead of a mouse
}

// Desktop is an ordinary window in English.
var Desktop = Look{Width: 1280, Height: 800, Language: "en-US"}

// Page is one tab.
type Page struct {
	t   testing.TB
	ctx context.Context

	mu       sync.Mutex
	problems []string
}

// Open opens an address in a tab of its own, which closes with the test. The tabs of a browser share their cookies.
func (b *Browser) Open(address string, look Look) *Page {
	b.t.Helper()
	ctx, closeTab := chromedp.NewContext(b.ctx)
	b.t.Cleanup(closeTab)
	p := &Page{t: b.t, ctx: ctx}
	chromedp.ListenTarget(ctx, p.listen)
	colours := "light"
	if look.Dark {
		colours = "dark"
	}
	agent := emulation.SetUserAgentOverride("Mozilla/5.0 (X11; Linux x86_64) Chrome gantry-test").WithAcceptLanguage(look.Language)
	size := []chromedp.EmulateViewportOption{}
	if look.Touch {
		size = append(size, chromedp.EmulateMobile, chromedp.EmulateTouch)
	}
	if err := chromedp.Run(ctx); err != nil { // makes the tab, which must outlive the bounded context of the actions below
		b.t.Fatalf("open tab: %v", err)
	}
	p.run("open "+withoutFragment(address),
		log.Enable(), agent, chromedp.EmulateViewport(look.Width, look.Height, size...),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: colours}}),
		chromedp.Navigate(address))
	return p
}

// withoutFragment keeps the secret of a console link out of test logs.
func withoutFragment(address string) string {
	before, _, _ := strings.Cut(address, "#")
	return before
}

// listen collects what a developer would see in red in the console: uncaught errors, blocked or missing resources.
func (p *Page) listen(event any) {
	problem := ""
	switch event := event.(type) {
	case *runtime.EventExceptionThrown:
		problem = event.ExceptionDetails.Error()
	case *log.EventEntryAdded:
		if event.Entry.Level == log.LevelError {
			problem = event.Entry.Text
		}
	}
	if problem != "" {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.problems = append(p.problems, problem)
	}
}

// Problems lists the errors that the page reported so far.
func (p *Page) Problems() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.problems...)
}

func (p *Page) run(what string, actions ...chromedp.Action) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, actionTimeout)
	defer cancel()
	if err := chromedp.Run(ctx, actions...); err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
}

// Wait polls a JavaScript condition until it is true; it fails the test with a screenshot when that does not come.
func (p *Page) Wait(condition string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, actionTimeout)
	defer cancel()
	err := chromedp.Run(ctx, chromedp.Poll(condition, nil, chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(actionTimeout)))
	if err != nil {
		p.t.Fatalf("page never got to %s: %v; it reported %q and shows %q", condition, err, p.Problems(), p.Text("body"))
	}
}

// Text is what a person can read inside the element.
func (p *Page) Text(selector string) string {
	p.t.Helper()
	var text string
	p.run("read "+selector, chromedp.Evaluate(fmt.Sprintf("document.querySelector(%q).innerText", selector), &text))
	return text
}

// Evaluate runs JavaScript and stores its value in result.
func (p *Page) Evaluate(script string, result any) {
	p.t.Helper()
	p.run("evaluate", chromedp.Evaluate(script, result))
}

// Click clicks into the middle of the element.
func (p *Page) Click(selector string) {
	p.t.Helper()
	p.run("click "+selector, chromedp.Click(selector, chromedp.ByQuery, chromedp.NodeVisible))
}

// Type presses keys as a keyboard does, wherever the focus is. "\r" is Return.
func (p *Page) Type(keys string) {
	p.t.Helper()
	p.run("type", chromedp.KeyEvent(keys))
}

// Fill types text into the element.
func (p *Page) Fill(selector, text string) {
	p.t.Helper()
	p.run("fill "+selector, chromedp.SendKeys(selector, text, chromedp.ByQuery, chromedp.NodeVisible))
}

// Reload loads the page again.
func (p *Page) Reload() {
	p.t.Helper()
	p.run("reload", chromedp.Reload())
}

// Screenshot is what the window shows.
func (p *Page) Screenshot() image.Image {
	p.t.Helper()
	var raw []byte
	p.run("take screenshot", chromedp.CaptureScreenshot(&raw))
	picture, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		p.t.Fatalf("screenshot is no PNG: %v", err)
	}
	return picture
}

// SaveScreenshot writes what the window shows to name.png in the folder that the environment variable GANTRY_SCREENSHOTS
// names, for people to look at; without it nothing is written.
func (p *Page) SaveScreenshot(name string) {
	p.t.Helper()
	folder := os.Getenv("GANTRY_SCREENSHOTS")
	if folder == "" {
		return
	}
	var raw []byte
	p.run("take screenshot", chromedp.CaptureScreenshot(&raw))
	if err := os.WriteFile(filepath.Join(folder, name+".png"), raw, 0o644); err != nil {
		p.t.Errorf("save screenshot: %v", err)
	}
}

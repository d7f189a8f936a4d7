// Package browsertest drives Debian's Chromium headless, for tests that look at a page as a person would.
package browsertest

import (
	"context"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// executable is where Debian's package chromium puts it; scripts/install-packages.sh installs it.
const executable = "/usr/bin/chromium"

const (
	startTimeout  = 60 * time.Second
	actionTimeout = 30 * time.Second
	closeTimeout  = 10 * time.Second
)

// Browser is one running Chromium with a profile of its own. It is closed at the end of the test.
type Browser struct {
	t   testing.TB
	ctx context.Context
}

// Start runs Chromium. A machine without it fails the test: the browser is a part of what is promised.
func Start(t testing.TB) *Browser {
	t.Helper()
	if _, err := exec.LookPath(executable); err != nil {
		t.Fatalf("Chromium is missing, run scripts/install-packages.sh chromium fonts: %v", err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(executable),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.NoSandbox, // tests run as root, where Chromium's sandbox can't start
		chromedp.DisableGPU,
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-crash-reporter", true),
		chromedp.WSURLReadTimeout(startTimeout),
	)
	allocator, release := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...)
	// Chromium is newer than the protocol description that chromedp knows: events it can't read are no failures.
	ctx, closeBrowser := chromedp.NewContext(allocator, chromedp.WithErrorf(t.Logf))
	t.Cleanup(func() {
		last, cancel := context.WithTimeout(ctx, closeTimeout)
		defer cancel()
		if err := chromedp.Cancel(last); err != nil {
			t.Logf("closing Chromium: %v", err)
		}
		closeBrowser()
		release() // kills what is left and waits for it
	})
	if err := chromedp.Run(ctx); err != nil {
		t.Fatalf("start Chromium: %v", err)
	}
	return &Browser{t: t, ctx: ctx}
}

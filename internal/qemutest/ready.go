package qemutest

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"
)

// readyMark starts the line that the cloud image prints when it has booted and applied its cloud-init drive.
const readyMark = "gantry-guest ready "

// bootTimeout bounds a boot under TCG on a busy machine; a quiet one needs about five seconds.
const bootTimeout = 120 * time.Second

// WaitReady polls a guest's serial log until it holds count ready lines and returns the last one's fields: image, hostname,
// address (CIDR, comma-separated), gateway, dns, mac, user, password-hash, ssh-keys, instance-id, boots (of this root
// disk), boot-id, disk-size (bytes), disks (name:bytes), memory-kb, cpus, uuid.
func WaitReady(t testing.TB, serialLog string, count int) map[string]string {
	t.Helper()
	var text string
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of %s:\n%s", serialLog, text[max(0, len(text)-4096):])
		}
	})
	Eventually(t, bootTimeout, "ready line in "+serialLog, func() bool {
		content, err := os.ReadFile(serialLog)
		text = string(content)
		return err == nil && len(readyLines(text)) >= count
	})
	lines := readyLines(text)
	fields := map[string]string{}
	for _, field := range strings.Fields(lines[count-1]) {
		if key, value, found := strings.Cut(field, "="); found {
			fields[key] = value
		}
	}
	return fields
}

// readyLines returns the complete ready lines of a serial log.
func readyLines(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		if at := strings.Index(line, readyMark); at >= 0 && strings.HasSuffix(line, "\n") {
			lines = append(lines, line[at+len(readyMark):])
		}
	}
	return lines
}

// Eventually polls until holds answers true and fails the test when that takes longer than timeout.
func Eventually(t testing.TB, timeout time.Duration, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("after %s still no %s", timeout, what)
		case <-ticker.C:
		}
	}
}

// Package qemutest makes sure that tests have QEMU and an image to boot. A missing component fails the test: these tests
// prove the product's promise and are never skipped.
package qemutest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// setupTimeout bounds installing packages or building an image.
const setupTimeout = 10 * time.Minute

// Require makes sure that QEMU, its image tools and the network tools are installed: as root it installs them, else it
// fails the test with the line that says what to install.
func Require(t testing.TB) {
	t.Helper()
	run(t, "install-packages.sh", "qemu", "image-tools", "network")
}

// CloudImage returns the path of the tiny cloud image (tag "gantry"), a qcow2 file to be imported or cloned and never
// written to. It is built on first use and shared by all tests and the demo; processes that want it at once wait.
func CloudImage(t testing.TB) string {
	t.Helper()
	return CloudImageTagged(t, "gantry")
}

// CloudImageTagged is CloudImage with another tag in its ready line, for tests that must tell two images apart.
func CloudImageTagged(t testing.TB, tag string) string {
	t.Helper()
	Require(t)
	path := filepath.Join(root(t), "var", "image", tag+"-guest.qcow2")
	run(t, "build-cloud-image.sh", "--tag", tag, path)
	return path
}

func run(t testing.TB, script string, arguments ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, filepath.Join(root(t), "scripts", script), arguments...)
	command.WaitDelay = time.Second
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("scripts/%s: %v\n%s", script, err, output)
	}
}

// root is the repository's folder: the first one upwards with a go.mod.
func root(t testing.TB) string {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			t.Fatal("no go.mod above the test's folder")
		}
		folder = parent
	}
}

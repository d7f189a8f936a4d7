package qemu

import (
	"encoding/hex"
	"testing"
)

// TestKVMProbe runs the probe's boot sector under TCG, which must come through: a probe that always failed would leave
// every guest slow without a word.
func TestKVMProbe(t *testing.T) {
	backend := newBackend(t, "")
	if !runsUnder(backend.emulator, "tcg") {
		t.Error("the probe does not run under TCG:\n", hex.Dump([]byte(probeSector)))
	}
	if runsUnder(backend.emulator, "no-such-accelerator") {
		t.Error("the probe came through without an accelerator")
	}
}

package pve

import "testing"

func TestWhatANodeSaysOfHardwareVirtualisation(t *testing.T) {
	for _, fact := range []struct {
		name  string
		hvm   any
		flags string
		want  bool
	}{
		{"Intel server", "1", "fpu vme vmx ssse3", true},
		{"AMD server", "1", "fpu svm sse4a", true},
		{"virtual node", "", "fpu vme hypervisor", false},
		{"virtual node that says 0", "0", "fpu", false},
		{"number", 0.0, "fpu", false},
		{"flag alone", nil, "fpu vmx", true},
		{"no flag and no word", nil, "fpu", false},
		{"nothing told", nil, "", true},
	} {
		if got := hasKVM(fact.hvm, fact.flags); got != fact.want {
			t.Errorf("%s: %v, want %v", fact.name, got, fact.want)
		}
	}
}

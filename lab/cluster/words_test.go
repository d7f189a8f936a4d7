package cluster

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// perlWords asks the module that PVE itself splits with.
func perlWords(t testing.TB, line string) []string {
	t.Helper()
	script := `use Text::ParseWords; print join("", map("$_\0", shellwords($ARGV[0])))`
	got, err := exec.Command("perl", "-e", script, "--", line).Output()
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	if len(got) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(got), "\x00"), "\x00")
}

func TestWordsAreSplitAsPerlDoes(t *testing.T) {
	for _, line := range []string{
		"", "  ", "-cpu host", "  -smbios   type=1 ", `'a b' c`, `"a b" c`, `a"b c"d'e f'`, `a\ b`, `"a\"b"`, `"a\\b"`, `'a\'b'`, `'a\\' b`, `'a\' b`,
		`a '' b`, `""`, `open "quote`, `open 'quote`, `end\`, "a\tb\nc", `$(x) ;y |z`, `'it'"'"'s'`, `\'a\'`,
	} {
		if got, want := shellWords(line), perlWords(t, line); !slices.Equal(got, want) {
			t.Errorf("%q: %q, Perl has %q", line, got, want)
		}
	}
}

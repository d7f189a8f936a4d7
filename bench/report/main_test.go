package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// run writes the list, measures, and gives the document with what differs between machines cut out.
func run(t *testing.T, dir, list, only string) (string, error) {
	t.Helper()
	sections, out := filepath.Join(dir, "sections.yaml"), filepath.Join(dir, "docs", "PERFORMANCE.md")
	if err := os.WriteFile(sections, []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	failure := report(t.Context(), sections, out, only, func(context.Context) (string, error) { return "All quiet.", nil }, io.Discard)
	content, err := os.ReadFile(out)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(content), failure
}

const two = `sections:
  - {name: one, title: One, text: The first., command: [echo, "a  b", "it's"]}
  - {name: two, title: Two, output: markdown, command: [printf, "|x|\\n"]}
`

func TestReport(t *testing.T) {
	dir := t.TempDir()
	all, err := run(t, dir, two, ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"## One\n\nThe first.\n\nMeasured 2", "    $ echo 'a  b' 'it'\\''s'\n    a  b it's\n<!-- end one -->\n",
		"    $ printf '|x|\\n'\n\n|x|\n<!-- end two -->\n", " × ", ". All quiet.\n\n",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("lacks %q:\n%s", want, all)
		}
	}
	if strings.Index(all, "## One") > strings.Index(all, "## Two") {
		t.Error("sections are out of order")
	}
	// Measuring one again keeps the other.
	changed, err := run(t, dir, strings.ReplaceAll(strings.ReplaceAll(two, "a  b", "new"), "|x|", "|y|"), "two")
	if err != nil || !strings.Contains(changed, "a  b it's") || !strings.Contains(changed, "\n|y|\n") || strings.Contains(changed, "\n|x|\n") {
		t.Errorf("%v:\n%s", err, changed)
	}
	// A section that left the list leaves the document.
	if shorter, err := run(t, dir, strings.Join(strings.Split(two, "\n")[:2], "\n"), "."); err != nil || strings.Contains(shorter, "Two") {
		t.Errorf("%v:\n%s", err, shorter)
	}
}

func TestFailureKeepsTheFile(t *testing.T) {
	dir := t.TempDir()
	before, err := run(t, dir, two, ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ list, only, want string }{
		{"sections: [{name: one, title: One, command: [sh, -c, echo 1; exit 3]}]", ".", "exit status 3"},
		{"sections: [{name: one, title: One, command: [true]}]", ".", "printed no figures"},
		{"sections: [{name: one, title: One, command: [/no/such/program]}]", ".", "no such file"},
		{"sections: [{name: one, title: One, command: [sleep, 60], timeout: 10ms}]", ".", "ended after 10ms"},
		{two, "three", `no section matches "three"`},
		{two, "(", "--only: "},
		{"sections: [{name: one, title: One, command: [echo], colour: red}]", ".", "field colour not found"},
		{"sections: [{name: One, title: One, command: [echo]}]", ".", "name: must be"},
		{"sections: [{name: one, command: [echo]}]", ".", "title and command are needed"},
		{"sections: [{name: one, title: One}]", ".", "title and command are needed"},
		{"sections: [{name: one, title: One, command: [echo], output: html}]", ".", `output: "html"`},
		{"sections: [{name: one, title: One, command: [echo], timeout: -1s}]", ".", "timeout: must be positive"},
		{"sections: [{name: one, title: One, command: [echo]}, {name: one, title: Two, command: [echo]}]", ".", "used twice"},
	} {
		after, err := run(t, dir, test.list, test.only)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.list, err, test.want)
		}
		if after != before {
			t.Errorf("%s: the file changed", test.list)
		}
	}
	damaged := filepath.Join(dir, "docs", "PERFORMANCE.md")
	if err := os.WriteFile(damaged, []byte("<!-- begin one -->\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, dir, two, "."); err == nil || !strings.Contains(err.Error(), "section one has no end") {
		t.Errorf("damaged file: %v", err)
	}
}

// The list that is shipped can be read.
func TestSections(t *testing.T) {
	if sections, err := readSections("../sections.yaml"); err != nil || len(sections) == 0 {
		t.Errorf("%d sections, %v", len(sections), err)
	}
}

// Figures of a busy machine carry a warning.
func TestConditions(t *testing.T) {
	for _, test := range []struct {
		load, share float64
		warned      bool
	}{{0.2, 0.02, false}, {1.5, 0.1, false}, {1.6, 0, true}, {0, 0.11, true}} {
		text := conditions{test.load}.describe(test.share)
		if warned := strings.Contains(text, "not to be published"); warned != test.warned {
			t.Errorf("load %v, share %v: %s", test.load, test.share, text)
		}
	}
	started, err := newConditions()
	if err != nil || started.load < 0 {
		t.Errorf("load %v, %v", started.load, err)
	}
	if share, err := busyShare(t.Context()); err != nil || share < 0 || share > 1 {
		t.Errorf("share %v, %v", share, err)
	}
}

package store

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// TestAllSecretsAreReencrypted finds the contexts in the package's own text: a secret that is forgotten here is lost when the old
// key is taken away.
func TestAllSecretsAreReencrypted(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var known []string
	for _, column := range secretColumns() {
		known = append(known, column.table+"/"+column.column)
	}
	bound := regexp.MustCompile(`Sprintf\("(\w+/\w+)/%d", id\)`)
	found := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range bound.FindAllSubmatch(text, -1) {
			found++
			if !slices.Contains(known, string(match[1])) {
				t.Errorf("%s: %s is encrypted, but not by Reencrypt", file, match[1])
			}
		}
	}
	if byID := len(known) - 1; found != byID { // settings are bound by name
		t.Errorf("%d contexts found for %d columns", found, byID)
	}
}

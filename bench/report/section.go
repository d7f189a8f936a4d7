package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// defaultTimeout ends a section that names none.
const defaultTimeout = 10 * time.Minute

// section is an entry of sections.yaml, which describes the fields.
type section struct {
	Name    string   `yaml:"name"`
	Title   string   `yaml:"title"`
	Text    string   `yaml:"text"`
	Command []string `yaml:"command"`
	Output  string   `yaml:"output"`
	Timeout duration `yaml:"timeout"`
}

type duration time.Duration

// UnmarshalText reads "10m".
func (d *duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = duration(parsed)
	return err
}

var nameForm = regexp.MustCompile(`^[a-z0-9-]+$`)

func readSections(path string) ([]section, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file struct {
		Sections []section `yaml:"sections"`
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	seen := map[string]bool{}
	for i := range file.Sections {
		each := &file.Sections[i]
		if each.Timeout == 0 {
			each.Timeout = duration(defaultTimeout)
		}
		if each.Output == "" {
			each.Output = "text"
		}
		if err := each.check(seen); err != nil {
			return nil, fmt.Errorf("%s: section %q: %w", path, each.Name, err)
		}
		seen[each.Name] = true
	}
	return file.Sections, nil
}

func (s section) check(seen map[string]bool) error {
	switch {
	case !nameForm.MatchString(s.Name):
		return errors.New("name: must be letters, digits and dashes")
	case seen[s.Name]:
		return errors.New("name: is used twice")
	case s.Title == "" || len(s.Command) == 0:
		return errors.New("title and command are needed")
	case s.Output != "text" && s.Output != "markdown":
		return fmt.Errorf("output: %q must be text or markdown", s.Output)
	case s.Timeout < 0:
		return errors.New("timeout: must be positive")
	}
	return nil
}

// commandLine is what a reader types into a shell to measure the same.
func (s section) commandLine() string {
	words := make([]string, len(s.Command))
	for i, word := range s.Command {
		if word == "" || strings.ContainsAny(word, " \t\n\"'`$*?[](){}<>|&;\\#~!^") {
			word = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
		words[i] = word
	}
	return strings.Join(words, " ")
}

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

const opening = `# Performance

Written by ` + "`make bench`" + `; each figure stands below the command that gave it. Figures of different sections may come
from different days and machines, as their first lines say.
`

// Markers around a section let a later run keep it; readers of the page don't see them.
const (
	beginMarker = "<!-- begin %s -->\n"
	endMarker   = "<!-- end %s -->\n"
)

var beginForm = regexp.MustCompile(`<!-- begin ([a-z0-9-]+) -->\n`)

// render is what stands between a section's markers.
func (s section) render(output, when string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "## %s\n\n", s.Title)
	if s.Text != "" {
		fmt.Fprintf(&text, "%s\n\n", strings.TrimSpace(s.Text))
	}
	fmt.Fprintf(&text, "Measured %s\n\n", when)
	output = strings.TrimRight(output, " \n") + "\n"
	if s.Output == "markdown" {
		fmt.Fprintf(&text, "    $ %s\n\n%s", s.commandLine(), output)
		return text.String()
	}
	// An indented block: whatever the output holds can't end it.
	fmt.Fprintf(&text, "    $ %s\n", s.commandLine())
	for line := range strings.Lines(output) {
		fmt.Fprintf(&text, "    %s\n", strings.TrimRight(line, "\n"))
	}
	return text.String()
}

// readMeasured gives the sections of an earlier run by name; without a file there are none.
func readMeasured(path string) (map[string]string, error) {
	measured := map[string]string{}
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return measured, nil
	}
	if err != nil {
		return nil, err
	}
	for _, found := range beginForm.FindAllStringSubmatchIndex(string(content), -1) {
		name := string(content[found[2]:found[3]])
		text, _, closed := strings.Cut(string(content[found[1]:]), fmt.Sprintf(endMarker, name))
		if !closed {
			return nil, fmt.Errorf("%s: section %s has no end", path, name)
		}
		measured[name] = text
	}
	return measured, nil
}

// write puts the sections that were measured, now or earlier, into the file, in the order of the list.
func write(path string, sections []section, measured map[string]string) error {
	text := opening
	for _, each := range sections {
		if measured[each.Name] != "" {
			text += "\n" + fmt.Sprintf(beginMarker, each.Name) + measured[each.Name] + fmt.Sprintf(endMarker, each.Name)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// machine describes what the figures depend on.
func machine() string {
	return fmt.Sprintf("%d × %s, %s of memory, Linux %s", runtime.NumCPU(),
		field("/proc/cpuinfo", "model name"), memory(), strings.TrimSpace(firstLine("/proc/sys/kernel/osrelease")))
}

func memory() string {
	var kilobytes int64
	if _, err := fmt.Sscanf(field("/proc/meminfo", "MemTotal"), "%d kB", &kilobytes); err != nil {
		return "unknown size"
	}
	return fmt.Sprintf("%.0f GiB", float64(kilobytes)/(1<<20))
}

// field reads "name : value" of a file in /proc; "unknown" when it is not there.
func field(path, name string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(content)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func firstLine(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(content), "\n")
	return line
}

package config

import (
	"errors"
	"fmt"
	"strings"
)

// Problem is one thing that is wrong with the settings.
type Problem struct {
	Key    string // may be empty: the file as a whole
	Origin string // "server.yaml:12", "GANTRY_SERVER_LISTEN", "--set"; empty for a default
	Text   string
}

// String is one line: where, which setting, what.
func (p Problem) String() string {
	var parts []string
	for _, part := range []string{p.Origin, p.Key, p.Text} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ": ")
}

// Problems is the error of Load: at least one Problem.
type Problems struct {
	List []Problem
}

// Error gives a line for each problem.
func (p *Problems) Error() string {
	lines := make([]string, len(p.List))
	for i, each := range p.List {
		lines[i] = each.String()
	}
	return strings.Join(lines, "\n")
}

// Checks collects what Validate finds. The zero value is ready.
type Checks struct {
	found []error
}

// Require notes the complaint about the setting unless the condition holds. The key comes without a colon.
func (c *Checks) Require(condition bool, key, format string, arguments ...any) {
	if !condition {
		c.found = append(c.found, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, arguments...)))
	}
}

// Check notes an error about the setting; nil is none.
func (c *Checks) Check(key string, err error) {
	if err != nil {
		c.found = append(c.found, fmt.Errorf("%s: %w", key, err))
	}
}

// Nested notes the errors of a part of the settings, whose keys start with the prefix: Nested("log", cfg.Log.Validate()).
func (c *Checks) Nested(prefix string, err error) {
	if err == nil {
		return
	}
	for _, each := range split(err) {
		c.found = append(c.found, fmt.Errorf("%s%s%w", prefix, keyDelimiter, each))
	}
}

// Err is nil when nothing was found.
func (c *Checks) Err() error { return errors.Join(c.found...) }

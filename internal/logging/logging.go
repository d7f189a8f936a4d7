// Package logging makes the programs' loggers: structured, levelled, and without secrets.
package logging

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Config is the "log" section of every program's settings.
type Config struct {
	// Level is the least severe level that is written: debug, info, warn or error.
	Level string `yaml:"level"`
	// Format is json (for machines) or text (for people).
	Format string `yaml:"format"`
}

// DefaultConfig suits a service.
func DefaultConfig() Config { return Config{Level: "info", Format: "json"} }

// Validate names settings that cannot work. Their keys are relative: "level".
func (c Config) Validate() error {
	var problems []error
	if _, known := levelOf(c.Level); !known {
		problems = append(problems, fmt.Errorf("level: %q must be debug, info, warn or error", c.Level))
	}
	if c.Format != "json" && c.Format != "text" {
		problems = append(problems, fmt.Errorf("format: %q must be json or text", c.Format))
	}
	return errors.Join(problems...)
}

// New makes a logger. The error is Validate's.
func New(out io.Writer, config Config) (*slog.Logger, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	level, _ := levelOf(config.Level)
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: redact}
	if config.Format == "text" {
		return slog.New(slog.NewTextHandler(out, options)), nil
	}
	return slog.New(slog.NewJSONHandler(out, options)), nil
}

func levelOf(name string) (slog.Level, bool) {
	switch name {
	case "debug":
		return slog.LevelDebug, true
	case "info":
		return slog.LevelInfo, true
	case "warn":
		return slog.LevelWarn, true
	case "error":
		return slog.LevelError, true
	}
	return 0, false
}

package main

import (
	"errors"
	"fmt"
	"log/slog"

	"gantry/controlled"
	"gantry/internal/config"
	"gantry/internal/logging"
	"gantry/vncproxy"
)

// settingsFlags are the flags of every program that has a settings file.
type settingsFlags struct {
	Config    string   `help:"YAML file with settings; configs/ has commented examples. Without it: GANTRY_<PROGRAM>_CONFIG, else /etc/gantry/<program>.yaml if it is there." placeholder:"FILE"`
	Set       []string `help:"One setting by its key in the file; may be repeated." placeholder:"KEY=VALUE" sep:"none"`
	Listen    string   `help:"Setting listen: where to accept connections." placeholder:"ADDRESS:PORT"`
	DataDir   string   `help:"Setting data_dir: what has to survive restarts." placeholder:"DIR"`
	LogLevel  string   `help:"Setting log.level: debug, info, warn or error." placeholder:"LEVEL"`
	LogFormat string   `help:"Setting log.format: json or text." placeholder:"FORMAT"`

	named []config.Flag // those of one program only
}

// flags gives --set first, so that a flag of its own wins.
func (f settingsFlags) flags() ([]config.Flag, error) {
	var flags []config.Flag
	for _, argument := range f.Set {
		flag, err := config.ParseSet(argument)
		if err != nil {
			return nil, &config.Problems{List: []config.Problem{{Text: err.Error()}}}
		}
		flags = append(flags, flag)
	}
	for _, named := range []config.Flag{
		{Key: "listen", Value: f.Listen, Name: "--listen"},
		{Key: "data_dir", Value: f.DataDir, Name: "--data-dir"},
		{Key: "log.level", Value: f.LogLevel, Name: "--log-level"},
		{Key: "log.format", Value: f.LogFormat, Name: "--log-format"},
	} {
		if named.Value != "" {
			flags = append(flags, named)
		}
	}
	return append(flags, f.named...), nil
}

// loadSettings reads a program's settings from all sources.
func loadSettings[T any](p *process, program string, flags settingsFlags, defaults T) (T, error) {
	var none T
	given, err := flags.flags()
	if err != nil {
		return none, err
	}
	file, err := config.Locate(program, flags.Config, p.environment, config.DefaultFolder)
	if err != nil {
		return none, err
	}
	return config.Load(defaults, config.Sources{Program: program, File: file, Environment: p.environment, Flags: given})
}

// newLogger makes the program's logger and the one that libraries use.
func newLogger(p *process, settings logging.Config, program string) (*slog.Logger, error) {
	log, err := logging.New(p.stderr, settings)
	if err != nil {
		return nil, fmt.Errorf("make logger: %w", err)
	}
	log = log.With("program", program)
	slog.SetDefault(log)
	return log, nil
}

// controlledSettings are the node daemon's file: what the package takes, and the log.
type controlledSettings struct {
	controlled.Config
	Log logging.Config `yaml:"log"`
}

func defaultControlledSettings() controlledSettings {
	return controlledSettings{Config: controlled.DefaultConfig(), Log: logging.DefaultConfig()}
}

// Validate checks both parts.
func (s controlledSettings) Validate() error { return validateWithLog(s.Config.Validate(), s.Log) }

// vncproxySettings are the console proxy's file: what the package takes, and the log.
type vncproxySettings struct {
	vncproxy.Config
	Log logging.Config `yaml:"log"`
}

func defaultVncproxySettings() vncproxySettings {
	return vncproxySettings{Config: vncproxy.DefaultConfig(), Log: logging.DefaultConfig()}
}

// Validate checks both parts.
func (s vncproxySettings) Validate() error { return validateWithLog(s.Config.Validate(), s.Log) }

func validateWithLog(program error, log logging.Config) error {
	var checks config.Checks
	checks.Nested("log", log.Validate())
	return errors.Join(program, checks.Err())
}

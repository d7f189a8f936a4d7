package main

import (
	"encoding/json"
	"fmt"

	"gantry/controlled"
	"gantry/internal/healthcheck"
	"gantry/internal/version"
	"gantry/server"
	"gantry/vncproxy"
)

type serverCommand struct {
	Settings settingsFlags `embed:""`

	Run    serverRun    `cmd:"" default:"withargs" help:"Run the broker (what happens without a subcommand)."`
	Health serverHealth `cmd:"" help:"Ask the running broker whether it is ready; takes the same settings."`
}

type serverRun struct{}

// Run serves until a signal.
func (serverRun) Run(p *process, line *commandLine) error {
	settings, err := loadSettings(p, "server", line.Server.Settings, server.DefaultConfig())
	if err != nil {
		return err
	}
	if settings.Logger, err = newLogger(p, settings.Log, "server"); err != nil {
		return err
	}
	return server.Run(p.ctx, settings)
}

type serverHealth struct{}

// Run probes /readyz once.
func (serverHealth) Run(p *process, line *commandLine) error {
	settings, err := loadSettings(p, "server", line.Server.Settings, server.DefaultConfig())
	if err != nil {
		return err
	}
	security, err := healthcheck.Security(settings.TLSCertificate, settings.TLSKey, settings.TLSSelfSigned, settings.DataDir)
	if err != nil {
		return err
	}
	return healthcheck.Probe(p.ctx, healthcheck.Target{Listen: settings.Listen, Path: "/readyz", TLS: security})
}

type controlledCommand struct {
	Settings settingsFlags `embed:""`

	Run          controlledRun          `cmd:"" default:"withargs" help:"Run the daemon (what happens without a subcommand)."`
	RunOperation controlledRunOperation `cmd:"" hidden:"" help:"Supervise one operation; the daemon starts this."`
	GuardUpdate  controlledGuardUpdate  `cmd:"" hidden:"" help:"Watch over an update; the daemon starts this."`
}

type controlledRun struct{}

// Run serves until a signal.
func (controlledRun) Run(p *process, line *commandLine) error {
	settings, err := loadSettings(p, "controlled", line.Controlled.Settings, defaultControlledSettings())
	if err != nil {
		return err
	}
	settings.Config.Version = version.Current().Version
	if settings.Config.Logger, err = newLogger(p, settings.Log, "controlled"); err != nil {
		return err
	}
	return controlled.Run(p.ctx, settings.Config)
}

type controlledRunOperation struct {
	Dir string `arg:"" help:"The operation's folder."`
}

// Run ends with the supervisor's status.
func (c *controlledRunOperation) Run() error { return exitStatus(controlled.RunOperation(c.Dir)) }

type controlledGuardUpdate struct {
	Dir string `arg:"" help:"The daemon's data directory."`
}

// Run ends with the guard's status.
func (c *controlledGuardUpdate) Run() error { return exitStatus(controlled.GuardUpdate(c.Dir)) }

type vncproxyCommand struct {
	Settings settingsFlags `embed:""`

	Run    vncproxyRun    `cmd:"" default:"withargs" help:"Run the proxy (what happens without a subcommand)."`
	Health vncproxyHealth `cmd:"" help:"Ask the running proxy whether it is well; takes the same settings."`
}

type vncproxyRun struct{}

// Run serves until a signal.
func (vncproxyRun) Run(p *process, line *commandLine) error {
	settings, err := loadSettings(p, "vncproxy", line.Vncproxy.Settings, defaultVncproxySettings())
	if err != nil {
		return err
	}
	if settings.Config.Logger, err = newLogger(p, settings.Log, "vncproxy"); err != nil {
		return err
	}
	return vncproxy.Run(p.ctx, settings.Config)
}

type vncproxyHealth struct{}

// Run probes /healthz once.
func (vncproxyHealth) Run(p *process, line *commandLine) error {
	settings, err := loadSettings(p, "vncproxy", line.Vncproxy.Settings, defaultVncproxySettings())
	if err != nil {
		return err
	}
	security, err := healthcheck.Security(settings.TLSCertificate, settings.TLSKey, settings.TLSSelfSigned, settings.DataDir)
	if err != nil {
		return err
	}
	return healthcheck.Probe(p.ctx, healthcheck.Target{Listen: settings.Listen, Path: "/healthz", TLS: security})
}

type versionCommand struct {
	JSON bool `help:"Print one JSON object."`
}

// Run prints the build.
func (c *versionCommand) Run(p *process) error {
	build := version.Current()
	if c.JSON {
		return json.NewEncoder(p.stdout).Encode(build)
	}
	_, err := fmt.Fprintln(p.stdout, build)
	return err
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"gantry/internal/config"
	"gantry/internal/logging"
	"gantry/lab"
	"gantry/lab/machine"
	"gantry/lab/machine/memory"
	"gantry/lab/machine/qemu"
)

// labReadyFile in the data folder tells programs on this machine how to reach the running lab.
const labReadyFile = "lab.json"

// guestPatience is how long all guests together get to end with the lab.
const guestPatience = 15 * time.Second

// maxLabNodes is more than Proxmox VE itself was ever seen with.
const maxLabNodes = 1000

type labCommand struct {
	Settings settingsFlags `embed:""`
	PVE      string        `help:"Setting pve: the version to answer as, 8 or 9." name:"pve" placeholder:"VERSION"`
	Nodes    string        `help:"Setting nodes: how many nodes the cluster has." placeholder:"N"`
	QEMU     bool          `help:"Setting qemu=true: guests are real QEMU machines, not only kept in memory." name:"qemu"`
	Latency  string        `help:"Setting latency: added to each request." placeholder:"DURATION"`

	Run labRun `cmd:"" default:"withargs" help:"Run the lab (what happens without a subcommand)."`
	QM  labQM  `cmd:"" name:"qm" hidden:"" passthrough:"" help:"Stand in for the command qm on a node of the lab."`
}

// flags are those of all programs and the lab's own.
func (c labCommand) flags() settingsFlags {
	flags := c.Settings
	for _, named := range []struct{ key, value string }{{"pve", c.PVE}, {"nodes", c.Nodes}, {"latency", c.Latency}} {
		if named.value != "" {
			flags.named = append(flags.named, config.Flag{Key: named.key, Value: named.value, Name: "--" + named.key})
		}
	}
	if c.QEMU {
		flags.named = append(flags.named, config.Flag{Key: "qemu", Value: "true", Name: "--qemu"})
	}
	return flags
}

// labSettings are the lab's file. configs/lab.yaml describes them.
type labSettings struct {
	Listen            string         `yaml:"listen"`
	DataDir           string         `yaml:"data_dir"`
	PVE               string         `yaml:"pve"`
	Nodes             int            `yaml:"nodes"`
	QEMU              bool           `yaml:"qemu"`
	Latency           time.Duration  `yaml:"latency"`
	RootPassword      string         `yaml:"root_password" secret:"true"`
	BridgeAddress     string         `yaml:"bridge_address"`
	HostBridge        string         `yaml:"host_bridge"`
	StopGuests        bool           `yaml:"stop_guests"`
	NodeCPUs          int            `yaml:"node_cpus"`
	NodeMemory        int64          `yaml:"node_memory_bytes"`
	StatusInterval    time.Duration  `yaml:"status_interval"`
	UnauthorizedDelay time.Duration  `yaml:"unauthorized_delay"`
	TimeScale         float64        `yaml:"time_scale"`
	CleanupLock       bool           `yaml:"cleanup_lock"`
	ControlListen     string         `yaml:"control_listen"`
	ControlToken      string         `yaml:"control_token" secret:"true"`
	Log               logging.Config `yaml:"log"`
}

func defaultLabSettings() labSettings {
	return labSettings{
		Listen: "127.0.0.1:8006", DataDir: "/var/lib/gantry/lab", PVE: "9", Nodes: 1, BridgeAddress: "10.99.99.1/24",
		NodeCPUs: 64, NodeMemory: 512 << 30, StatusInterval: 10 * time.Second, UnauthorizedDelay: 3 * time.Second, TimeScale: 1,
		CleanupLock: true, Log: logging.DefaultConfig(),
	}
}

// Validate names every setting that cannot work.
func (s labSettings) Validate() error {
	var checks config.Checks
	checks.Check("listen", config.ListenAddress(s.Listen))
	checks.Require(filepath.IsAbs(s.DataDir), "data_dir", "%q must be an absolute path", s.DataDir)
	checks.Check("pve", config.OneOf(s.PVE, "8", "9"))
	checks.Require(1 <= s.Nodes && s.Nodes <= maxLabNodes, "nodes", "must be from 1 to %d", maxLabNodes)
	_, err := netip.ParsePrefix(s.BridgeAddress)
	checks.Require(err == nil, "bridge_address", "%q must be an address with its network's length, such as 10.99.99.1/24", s.BridgeAddress)
	checks.Require(s.HostBridge == "" || s.QEMU, "host_bridge", "is of no use without qemu")
	checks.Require(s.NodeCPUs >= 1, "node_cpus", "must be at least 1")
	checks.Require(s.NodeMemory >= 1<<30, "node_memory_bytes", "must be at least 1GiB")
	for _, period := range []struct {
		key   string
		value time.Duration
	}{{"latency", s.Latency}, {"status_interval", s.StatusInterval}, {"unauthorized_delay", s.UnauthorizedDelay}} {
		checks.Require(period.value >= 0, period.key, "must not be negative")
	}
	checks.Require(s.TimeScale > 0, "time_scale", "must be above 0")
	if s.ControlListen != "" {
		checks.Check("control_listen", config.ListenAddress(s.ControlListen))
	}
	checks.Require(s.ControlToken == "" || s.ControlListen != "", "control_token", "is of no use without control_listen")
	checks.Nested("log", s.Log.Validate())
	return checks.Err()
}

// config is what package lab takes, where a negative period is none and zero the default.
func (s labSettings) config(log *slog.Logger) lab.Config {
	orNone := func(period time.Duration) time.Duration {
		if period == 0 {
			return -1
		}
		return period
	}
	settings := lab.Config{
		Version: s.PVE, Listen: s.Listen, DataDir: s.DataDir,
		Bridges:   []lab.Bridge{{Name: "vmbr0", CIDR: s.BridgeAddress}},
		TimeScale: s.TimeScale, NoCleanupLock: !s.CleanupLock, StatusInterval: orNone(s.StatusInterval), UnauthorizedDelay: orNone(s.UnauthorizedDelay),
		Latency: s.Latency, RootPassword: s.RootPassword, NodeCPUs: s.NodeCPUs, NodeMemory: s.NodeMemory,
		KVM:           true, // as on every real node; QEMU guests fall back to emulation where this machine has none
		ControlListen: s.ControlListen, ControlToken: s.ControlToken, Logger: log,
	}
	for number := range s.Nodes {
		settings.Nodes = append(settings.Nodes, fmt.Sprintf("pve%d", number+1))
	}
	return settings
}

// guests gives what runs the lab's guests, and what to do about them at the end.
func (s labSettings) guests(log *slog.Logger) (guests machine.Backend, end func() error, err error) {
	if !s.QEMU {
		return memory.New(memory.Options{}), func() error { return nil }, nil
	}
	backend, err := qemu.New(qemu.Options{Root: s.DataDir, HostBridge: s.HostBridge, Logger: log})
	if err != nil {
		return nil, nil, err
	}
	if !s.StopGuests {
		return backend, backend.Close, nil
	}
	return backend, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), guestPatience)
		defer cancel()
		return errors.Join(backend.StopGuests(ctx), backend.Close())
	}, nil
}

type labRun struct{}

// labReady is how to reach a running lab.
type labReady struct {
	URL          string   `json:"url"`
	Fingerprint  string   `json:"fingerprint"` // SHA-256 of the TLS certificate, as PVE shows it
	Nodes        []string `json:"nodes"`
	RootPassword string   `json:"rootPassword"` // of root@pam
	TokenID      string   `json:"tokenId"`
	TokenSecret  string   `json:"tokenSecret"`
	AdminSocket  string   `json:"adminSocket"` // of `gantry lab qm`
	Control      string   `json:"control,omitempty"`
	ControlToken string   `json:"controlToken,omitempty"`
}

// Run serves until a signal. Once the lab answers, one JSON object goes to stdout and into lab.json in the data folder.
func (labRun) Run(p *process, line *commandLine) error {
	settings, err := loadSettings(p, "lab", line.Lab.flags(), defaultLabSettings())
	if err != nil {
		return err
	}
	log, err := newLogger(p, settings.Log, "lab")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(settings.DataDir, 0o755); err != nil {
		return fmt.Errorf("create data_dir: %w", err)
	}
	guests, end, err := settings.guests(log)
	if err != nil {
		return err
	}
	configuration := settings.config(log)
	configuration.Backend = guests
	running, err := lab.Start(p.ctx, configuration)
	if err != nil {
		return errors.Join(err, end())
	}
	ready := filepath.Join(settings.DataDir, labReadyFile)
	err = announceLab(running, configuration.Nodes, ready, p.stdout)
	if err == nil {
		log.Info("lab ready", "address", running.URL(), "nodes", len(configuration.Nodes), "qemu", settings.QEMU)
		<-p.ctx.Done()
		err = os.Remove(ready)
	}
	// The lab goes first, so that nothing starts a guest any more.
	return errors.Join(err, running.Close(), end())
}

// announceLab writes the file with a rename, so that who waits for it never reads half of it.
func announceLab(running *lab.Lab, nodes []string, file string, stdout io.Writer) error {
	ready := labReady{
		URL: running.URL(), Fingerprint: running.FingerprintText(), Nodes: nodes,
		RootPassword: running.RootPassword(), AdminSocket: running.AdminSocket(),
	}
	ready.TokenID, ready.TokenSecret = running.RootToken()
	ready.Control, ready.ControlToken = running.Control()
	text, err := json.Marshal(ready)
	if err != nil {
		return fmt.Errorf("announce the lab: %w", err)
	}
	text = append(text, '\n')
	if err := os.WriteFile(file+".new", text, 0o600); err != nil {
		return fmt.Errorf("announce the lab: %w", err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("announce the lab: %w", err)
	}
	_, err = stdout.Write(text)
	return err
}

type labQM struct {
	Args []string `arg:"" optional:"" help:"DATA_DIR NODE and the arguments of qm."`
}

// Run ends with qm's exit status.
func (c *labQM) Run(p *process) error {
	if len(c.Args) < 2 {
		return errors.New("usage: gantry lab qm DATA_DIR NODE [ARGUMENT...]")
	}
	return exitStatus(lab.RunQM(p.ctx, lab.AdminSocket(c.Args[0]), c.Args[1], c.Args[2:], os.Stdin, p.stdout, p.stderr))
}

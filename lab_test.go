package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"gantry/internal/config"
)

func TestLabSettings(t *testing.T) {
	for _, test := range []struct {
		settings string // key=value, blank-separated
		want     string // less the source; "" means valid
	}{
		{"pve=8 nodes=3 latency=20ms status_interval=0s unauthorized_delay=0s", ""},
		{"control_listen=127.0.0.1:0 control_token=x", ""},
		{"pve=7", `pve: "7" must be 8 or 9`},
		{"nodes=0", "nodes: must be from 1 to 1000"},
		{"nodes=1001", "nodes: must be from 1 to 1000"},
		{"data_dir=var", `data_dir: "var" must be an absolute path`},
		{"listen=8006", `listen: "8006" is not address:port`},
		{"bridge_address=10.99.99.1", `bridge_address: "10.99.99.1" must be an address with its network's length, such as 10.99.99.1/24`},
		{"qemu=true host_bridge=vmbr7 stop_guests=true", ""},
		{"host_bridge=vmbr7", "host_bridge: is of no use without qemu"},
		{"node_cpus=0", "node_cpus: must be at least 1"},
		{"node_memory_bytes=512MiB", "node_memory_bytes: must be at least 1GiB"},
		{"latency=-1s", "latency: must not be negative"},
		{"status_interval=-1s", "status_interval: must not be negative"},
		{"unauthorized_delay=-1s", "unauthorized_delay: must not be negative"},
		{"time_scale=0", "time_scale: must be above 0"},
		{"control_listen=nowhere", `control_listen: "nowhere" is not address:port`},
		{"control_token=x", "control_token: is of no use without control_listen"},
		{"log.level=loud", `log.level: "loud" must be debug, info, warn or error`},
	} {
		var flags []config.Flag
		for _, setting := range strings.Fields(test.settings) {
			flag, err := config.ParseSet(setting)
			if err != nil {
				t.Fatal(err)
			}
			flags = append(flags, flag)
		}
		_, err := config.Load(defaultLabSettings(), config.Sources{Program: "lab", Flags: flags})
		if (err == nil) != (test.want == "") || err != nil && strings.TrimPrefix(err.Error(), "--set: ") != test.want {
			t.Errorf("%s: %v, want %q", test.settings, err, test.want)
		}
	}
}

// A period of none is something else than the default.
func TestLabPeriods(t *testing.T) {
	settings := defaultLabSettings()
	settings.StatusInterval, settings.UnauthorizedDelay, settings.Nodes = 0, 0, 3
	taken := settings.config(nil)
	if taken.StatusInterval >= 0 || taken.UnauthorizedDelay >= 0 {
		t.Errorf("none became %s and %s", taken.StatusInterval, taken.UnauthorizedDelay)
	}
	if got := strings.Join(taken.Nodes, " "); got != "pve1 pve2 pve3" {
		t.Errorf("nodes %s", got)
	}
}

func TestLabAnnouncesItself(t *testing.T) {
	dir := t.TempDir()
	command, _ := running(t, "lab ready", nil, "lab", "--listen", "127.0.0.1:0", "--data-dir", dir, "--nodes", "2", "--pve", "8", "--set", "control_listen=127.0.0.1:0")
	file := filepath.Join(dir, labReadyFile)
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var ready labReady
	if err := json.Unmarshal(content, &ready); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(ready.URL, "https://127.0.0.1:") || len(ready.Nodes) != 2 || ready.TokenID != "root@pam!lab" ||
		ready.TokenSecret == "" || ready.RootPassword == "" || ready.Control == "" || ready.ControlToken == "" || len(ready.Fingerprint) != 95 {
		t.Errorf("%s", content)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read %s: %v %v", file, info.Mode(), err)
	}
	// What stands for qm gets its arguments as they are, flags of ours included, and gives its exit status.
	var status *exec.ExitError
	if out, err := gantry(t, nil, "lab", "qm", dir, "pve1", "--help", "--nodes").CombinedOutput(); !errors.As(err, &status) || status.ExitCode() != 255 || !strings.Contains(string(out), "qm --help") {
		t.Errorf("qm: %v %s", err, out)
	}
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := command.Wait(); err != nil {
		t.Errorf("lab: %v", err)
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there: %v", file, err)
	}
	if out, err := gantry(t, nil, "lab", "qm", dir).CombinedOutput(); err == nil || !strings.Contains(string(out), "usage: gantry lab qm") {
		t.Errorf("qm without a node: %v %s", err, out)
	}
}

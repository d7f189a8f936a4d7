package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"gantry/controlled"
	"gantry/internal/controlledclient"
	"gantry/internal/tlspin"
)

// startPatience is how long one program may take to answer.
const startPatience = 60 * time.Second

func nodeName(index int) string { return fmt.Sprintf("pve%d", index+1) }

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func (d *demo) serverURL() string     { return "http://" + loopback(d.kept.ServerPort) }
func (d *demo) labURL() string        { return "https://" + loopback(d.kept.LabPort) }
func (d *demo) labControlURL() string { return "http://" + loopback(d.kept.LabControlPort) }
func (d *demo) vncproxyURL() string   { return "http://" + loopback(d.kept.VNCProxyPort) }
func (d *demo) controlledURL() string { return "https://" + loopback(d.kept.ControlledPort) }

// program is a process of the demo.
type program struct {
	name     string
	settings map[string]any
	ready    func(context.Context) error
}

// startPrograms starts lab, daemon, broker and console proxy and waits until each answers.
func (d *demo) startPrograms(ctx context.Context) error {
	var err error
	if d.files, err = serveImage(d.image); err != nil {
		return err
	}
	d.api = newClient(d.serverURL())
	programs := []program{
		// The broker looks at its console proxies when it starts: one that is not there yet counts as down until the next look.
		{"vncproxy", d.vncproxySettings(), d.answers(d.vncproxyURL() + "/healthz")},
		{"server", d.serverSettings(), d.serverReady},
	}
	if d.config.Hypervisor == PVE {
		programs = append([]program{
			{"lab", d.labSettings(), d.labReady}, {"controlled", d.controlledSettings(), d.controlledReady},
		}, programs...)
	}
	for _, program := range programs {
		if err := d.startProgram(ctx, program.name, program.settings, program.ready); err != nil {
			return err
		}
	}
	return d.save()
}

// startProgram writes the program's settings beside its state, as an operator would find them in /etc/gantry.
func (d *demo) startProgram(ctx context.Context, name string, settings map[string]any, ready func(context.Context) error) error {
	text, err := yaml.Marshal(settings)
	if err != nil {
		return fmt.Errorf("write settings of %s: %w", name, err)
	}
	file := d.folder(name + ".yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return fmt.Errorf("write settings of %s: %w", name, err)
	}
	if err := d.children.start(name, name, "--config", file); err != nil {
		return err
	}
	return d.children.until(ctx, name, startPatience, ready)
}

func (d *demo) labSettings() map[string]any {
	// A gateway that can't be read was refused when the network was opened.
	gateway, _ := d.gatewayCIDR()
	settings := map[string]any{
		"listen": loopback(d.kept.LabPort), "data_dir": d.folder("lab"), "pve": firstOf(d.config.Version, "9"), "nodes": d.config.Nodes,
		"qemu": d.qemu, "bridge_address": gateway, "control_listen": loopback(d.kept.LabControlPort), "control_token": d.kept.LabControlToken,
	}
	if d.qemu {
		settings["stop_guests"] = true
	}
	if d.bridged() {
		settings["host_bridge"] = d.kept.Bridge
	}
	return settings
}

// labReady reads the credentials that the lab wrote once it answers.
func (d *demo) labReady(context.Context) error {
	text, err := os.ReadFile(d.folder("lab") + "/lab.json")
	if err != nil {
		return err
	}
	var ready struct {
		URL         string `json:"url"`
		TokenSecret string `json:"tokenSecret"`
	}
	if err := json.Unmarshal(text, &ready); err != nil {
		return err
	}
	if ready.URL != d.labURL() {
		return fmt.Errorf("the lab listens on %s, not on %s", ready.URL, d.labURL())
	}
	connection, err := net.DialTimeout("tcp", loopback(d.kept.LabPort), time.Second)
	if err != nil {
		return err
	}
	d.kept.LabTokenSecret = ready.TokenSecret
	return connection.Close()
}

func (d *demo) controlledSettings() map[string]any {
	return map[string]any{
		"listen": loopback(d.kept.ControlledPort), "data_dir": d.folder("controlled"), "image_dirs": []string{d.folder("images")},
		"qm_command":              []string{d.config.Executable, "lab", "qm", d.folder("lab"), nodeName(0)},
		"allow_private_downloads": true,
	}
}

func (d *demo) daemonSecret() (string, error) { return controlled.Secret(d.folder("controlled")) }

func (d *demo) controlledReady(ctx context.Context) error {
	pin, err := tlspin.Fetch(ctx, loopback(d.kept.ControlledPort))
	if err != nil {
		return err
	}
	secret, err := d.daemonSecret()
	if err != nil {
		return err
	}
	daemon, err := controlledclient.New(d.controlledURL(), secret, pin)
	if err != nil {
		return err
	}
	defer daemon.Close()
	_, err = daemon.Status(ctx)
	return err
}

// listenHost is where panel and API listen; every other program stays on loopback.
func (d *demo) listenHost() string {
	host, _, err := net.SplitHostPort(d.config.Listen)
	if err != nil || host == "" {
		return "127.0.0.1"
	}
	return host
}

func (d *demo) serverSettings() map[string]any {
	settings := map[string]any{
		"listen": net.JoinHostPort(d.listenHost(), strconv.Itoa(d.kept.ServerPort)), "data_dir": d.folder("server"),
		"console": map[string]any{"proxy": map[string]any{"name": "demo", "url": d.vncproxyURL(), "secret": d.kept.ProxySecret}},
	}
	if d.config.Database != "" {
		settings["database"] = map[string]any{"dsn": d.config.Database}
	}
	return settings
}

// serverReady reads the first login that the broker wrote at its first start.
func (d *demo) serverReady(ctx context.Context) error {
	if err := d.answers(d.serverURL() + "/readyz")(ctx); err != nil {
		return err
	}
	if d.kept.AdminPassword != "" {
		return nil
	}
	text, err := os.ReadFile(d.folder("server") + "/first-login.json")
	if err != nil {
		return err
	}
	var login struct {
		AdminPath string `json:"adminPath"`
		Username  string `json:"username"`
		Password  string `json:"password"`
	}
	if err := json.Unmarshal(text, &login); err != nil {
		return err
	}
	d.kept.AdminPath, d.kept.AdminUser, d.kept.AdminPassword = login.AdminPath, login.Username, login.Password
	return nil
}

func (d *demo) vncproxySettings() map[string]any {
	return map[string]any{
		"listen": loopback(d.kept.VNCProxyPort), "data_dir": d.folder("vncproxy"), "server": d.serverURL(), "secret": d.kept.ProxySecret,
		"allowed_origins": []string{d.serverURL()},
	}
}

// answers is ready when the address says 200.
func (d *demo) answers(address string) func(context.Context) error {
	asking := &http.Client{Timeout: 2 * time.Second}
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return err
		}
		response, err := asking.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %d", address, response.StatusCode)
		}
		return nil
	}
}

func firstOf(text, otherwise string) string {
	if text != "" {
		return text
	}
	return otherwise
}

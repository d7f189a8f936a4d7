// Package demo brings up a whole Gantry on embedded defaults: lab cluster, node daemon, broker and console proxy, each a process
// of its own, set up through the public API, with one order carried out.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// QEMU says whether guests are real.
type QEMU string

const (
	QEMUAuto QEMU = "auto" // real guests where QEMU and an image are there
	QEMUOn   QEMU = "on"
	QEMUOff  QEMU = "off" // guests in memory
)

// Config is what a demo is started with.
type Config struct {
	DataDir string
	Listen  string // of panel and API; "127.0.0.1:0" takes a free port
	QEMU    QEMU
	Nodes   int
	JSON    bool
	Order   bool
	// Version is the lab's PVE version, "8" or "9".
	Version string
	// Image is the qcow2 file that the demo orders; "" = var/image/gantry-guest.qcow2 as `make` builds it.
	Image string
	// Database is the server's DSN; "" = SQLite in DataDir.
	Database string
	// Executable is this binary; "" = os.Executable().
	Executable string
	Stdout     io.Writer
	Stderr     io.Writer
}

// report is the JSON object of --json.
type report struct {
	Panel         string  `json:"panel"`
	AdminPath     string  `json:"adminPath"`
	AdminUser     string  `json:"adminUser"`
	AdminPassword string  `json:"adminPassword"`
	API           string  `json:"api"`
	AppID         string  `json:"appid"`
	AppKey        string  `json:"appkey"`
	Lab           string  `json:"lab"`
	LabToken      string  `json:"labToken"`
	LabControl    string  `json:"labControl"`
	LabControlKey string  `json:"labControlToken"`
	VNCProxy      string  `json:"vncproxy"`
	Controlled    string  `json:"controlled"`
	NodeID        int64   `json:"nodeId"`
	ImageID       int64   `json:"osId"`
	PoolID        int64   `json:"ipPoolId"`
	QEMU          bool    `json:"qemu"`
	DemoVM        *demoVM `json:"demoVm,omitempty"`
}

type demoVM struct {
	HostID  int64  `json:"hostid"`
	VMID    int    `json:"vmid"`
	IP      string `json:"ip"`
	Console string `json:"console"`
}

type demo struct {
	config   Config
	children *children
	api      *client
	kept     kept
	qemu     bool
	image    string
	files    *fileServer
}

// Run brings everything up, prints how to reach it, and serves until ctx ends or a program fails.
func Run(ctx context.Context, config Config) (err error) {
	d := &demo{config: config}
	if err := d.prepare(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.startPrograms(ctx); err != nil {
		return interrupted(ctx, err)
	}
	if err := d.bootstrap(ctx); err != nil {
		return interrupted(ctx, err)
	}
	var machine *demoVM
	if config.Order {
		if machine, err = d.order(ctx); err != nil {
			return interrupted(ctx, fmt.Errorf("order a virtual machine: %w", err))
		}
	}
	if err := d.announce(machine); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case failed := <-d.children.failed:
		return failed
	}
}

// interrupted makes a start that Ctrl-C ended an end without error.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (d *demo) prepare(ctx context.Context) error {
	directory, err := filepath.Abs(d.config.DataDir)
	if err != nil {
		return fmt.Errorf("find the data directory: %w", err)
	}
	d.config.DataDir = directory
	if d.config.Executable == "" {
		if d.config.Executable, err = os.Executable(); err != nil {
			return fmt.Errorf("find this program: %w", err)
		}
	}
	if d.config.Nodes < 1 {
		d.config.Nodes = 1
	}
	logs := filepath.Join(directory, "logs")
	if err := os.MkdirAll(logs, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	d.children = newChildren(d.config.Executable, logs)
	if err := d.chooseGuests(); err != nil {
		return err
	}
	if err := d.load(); err != nil {
		return err
	}
	return d.openNetwork(ctx)
}

func (d *demo) close() error {
	d.children.stop()
	if d.files != nil {
		d.files.close()
	}
	return d.closeNetwork()
}

func (d *demo) announce(machine *demoVM) error {
	all := report{
		Panel: d.serverURL() + "/" + d.kept.AdminPath + "/", AdminPath: d.kept.AdminPath, AdminUser: d.kept.AdminUser,
		AdminPassword: d.kept.AdminPassword, API: d.serverURL(), AppID: d.kept.AppID, AppKey: d.kept.AppKey,
		Lab: d.labURL(), LabToken: "root@pam!lab=" + d.kept.LabTokenSecret,
		LabControl: d.labControlURL(), LabControlKey: d.kept.LabControlToken,
		VNCProxy: d.vncproxyURL(), Controlled: d.controlledURL(),
		NodeID: d.kept.NodeID, ImageID: d.kept.ImageID, PoolID: d.kept.PoolID, QEMU: d.qemu, DemoVM: machine,
	}
	if d.config.JSON {
		text, err := json.Marshal(all)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(d.config.Stdout, "%s\n", text)
		return err
	}
	return d.print(all)
}

func (d *demo) print(all report) error {
	guests := "in memory (install QEMU for real ones)"
	if all.QEMU {
		guests = "real, under QEMU"
	}
	text := fmt.Sprintf(`
Gantry is up. Guests are %s. Ctrl-C ends everything; %s keeps its state.

  Panel and API      %s
  Admin              %s / %s
  Billing API        %s/api/v1   appid %s   appkey %s
  Lab (PVE)          %s   token %s
  Console proxy      %s
  Node daemon        %s
  Node, image, pool  %d, %d, %d
`, guests, d.config.DataDir, all.Panel, all.AdminUser, all.AdminPassword, all.API, all.AppID, all.AppKey, all.Lab, all.LabToken,
		all.VNCProxy, all.Controlled, all.NodeID, all.ImageID, all.PoolID)
	if all.DemoVM != nil {
		text += fmt.Sprintf(`
  Virtual machine    hostid %d, VMID %d, address %s, login root / gantry-demo
  Its screen         %s
                     (opens once; ask for a fresh link with
                      curl -u %s:%s '%s/api/v1/pve/getVnc?hostId=%d')
`, all.DemoVM.HostID, all.DemoVM.VMID, all.DemoVM.IP, all.DemoVM.Console, all.AppID, all.AppKey, all.API, all.DemoVM.HostID)
	}
	_, err := fmt.Fprintln(d.config.Stdout, text)
	return err
}

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

	"gantry/internal/libvirthost"
)

// QEMU says whether guests are real.
type QEMU string

const (
	QEMUAuto QEMU = "auto" // real guests where QEMU and an image are there
	QEMUOn   QEMU = "on"
	QEMUOff  QEMU = "off" // guests in memory
)

// Hypervisor says what runs the guests.
type Hypervisor string

const (
	PVE     Hypervisor = "pve"     // the lab: a cluster that answers like Proxmox VE
	Libvirt Hypervisor = "libvirt" // this machine's libvirtd
)

// Config is what a demo is started with.
type Config struct {
	DataDir    string
	Hypervisor Hypervisor
	// OwnLibvirtd starts a libvirtd even where one answers.
	OwnLibvirtd bool
	// Arguments are the command line's, and Inside tells that this is the demo that runInside started.
	Arguments []string
	Inside    bool
	Listen    string // of panel and API; "127.0.0.1:0" takes a free port
	QEMU      QEMU
	Nodes     int
	JSON      bool
	Order     bool
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
	Hypervisor    string  `json:"hypervisor"`
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
	libvirtd *ownLibvirtd // nil where the machine's own is used, or none
}

// Run brings everything up, prints how to reach it, and serves until ctx ends or a program fails.
func Run(ctx context.Context, config Config) (err error) {
	if config.Hypervisor == Libvirt && !config.Inside {
		own, err := needsOwnLibvirtd(config.OwnLibvirtd)
		if err != nil {
			return err
		}
		if own {
			return runInside(ctx, config)
		}
	}
	d := &demo{config: config}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.prepare(ctx); err != nil {
		return interrupted(ctx, err)
	}
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
	if d.children == nil {
		return nil
	}
	d.children.stop()
	if d.files != nil {
		d.files.close()
	}
	err := d.closeNetwork()
	if d.libvirtd != nil {
		d.libvirtd.stop()
	}
	return err
}

func (d *demo) announce(machine *demoVM) error {
	all := report{
		Panel: d.serverURL() + "/" + d.kept.AdminPath + "/", AdminPath: d.kept.AdminPath, AdminUser: d.kept.AdminUser,
		AdminPassword: d.kept.AdminPassword, API: d.serverURL(), AppID: d.kept.AppID, AppKey: d.kept.AppKey,
		VNCProxy: d.vncproxyURL(), Hypervisor: string(d.config.Hypervisor),
		NodeID: d.kept.NodeID, ImageID: d.kept.ImageID, PoolID: d.kept.PoolID, QEMU: d.qemu, DemoVM: machine,
	}
	if d.config.Hypervisor == PVE {
		all.Lab, all.LabToken, all.Controlled = d.labURL(), "root@pam!lab="+d.kept.LabTokenSecret, d.controlledURL()
		all.LabControl, all.LabControlKey = d.labControlURL(), d.kept.LabControlToken
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
%s  Console proxy      %s
  Node, image, pool  %d, %d, %d
`, guests, d.config.DataDir, all.Panel, all.AdminUser, all.AdminPassword, all.API, all.AppID, all.AppKey, d.printHypervisor(all),
		all.VNCProxy, all.NodeID, all.ImageID, all.PoolID)
	if all.DemoVM != nil {
		text += fmt.Sprintf(`
  Virtual machine    hostid %d, VMID %d, address %s, login root / gantry-demo
  Its screen         %s
                     (opens once; ask for a fresh link with
                      curl -u %s:%s '%s/api/v1/%s/getVnc?hostId=%d')
`, all.DemoVM.HostID, all.DemoVM.VMID, all.DemoVM.IP, all.DemoVM.Console, all.AppID, all.AppKey, all.API, all.Hypervisor, all.DemoVM.HostID)
	}
	_, err := fmt.Fprintln(d.config.Stdout, text)
	return err
}

func (d *demo) printHypervisor(all report) string {
	switch {
	case all.Hypervisor == string(PVE):
		return fmt.Sprintf("  Lab (PVE)          %s   token %s\n  Node daemon        %s\n", all.Lab, all.LabToken, all.Controlled)
	case d.libvirtd != nil:
		return fmt.Sprintf("  libvirtd           one of the demo's own, with its folders in %s\n", d.folder("libvirt"))
	}
	return fmt.Sprintf("  libvirtd           this machine's, at %s\n", libvirthost.Socket)
}

package main

import (
	"os"

	"gantry/demo"
)

type demoCommand struct {
	DataDir    string `help:"What the demo keeps; a second start on it finds everything again." required:"" placeholder:"DIR"`
	Listen     string `help:"Where panel and API listen; port 0 takes a free one." default:"127.0.0.1:8080" placeholder:"ADDRESS:PORT"`
	QEMU       string `help:"Real guests: auto (where QEMU and the image are there), on, off (guests in memory)." name:"qemu" enum:"auto,on,off" default:"auto"`
	Nodes      int    `help:"How many nodes the lab has." default:"1" placeholder:"N"`
	PVE        string `help:"The version that the lab answers as." name:"pve" enum:"8,9" default:"9"`
	Image      string `help:"The qcow2 image that real guests boot, else var/image/gantry-guest.qcow2." placeholder:"FILE"`
	Database   string `help:"DSN of the broker's database, else SQLite in the data folder." placeholder:"DSN"`
	Hypervisor string `help:"What runs the guests: pve (the lab), or libvirt (this machine's libvirtd; as root one is started where none runs)." enum:"pve,libvirt" default:"pve"`
	Libvirtd   string `help:"For --hypervisor=libvirt: auto takes the libvirtd that answers on this machine, own starts one in any case." enum:"auto,own" default:"auto"`
	Inside     bool   `hidden:"" help:"This is the demo that the demo started in a mount namespace."`
	JSON       bool   `help:"Print one JSON object instead of text."`
	Order      bool   `help:"Order one virtual machine." default:"true" negatable:"" placeholder:"BOOL"`
}

// Run serves until a signal.
func (c *demoCommand) Run(p *process) error {
	return demo.Run(p.ctx, demo.Config{
		DataDir: c.DataDir, Listen: c.Listen, QEMU: demo.QEMU(c.QEMU), Nodes: c.Nodes, Version: c.PVE, Image: c.Image,
		Hypervisor: demo.Hypervisor(c.Hypervisor), OwnLibvirtd: c.Libvirtd == "own", Arguments: p.arguments, Inside: c.Inside, Database: c.Database, JSON: c.JSON, Order: c.Order, Stdout: p.stdout, Stderr: p.stderr,
	})
}

// demoLibvirtdCommand is a process of the demo on libvirt.
type demoLibvirtdCommand struct{}

// Run serves until its standard input ends.
func (*demoLibvirtdCommand) Run(p *process) error { return demo.ServeLibvirtd(os.Stdin, p.stdout) }

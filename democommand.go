package main

import "gantry/demo"

type demoCommand struct {
	DataDir  string `help:"What the demo keeps; a second start on it finds everything again." required:"" placeholder:"DIR"`
	Listen   string `help:"Where panel and API listen; port 0 takes a free one." default:"127.0.0.1:8080" placeholder:"ADDRESS:PORT"`
	QEMU     string `help:"Real guests: auto (where QEMU and the image are there), on, off (guests in memory)." name:"qemu" enum:"auto,on,off" default:"auto"`
	Nodes    int    `help:"How many nodes the lab has." default:"1" placeholder:"N"`
	PVE      string `help:"The version that the lab answers as." name:"pve" enum:"8,9" default:"9"`
	Image    string `help:"The qcow2 image that real guests boot, else var/image/gantry-guest.qcow2." placeholder:"FILE"`
	Database string `help:"DSN of the broker's database, else SQLite in the data folder." placeholder:"DSN"`
	JSON     bool   `help:"Print one JSON object instead of text."`
	Order    bool   `help:"Order one virtual machine." default:"true" negatable:"" placeholder:"BOOL"`
}

// Run serves until a signal.
func (c *demoCommand) Run(p *process) error {
	return demo.Run(p.ctx, demo.Config{
		DataDir: c.DataDir, Listen: c.Listen, QEMU: demo.QEMU(c.QEMU), Nodes: c.Nodes, Version: c.PVE, Image: c.Image,
		Database: c.Database, JSON: c.JSON, Order: c.Order, Stdout: p.stdout, Stderr: p.stderr,
	})
}

// Package libvirt drives QEMU/KVM hosts through libvirtd: over its unix socket, over SSH or over TLS. One connection is one node.
//
// A guest is the domain "gantry-<id>"; its UUID is the owner mark, and what Gantry has to remember of it (which volumes are its own,
// which operations ran) is kept in the domain's metadata, so that a restart of Gantry misses nothing. See docs/DRIVERS.md.
package libvirt

import (
	"context"
	"sync"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

type driver struct {
	client  *client
	options options
	now     func() time.Time
	jobs    jobs
	screens screens

	host struct {
		sync.Mutex
		facts *hostFacts
		// At the last Inventory.
		times  cpuTimes
		guests map[golibvirt.UUID]processorTime
	}
}

// Kind describes the driver.
func Kind() hypervisor.Kind {
	return hypervisor.Kind{Name: "libvirt", Title: "libvirt/KVM", Options: optionSchema(), Open: Open, Endpoint: endpoint}
}

// endpoint tells transports to one host apart: what its operator can do over them differs.
func endpoint(given map[string]string) (string, error) {
	parsed, err := parseOptions(given)
	switch {
	case err != nil:
		return "", err
	case parsed.transport == overUnix:
		return "unix:" + parsed.socket, nil
	}
	return parsed.transport + "://" + parsed.endpoint(), nil
}

// Open makes a driver for a host and makes no call.
func Open(settings hypervisor.Settings) (hypervisor.Driver, error) {
	parsed, err := parseOptions(settings.Options)
	if err != nil {
		return nil, err
	}
	d := &driver{options: parsed, now: settings.Now}
	if d.now == nil {
		d.now = time.Now
	}
	dialer, err := newTransport(parsed, settings.TLSPin)
	if err != nil {
		return nil, err
	}
	d.client = newClient(dialer)
	d.jobs.start()
	return d, nil
}

func (d *driver) Info() hypervisor.Info {
	return hypervisor.Info{Kind: "libvirt", Capabilities: hypervisor.Capabilities{
		SuspendToDisk: true, CPULimit: true, IOLimits: true, BandwidthLimit: true, NestedVirtualization: true, SMBIOS: true,
		CPUModels: true, GuestAgent: true, ImageFetch: true, Architectures: true, Console: d.options.transport != overTLS,
	}}
}

// closePatience bounds how long Close waits for operations to note on their guests that they were interrupted.
const closePatience = 5 * time.Second

// Close interrupts what is being done and frees the connections.
func (d *driver) Close() error {
	d.screens.close()
	d.jobs.stop(closePatience)
	d.client.close()
	return nil
}

// hostFacts are what decides about guests' hardware. They are read once: they change with libvirt or QEMU, whose update restarts
// libvirtd and so our connection.
type hostFacts struct {
	name    string
	machine machineFacts
}

func (d *driver) facts(ctx context.Context) (*hostFacts, error) {
	d.host.Lock()
	known := d.host.facts
	d.host.Unlock()
	if known != nil && d.client.steady() {
		return known, nil
	}
	name, err := read(ctx, d.client, (*rpc).ConnectGetHostname)
	if err != nil {
		return nil, err
	}
	text, err := read(ctx, d.client, (*rpc).ConnectGetCapabilities)
	if err != nil {
		return nil, err
	}
	machine, err := parseCapabilities(text)
	if err != nil {
		return nil, err
	}
	facts := &hostFacts{name: name, machine: machine}
	d.host.Lock()
	defer d.host.Unlock()
	d.host.facts = facts
	return facts, nil
}

// atNode checks that node is the host that answers.
func (d *driver) atNode(ctx context.Context, node string) (*hostFacts, error) {
	facts, err := d.facts(ctx)
	if err != nil {
		return nil, err
	}
	if node != facts.name {
		return nil, broker.Because(broker.NotFound, broker.ReasonNodeNotFound, node)
	}
	return facts, nil
}

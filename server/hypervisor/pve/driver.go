// Package pve drives Proxmox VE 8 and 9 clusters through their REST API, with go-proxmox behind a transport of our own.
// What PVE answers to what is described in the transcripts that the tests replay; comments say where a fact comes from.
package pve

import (
	"context"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/luthermonson/go-proxmox"

	"gantry/internal/tlspin"
	"gantry/server/broker"
	"gantry/server/hypervisor"
)

type driver struct {
	client  *client
	options options
	pin     string
	now     func() time.Time

	// learnt is the certificate that Probe met while none was pinned.
	learnt struct {
		sync.Mutex
		pin tlspin.Pin
	}
	// release is PVE's version as last heard, which decides details of some calls. Discover, which runs every few minutes, renews it.
	release struct {
		sync.Mutex
		version string
	}
	acceleration acceleration
}

// Kind describes the driver.
func Kind() hypervisor.Kind {
	return hypervisor.Kind{Name: "pve", Title: "Proxmox VE", Options: optionSchema(), Open: Open, Endpoint: endpoint}
}

func endpoint(given map[string]string) (string, error) {
	parsed, err := parseOptions(given)
	if err != nil {
		return "", err
	}
	return parsed.endpoint(), nil
}

// Open makes a driver for a cluster and makes no call.
func Open(settings hypervisor.Settings) (hypervisor.Driver, error) {
	parsed, err := parseOptions(settings.Options)
	if err != nil {
		return nil, err
	}
	var pin tlspin.Pin
	if settings.TLSPin != "" {
		if pin, err = tlspin.Parse(settings.TLSPin); err != nil {
			return nil, &broker.Error{Kind: broker.Invalid, Field: "tlsPin", Detail: err.Error(), Err: err}
		}
	}
	d := &driver{options: parsed, now: settings.Now}
	if d.now == nil {
		d.now = time.Now
	}
	if !pin.IsZero() {
		d.pin = hex.EncodeToString(pin[:])
	}
	base := "https://" + parsed.endpoint() + "/api2/json"
	d.client = newClient(base, newTransport(pin, d.learn, parsed.credential(base, d.now), d.now))
	return d, nil
}

func (d *driver) learn(pin tlspin.Pin) error {
	d.learnt.Lock()
	defer d.learnt.Unlock()
	d.learnt.pin = pin
	return nil
}

func (d *driver) Info() hypervisor.Info {
	return hypervisor.Info{Kind: "pve", Capabilities: hypervisor.Capabilities{
		SuspendToDisk: true, CPULimit: true, IOLimits: true, BandwidthLimit: true,
		NestedVirtualization: true, SMBIOS: true, CPUModels: true, GuestAgent: true, History: true, ImageFetch: true, Architectures: true,
		Arguments: d.options.argumentsAllowed(), Console: true,
	}}
}

func (d *driver) Close() error {
	d.client.close()
	return nil
}

// version is PVE's, e.g. "9.2.11", as last heard.
func (d *driver) version(ctx context.Context) (string, error) {
	d.release.Lock()
	known := d.release.version
	d.release.Unlock()
	if known != "" {
		return known, nil
	}
	return d.askVersion(ctx)
}

func (d *driver) askVersion(ctx context.Context) (string, error) {
	var answer proxmox.Version
	if err := d.client.get(ctx, "/version", nil, &answer); err != nil {
		return "", err
	}
	if answer.Version == "" || len(answer.Version) > 64 {
		return "", broker.Errorf(broker.Failed, "the server at %s does not answer like Proxmox VE", d.options.endpoint())
	}
	d.release.Lock()
	defer d.release.Unlock()
	d.release.version = answer.Version
	return answer.Version, nil
}

// unknownParameter tells whether PVE refused a parameter because its version does not have it.
func unknownParameter(err error, name string) bool {
	var failure *broker.Error
	return errors.As(err, &failure) && failure.Kind == broker.Invalid && failure.Field == name && strings.Contains(failure.Detail, "not defined in schema")
}

// options are what the operator typed in.
type options struct {
	host, port           string
	user, password       string
	tokenID, tokenSecret string
	node                 string
}

func (o options) endpoint() string { return net.JoinHostPort(o.host, o.port) }

func (o options) credential(base string, now func() time.Time) credential {
	if o.tokenID != "" {
		return apiToken{id: o.tokenID, secret: o.tokenSecret}
	}
	return &passwordLogin{base: base, user: o.user, password: o.password, now: now}
}

// vncHeader is what a websocket to the console needs: the same credential that asked for it.
func (d *driver) vncHeader(ctx context.Context) (map[string]string, error) {
	proof, err := d.client.credential.proof(ctx, d.client.login)
	if err != nil {
		return nil, err
	}
	header := map[string]string{}
	for _, name := range []string{"Authorization", "Cookie"} {
		if value := http.Header(proof).Get(name); value != "" {
			header[name] = value
		}
	}
	return header, nil
}

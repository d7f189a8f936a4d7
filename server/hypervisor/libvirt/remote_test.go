package libvirt

import (
	"strings"
	"testing"

	"gantry/internal/libvirttest"
	"gantry/server/broker"
	"gantry/server/hypervisor"
	"gantry/server/hypervisor/hypertest"
)

func overSSHTo(t *testing.T, change func(map[string]string)) (map[string]string, libvirttest.SSH) {
	t.Helper()
	way := host.SSH(t)
	given := map[string]string{
		"transport": "ssh", "host": way.Host, "port": way.Port, "username": way.User, "privateKey": way.PrivateKey, "socket": way.Socket, "localDownloads": "true",
	}
	if change != nil {
		change(given)
	}
	return given, way
}

func overTLSTo(t *testing.T, change func(map[string]string)) (map[string]string, libvirttest.TLS) {
	t.Helper()
	way := host.TLS(t)
	given := map[string]string{
		"transport": "tls", "host": way.Host, "port": way.Port, "authority": way.Authority, "clientCertificate": way.Certificate, "clientKey": way.Key,
		"localDownloads": "true",
	}
	if change != nil {
		change(given)
	}
	return given, way
}

// reduced leaves out what real guests take long for and what no way to the host changes.
func reduced(t *testing.T, whole hypertest.Subject, first int) {
	whole.FirstID = first
	hypertest.RunGroups(t, whole, "cluster", "create", "find", "resize", "delete", "images", "console", "failures")
}

func TestConformanceOverSSH(t *testing.T) {
	t.Parallel()
	given, way := overSSHTo(t, nil)
	whole := subject(t, given, way.HostKeyPin)
	whole.Faults.Hang = nil
	whole.OpenBadCredential = func(t *testing.T) hypervisor.Driver {
		bad := map[string]string{}
		for name, value := range given {
			bad[name] = value
		}
		bad["privateKey"] = way.StrangerKey
		return open(t, bad, way.HostKeyPin)
	}
	reduced(t, whole, 6000)
}

func TestConformanceOverTLS(t *testing.T) {
	t.Parallel()
	given, _ := overTLSTo(t, nil)
	whole := subject(t, given, "")
	whole.Faults.Hang = nil
	whole.OpenBadCredential = func(t *testing.T) hypervisor.Driver {
		bad, way := overTLSTo(t, nil)
		bad["clientCertificate"], bad["clientKey"] = way.StrangerCertificate, way.StrangerKey
		return open(t, bad, "")
	}
	whole.FirstID = 7000
	hypertest.RunGroups(t, whole, "cluster", "create", "find", "resize", "delete", "images", "console", "failures")
}

// Before a host's key is pinned only a probe may meet it; afterwards no other key passes.
func TestHostKeysArePinned(t *testing.T) {
	ssh, sshWay := overSSHTo(t, nil)
	tls, tlsWay := overTLSTo(t, func(given map[string]string) { delete(given, "authority") })
	wrong := strings.Repeat("ab", 32)
	for name, fact := range map[string]struct {
		given map[string]string
		pin   string
	}{"ssh": {ssh, sshWay.HostKeyPin}, "tls": {tls, tlsWay.Pin}} {
		t.Run(name, func(t *testing.T) {
			fresh := open(t, fact.given, "")
			defer fresh.Close()
			if _, err := fresh.Inventory(t.Context()); !broker.Is(err, broker.HypervisorAuth) {
				t.Errorf("inventory of an unpinned host: %v", err)
			}
			probe, err := fresh.Probe(t.Context())
			if err != nil || probe.TLSPin != fact.pin {
				t.Errorf("probe pins %q, %v, want %q", probe.TLSPin, err, fact.pin)
			}
			other := open(t, fact.given, wrong)
			defer other.Close()
			if _, err := other.Probe(t.Context()); !broker.Is(err, broker.HypervisorAuth) {
				t.Errorf("probe of a host with another key: %v", err)
			}
			pinned := open(t, fact.given, strings.ToUpper(fact.pin))
			defer pinned.Close()
			if _, err := pinned.Inventory(t.Context()); err != nil {
				t.Errorf("inventory of the pinned host: %v", err)
			}
		})
	}
}

// An authority that did not sign the host's certificate does not vouch for it.
func TestForeignAuthorityIsRefused(t *testing.T) {
	given, way := overTLSTo(t, func(given map[string]string) {})
	given["authority"] = way.StrangerCertificate
	d := open(t, given, "")
	defer d.Close()
	if _, err := d.Probe(t.Context()); !broker.Is(err, broker.HypervisorAuth) {
		t.Errorf("probe: %v", err)
	}
}

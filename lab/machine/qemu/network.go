package qemu

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"gantry/lab/machine"
)

// interfaceName is what Linux and ip(8) take without surprises; IFNAMSIZ leaves 15 characters.
var interfaceName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]{0,14}$`)

// nicKey is a NIC's key; PVE has net0 to net31.
var nicKey = regexp.MustCompile(`^net([0-9]|[12][0-9]|3[01])$`)

// nicModels maps PVE's model names to QEMU's devices.
var nicModels = map[string]string{
	"virtio": "virtio-net-pci", "e1000": "e1000", "e1000e": "e1000e", "rtl8139": "rtl8139", "vmxnet3": "vmxnet3",
	"pcnet": "pcnet", "ne2k_pci": "ne2k_pci",
}

// link is how a NIC is joined to the node: by a tap on a bridge, or by QEMU's user-mode network.
type link struct {
	nic machine.NIC
	tap bool
}

// planLinks decides for each NIC. A tap needs root and a bridge that exists; otherwise the guest gets user-mode network,
// where it reaches out by NAT and nobody reaches it.
func planLinks(spec machine.Spec) ([]link, error) {
	links := make([]link, 0, len(spec.NICs))
	for _, nic := range spec.NICs {
		if !nicKey.MatchString(nic.Key) {
			return nil, fmt.Errorf("NIC %q: no such slot (net0-net31)", nic.Key)
		}
		if _, known := nicModels[nic.Model]; !known && nic.Model != "" {
			return nil, fmt.Errorf("NIC %s: unknown model %q", nic.Key, nic.Model)
		}
		if nic.MAC != "" {
			if _, err := net.ParseMAC(nic.MAC); err != nil {
				return nil, fmt.Errorf("NIC %s: %w", nic.Key, err)
			}
		}
		if nic.Rate < 0 {
			return nil, fmt.Errorf("NIC %s: rate %g is negative", nic.Key, nic.Rate)
		}
		tap := isRoot() && bridgeExists(nic.Bridge)
		if tap && !interfaceName.MatchString(nic.Tap) {
			return nil, fmt.Errorf("NIC %s: invalid interface name %q", nic.Key, nic.Tap)
		}
		links = append(links, link{nic: nic, tap: tap})
	}
	return links, nil
}

// arguments are QEMU's options for one NIC. QEMU itself makes the tap, so that the kernel removes it when QEMU ends,
// however it ends and whether or not a lab is there to see it.
func (l link) arguments(bootIndex int) []string {
	backend := "user,id=" + l.nic.Key
	if l.tap {
		backend = "tap,id=" + l.nic.Key + ",ifname=" + l.nic.Tap + ",script=no,downscript=no"
	}
	model := nicModels[l.nic.Model]
	if model == "" {
		model = nicModels["virtio"]
	}
	device := model + ",netdev=" + l.nic.Key + ",id=dev-" + l.nic.Key
	if l.nic.MAC != "" {
		device += ",mac=" + l.nic.MAC
	}
	if bootIndex > 0 {
		device += ",bootindex=" + strconv.Itoa(bootIndex)
	} else {
		// No network boot: the BIOS need not load its ROM.
		device += ",romfile="
	}
	return []string{"-netdev", backend, "-device", device}
}

// plug puts the taps of a guest that has not begun to run on their bridges and sets their rates.
func (b *Backend) plug(ctx context.Context, links []link) error {
	for _, link := range links {
		if !link.tap {
			continue
		}
		nic := link.nic
		if err := configure(ctx, "ip", "link", "set", "dev", nic.Tap, "master", nic.Bridge, "up"); err != nil {
			return fmt.Errorf("plug %s into %s: %w", nic.Tap, nic.Bridge, err)
		}
		if err := b.limitRate(ctx, nic); err != nil {
			return fmt.Errorf("limit rate of %s: %w", nic.Tap, err)
		}
	}
	return nil
}

// rateBurst is the bucket that PVE gives a limited NIC, in bytes.
const rateBurst = 1 << 20

// limitRate holds a NIC to its rate. What the guest receives is shaped by tbf; what it sends is policed, as PVE does. A
// kernel without the police action (cls_basic, act_police) leaves the sending side unlimited, which is logged.
func (b *Backend) limitRate(ctx context.Context, nic machine.NIC) error {
	if nic.Rate <= 0 {
		return nil
	}
	rate := strconv.FormatInt(int64(nic.Rate*(1<<20)), 10) + "bps" // tc's "bps" is bytes per second
	burst := strconv.Itoa(rateBurst) + "b"
	if err := configure(ctx, "tc", "qdisc", "add", "dev", nic.Tap, "root", "tbf", "rate", rate, "burst", burst, "latency", "100ms"); err != nil {
		return err
	}
	err := configure(ctx, "tc", "qdisc", "add", "dev", nic.Tap, "handle", "ffff:", "ingress")
	if err == nil {
		err = configure(ctx, "tc", "filter", "add", "dev", nic.Tap, "parent", "ffff:", "prio", "50", "basic",
			"police", "rate", rate, "burst", burst, "mtu", "64kb", "drop")
	}
	if err != nil {
		b.logger.Warn("this kernel cannot limit what a guest sends", "interface", nic.Tap, "error", err)
	}
	return nil
}

// configure runs one of iproute2's tools.
func configure(ctx context.Context, argv ...string) error {
	_, err := run(ctx, commandTimeout, argv...)
	return err
}

func bridgeExists(name string) bool {
	if !interfaceName.MatchString(name) {
		return false
	}
	_, err := os.Stat(filepath.Join("/sys/class/net", name, "bridge"))
	return err == nil
}

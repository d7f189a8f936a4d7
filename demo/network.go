package demo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"gantry/lab/machine/qemu"
)

// chooseNetwork gives each data directory a subnet of its own that this machine does not use, and a bridge name.
func chooseNetwork(dataDir string) (network, bridge string, err error) {
	used, err := net.InterfaceAddrs()
	if err != nil {
		return "", "", fmt.Errorf("look at this machine's addresses: %w", err)
	}
	sum := sha256.Sum256([]byte(dataDir))
	bridge = "gantry" + hex.EncodeToString(sum[:4])
	for try := range 256 {
		candidate := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 64 + sum[0]&63, sum[1] + byte(try), 0}), 24)
		if !overlaps(candidate, used) {
			return candidate.String(), bridge, nil
		}
	}
	return "", "", fmt.Errorf("no free subnet in %s", netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 64 + sum[0]&63, 0, 0}), 16))
}

func overlaps(candidate netip.Prefix, used []net.Addr) bool {
	for _, address := range used {
		if prefix, err := netip.ParsePrefix(address.String()); err == nil && candidate.Overlaps(prefix.Masked()) {
			return true
		}
	}
	return false
}

// gatewayCIDR is the bridge's address with the subnet's length: guests use it as their gateway.
func (d *demo) gatewayCIDR() (string, error) {
	network, err := netip.ParsePrefix(d.kept.Network)
	if err != nil {
		return "", fmt.Errorf("read the demo's network: %w", err)
	}
	return netip.PrefixFrom(network.Masked().Addr().Next(), network.Bits()).String(), nil
}

// bridged tells whether real guests hang on a bridge of this machine, which takes root; else QEMU's user-mode network is used,
// through which guests can't be reached.
func (d *demo) bridged() bool {
	if !d.qemu || os.Geteuid() != 0 {
		return false
	}
	_, err := exec.LookPath("ip")
	return err == nil
}

func (d *demo) openNetwork(ctx context.Context) error {
	if d.config.Hypervisor == Libvirt {
		if d.config.Inside {
			if err := d.startLibvirtd(); err != nil {
				return err
			}
		}
		if err := d.children.until(ctx, "libvirtd", startPatience, libvirtReady); err != nil {
			return err
		}
		return d.openLibvirtNetwork(ctx)
	}
	if !d.bridged() {
		return nil
	}
	address, err := d.gatewayCIDR()
	if err != nil {
		return err
	}
	return qemu.EnsureBridge(ctx, d.kept.Bridge, address)
}

func (d *demo) closeNetwork() error {
	if d.kept.Bridge == "" {
		return nil // it was never opened
	}
	if d.config.Hypervisor == Libvirt {
		return d.closeLibvirtNetwork()
	}
	if !d.bridged() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return qemu.RemoveBridge(ctx, d.kept.Bridge)
}

func (d *demo) folder(name string) string { return filepath.Join(d.config.DataDir, name) }

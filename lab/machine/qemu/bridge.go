package qemu

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
)

// EnsureBridge makes a bridge of that name with an address (CIDR; empty for none), or gives one that is there the address.
// It needs root. Nothing is routed or masqueraded: guests reach this machine and one another.
func EnsureBridge(ctx context.Context, name, cidr string) error {
	if !interfaceName.MatchString(name) {
		return fmt.Errorf("invalid bridge name %q", name)
	}
	if cidr != "" {
		if _, err := netip.ParsePrefix(cidr); err != nil {
			return fmt.Errorf("bridge %s: address: %w", name, err)
		}
	}
	if !isRoot() {
		return fmt.Errorf("make bridge %s: %w", name, os.ErrPermission)
	}
	if !bridgeExists(name) {
		// No spanning tree and no learning delay: a guest's first packet goes through.
		if err := configure(ctx, "ip", "link", "add", "name", name, "type", "bridge", "stp_state", "0", "forward_delay", "0"); err != nil {
			return fmt.Errorf("make bridge %s: %w", name, err)
		}
	}
	if cidr != "" {
		if err := configure(ctx, "ip", "addr", "replace", cidr, "dev", name); err != nil {
			return fmt.Errorf("give bridge %s its address: %w", name, err)
		}
	}
	if err := configure(ctx, "ip", "link", "set", "dev", name, "up"); err != nil {
		return fmt.Errorf("start bridge %s: %w", name, err)
	}
	return nil
}

// RemoveBridge removes a bridge; a missing one is no error, one with ports is.
func RemoveBridge(ctx context.Context, name string) error {
	if !bridgeExists(name) {
		return nil
	}
	ports, err := os.ReadDir(filepath.Join("/sys/class/net", name, "brif"))
	if err != nil {
		return fmt.Errorf("remove bridge %s: %w", name, err)
	}
	if len(ports) > 0 {
		return fmt.Errorf("remove bridge %s: %w", name, errors.New("guests are plugged in"))
	}
	if err := configure(ctx, "ip", "link", "delete", "dev", name, "type", "bridge"); err != nil {
		return fmt.Errorf("remove bridge %s: %w", name, err)
	}
	return nil
}

package pve_test

import (
	"context"
	"testing"

	"gantry/lab"
	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// networks is what the driver can beside the contract of all drivers.
func networks(ctx context.Context, t *testing.T, driver hypervisor.Driver, node string) ([]map[string]any, error) {
	t.Helper()
	lister, able := driver.(interface {
		NodeNetworks(ctx context.Context, node string) ([]map[string]any, error)
	})
	if !able {
		t.Fatal("the driver can't list interfaces")
	}
	return lister.NodeNetworks(ctx, node)
}

func TestTheInterfacesOfANodeAreListed(t *testing.T) {
	c := start(t, lab.Config{Version: "9"})
	driver := c.byRootToken(t)
	listed, err := networks(t.Context(), t, driver, "pve1")
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, each := range listed {
		found = found || (each["iface"] == "vmbr0" && each["type"] == "bridge")
	}
	if !found {
		t.Errorf("listed %v", listed)
	}
	if listed, err := networks(t.Context(), t, driver, "no/node"); err == nil {
		t.Errorf("a node that can't be: %v", listed)
	}
	if _, err := networks(t.Context(), t, unreachable(t), "pve1"); !broker.Is(err, broker.Unreachable) {
		t.Errorf("nobody there: %v", err)
	}
}

package pve_test

import (
	"testing"

	"gantry/lab"
	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// TestGuestsRunOnNodesWithoutHardwareVirtualisation: PVE would take the guest and refuse to start it.
func TestGuestsRunOnNodesWithoutHardwareVirtualisation(t *testing.T) {
	for _, version := range []string{"8", "9"} {
		t.Run("PVE "+version, func(t *testing.T) {
			c := start(t, lab.Config{Version: version, NoHVM: true})
			d := c.byRootToken(t)
			defer d.Close()
			ref := hypervisor.GuestRef{ID: 100, Node: "pve1", Owner: "00000000-0000-4000-8000-000000000100"}
			end := func(operation hypervisor.Operation, err error) {
				t.Helper()
				for err == nil && !operation.Done() {
					var state hypervisor.OperationState
					if state, err = d.OperationState(t.Context(), operation); state.Finished {
						err = state.Err
						break
					}
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			end(d.CreateGuest(t.Context(), hypervisor.GuestSpec{
				Ref: ref, Name: "web", Sockets: 1, Cores: 1, CPUType: "host", MemoryMB: 64, KVM: true, ACPI: true,
				Limits: hypervisor.Limits{CPUPercent: broker.Unlimited},
			}))
			end(d.Power(t.Context(), ref, hypervisor.Start, hypervisor.PowerOptions{}))
			config, err := d.Config(t.Context(), ref)
			if err != nil {
				t.Fatal(err)
			}
			if config["cpu"] != "max" {
				t.Errorf("cpu is %v, want max: host needs KVM", config["cpu"])
			}
		})
	}
}

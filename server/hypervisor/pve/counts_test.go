package pve_test

import (
	"strings"
	"testing"

	"gantry/lab"
	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// TestRequestsOfEachCall counts what the driver asks of PVE: three workers serve a whole node, so every request counts.
func TestRequestsOfEachCall(t *testing.T) {
	c := start(t, lab.Config{})
	d := c.byRootToken(t)
	defer d.Close()
	ref := hypervisor.GuestRef{ID: 100, Node: "pve1", Owner: "00000000-0000-4000-8000-000000000100"}
	disk := hypervisor.DiskSpec{Key: "scsi0", Storage: "data", SizeBytes: 1 << 30, IO: hypervisor.UnlimitedIO()}
	spec := hypervisor.GuestSpec{
		Ref: ref, Name: "web", Sockets: 1, Cores: 1, MemoryMB: 64, KVM: true, ACPI: true, Limits: hypervisor.Limits{CPUPercent: broker.Unlimited},
		Disks: []hypervisor.DiskSpec{disk}, CloudInit: &hypervisor.CloudInit{}, CloudInitStorage: "data",
	}
	var old string
	operation := func(operation hypervisor.Operation, err error) error {
		if err != nil {
			return err
		}
		for {
			state, err := d.OperationState(t.Context(), operation)
			if err != nil || state.Finished {
				return err
			}
		}
	}
	const config, status = "GET config", "GET status/current"
	for _, fact := range []struct {
		name string
		call func() error
		want string
	}{
		{"create, the first on this node", func() error { return operation(d.CreateGuest(t.Context(), spec)) }, "GET status, POST qemu"},
		{"find", func() error {
			guest, err := d.FindGuest(t.Context(), ref)
			if err == nil {
				old = guest.Disks[0].Volume
			}
			return err
		}, config + ", " + status},
		{"resize", func() error { return operation(d.ResizeDisk(t.Context(), ref, "scsi0", 2<<30)) }, config + ", PUT resize"},
		{"resize to the same", func() error { return operation(d.ResizeDisk(t.Context(), ref, "scsi0", 2<<30)) }, config},
		{"start", func() error { return operation(d.Power(t.Context(), ref, hypervisor.Start, hypervisor.PowerOptions{})) }, config + ", " + status + ", POST status/start"},
		{"start again", func() error { return operation(d.Power(t.Context(), ref, hypervisor.Start, hypervisor.PowerOptions{})) }, config + ", " + status},
		{"inventory", func() error { _, err := d.Inventory(t.Context()); return err }, "GET cluster/resources"},
		{"stop", func() error { return operation(d.Power(t.Context(), ref, hypervisor.Stop, hypervisor.PowerOptions{})) }, config + ", " + status + ", POST status/stop"},
		{"replace disk", func() error { return operation(d.ReplaceDisk(t.Context(), ref, disk)) }, config + ", " + status + ", POST config"},
		{"configure", func() error {
			return operation(d.Configure(t.Context(), ref, hypervisor.GuestChange{MemoryMB: new(128), CloudInit: &hypervisor.CloudInit{User: "root"}}))
		}, config + ", POST config"},
		{"delete the old volume", func() error { return d.DeleteVolume(t.Context(), ref, old) }, config + ", POST config"},
		{"delete", func() error { return operation(d.DeleteGuest(t.Context(), ref)) }, config + ", DELETE qemu"},
	} {
		before := len(c.requests())
		if err := fact.call(); err != nil {
			t.Fatalf("%s: %v", fact.name, err)
		}
		var got []string
		for _, request := range c.requests()[before:] {
			name := request.Method + " " + request.Path
			for _, cut := range []string{"/nodes/pve1/qemu/100/", "/nodes/pve1/"} {
				name = strings.Replace(name, " "+cut, " ", 1)
			}
			name = strings.Replace(strings.TrimSuffix(name, "/100"), " /", " ", 1)
			if strings.HasPrefix(name, "GET tasks/") {
				continue // how often a task is asked for is the watcher's choice
			}
			got = append(got, name)
		}
		if text := strings.Join(got, ", "); text != fact.want {
			t.Errorf("%s sends %s, want %s", fact.name, text, fact.want)
		}
	}
}

package pve_test

import (
	"slices"
	"testing"

	"gantry/lab"
	"gantry/lab/fault"
	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// A task of PVE that fails between writing a change and applying it leaves the change to the next start of the guest. Attaching the volume
// that is still in force takes it back, attaching the one that is to come carries it out, and no volume is lost.
func TestChangesOfDisksThatFailedHalfway(t *testing.T) {
	c := start(t, lab.Config{})
	d := c.byRootToken(t)
	defer d.Close()
	ref := hypervisor.GuestRef{ID: 100, Node: "pve1", Owner: "00000000-0000-4000-8000-000000000100"}
	disk := hypervisor.DiskSpec{Key: "scsi0", Storage: "data", SizeBytes: 1 << 30, IO: hypervisor.UnlimitedIO()}
	finish := func(operation hypervisor.Operation, err error) error {
		t.Helper()
		for err == nil && !operation.Done() {
			var state hypervisor.OperationState
			if state, err = d.OperationState(t.Context(), operation); err == nil && state.Finished {
				return state.Err
			}
		}
		return err
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	look := func() (volume string, detached []string) {
		t.Helper()
		guest, err := d.FindGuest(t.Context(), ref)
		check(err)
		return guest.Disks[0].Volume, guest.Detached
	}
	check(finish(d.CreateGuest(t.Context(), hypervisor.GuestSpec{
		Ref: ref, Name: "web", Sockets: 1, Cores: 1, MemoryMB: 64, KVM: true, ACPI: true, Limits: hypervisor.Limits{CPUPercent: broker.Unlimited},
		Disks: []hypervisor.DiskSpec{disk},
	})))
	old, _ := look()
	c.Faults().AddTask(fault.TaskRule{Type: "qmconfig", Times: 1, Step: "apply", Error: "no luck"})
	if err := finish(d.ReplaceDisk(t.Context(), ref, disk)); err == nil {
		t.Fatal("the task did not fail")
	}
	if volume, detached := look(); volume != old || len(detached) > 0 {
		t.Errorf("the disk is %s, detached are %v: nothing of the change is in force", volume, detached)
	}

	check(finish(d.AttachVolume(t.Context(), ref, old, disk)))
	volume, detached := look()
	if volume != old || len(detached) != 1 {
		t.Fatalf("the disk is %s, detached are %v, want %s and the volume that was not needed", volume, detached, old)
	}
	check(finish(d.Power(t.Context(), ref, hypervisor.Start, hypervisor.PowerOptions{})))
	if volume, _ := look(); volume != old {
		t.Errorf("the start brought %s, want %s", volume, old)
	}
	check(finish(d.Power(t.Context(), ref, hypervisor.Stop, hypervisor.PowerOptions{})))

	c.Faults().AddTask(fault.TaskRule{Type: "qmconfig", Times: 1, Step: "apply", Error: "no luck"})
	if err := finish(d.AttachVolume(t.Context(), ref, detached[0], disk)); err == nil {
		t.Fatal("the task did not fail")
	}
	check(finish(d.AttachVolume(t.Context(), ref, detached[0], disk)))
	if volume, left := look(); volume != detached[0] || !slices.Equal(left, []string{old}) {
		t.Errorf("the disk is %s, detached are %v, want %s and %s", volume, left, detached[0], old)
	}
}

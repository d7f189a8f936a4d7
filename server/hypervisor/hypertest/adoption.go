package hypertest

import (
	"reflect"
	"strings"
	"testing"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// testAdoption takes over guests that others made, and lets go of them.
func testAdoption(t *testing.T, s *suite) {
	d := s.open(t)
	adopter, able := d.(hypervisor.Adopter)
	if !able {
		t.Log("the driver is no Adopter")
		return
	}
	if s.Foreign == nil {
		without(t, "Foreign")
	} else {
		t.Run("a guest that others made", func(t *testing.T) { s.testForeignAdoption(t, d, adopter) })
	}
	t.Run("a guest that bears a mark already", func(t *testing.T) { s.testMarkedAdoption(t, d, adopter) })
	t.Run("a guest that is missing", func(t *testing.T) {
		missing := s.ref()
		_, err := adopter.InspectGuest(s.context(t), missing)
		wantKind(t, err, broker.NotFound)
		wantKind(t, adopter.Adopt(s.context(t), missing), broker.NotFound)
		wantKind(t, adopter.Disown(s.context(t), missing), "")
	})
}

func (s *suite) testForeignAdoption(t *testing.T, d hypervisor.Driver, adopter hypervisor.Adopter) {
	ref := s.Foreign(t)
	found, err := adopter.InspectGuest(s.context(t), ref)
	if err != nil {
		t.Fatal(err)
	}
	if found.ID != ref.ID || found.Node != ref.Node || found.Owner != ref.Owner || found.Name == "" || found.Power != hypervisor.PowerStopped || found.Template {
		t.Errorf("inspected %+v, want %+v", found, ref)
	}
	if found.Sockets*found.Cores != 1 || found.MemoryMB != 128 || len(found.Disks) != 1 || found.Disks[0].SizeBytes != gib ||
		!strings.HasPrefix(found.Disks[0].Volume, s.Storage+":") || len(found.NICs) != 1 || found.NICs[0].Bridge != s.Bridge {
		t.Errorf("inspected %+v", found)
	}
	t.Run("is nobody's to change before", func(t *testing.T) {
		stranger := s.ref()
		stranger.ID = ref.ID
		_, err := d.Power(s.context(t), stranger, hypervisor.Start, hypervisor.PowerOptions{})
		wantKind(t, err, broker.Conflict)
		wantKind(t, adopter.ClaimDisks(s.context(t), stranger), broker.Conflict)
		if found.Owner != "" {
			wantKind(t, adopter.Disown(s.context(t), stranger), broker.Conflict)
		}
	})
	adopted := ref
	if adopted.Owner == "" {
		adopted.Owner = s.ref().Owner
	}
	for _, time := range []string{"first", "second"} {
		t.Run("is adopted the "+time+" time", func(t *testing.T) {
			if err := adopter.Adopt(s.context(t), adopted); err != nil {
				t.Fatal(err)
			}
			s.wantUnchanged(t, adopter, adopted, found, adopted.Owner)
		})
	}
	t.Run("is ours from then on", func(t *testing.T) {
		s.press(t, d, adopted, hypervisor.Stop)
		if _, err := d.Status(s.context(t), adopted); err != nil {
			t.Error(err)
		}
	})
	for _, time := range []string{"first", "second"} {
		t.Run("is let go the "+time+" time", func(t *testing.T) {
			err := adopter.Disown(s.context(t), adopted)
			if time == "second" && ref.Owner == "" {
				wantKind(t, err, broker.Conflict) // it is nobody's now
			} else if err != nil {
				t.Fatal(err)
			}
			s.wantUnchanged(t, adopter, adopted, found, ref.Owner)
		})
	}
	t.Run("is deleted with its disks only when they were claimed", func(t *testing.T) {
		if err := adopter.Adopt(s.context(t), adopted); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := adopter.ClaimDisks(s.context(t), adopted); err != nil {
				t.Fatal(err)
			}
		}
		operation, err := d.DeleteGuest(s.context(t), adopted)
		s.succeed(t, d, operation, err)
		_, err = d.FindGuest(s.context(t), adopted)
		wantKind(t, err, broker.NotFound)
	})
}

// wantUnchanged compares a guest with what it was like, but for the mark.
func (s *suite) wantUnchanged(t *testing.T, adopter hypervisor.Adopter, ref hypervisor.GuestRef, before hypervisor.ForeignGuest, owner string) {
	t.Helper()
	now, err := adopter.InspectGuest(s.context(t), ref)
	if err != nil {
		t.Fatal(err)
	}
	if now.Owner != owner {
		t.Errorf("the owner mark is %q, want %q", now.Owner, owner)
	}
	now.Owner = before.Owner
	if !reflect.DeepEqual(now, before) {
		t.Errorf("the guest is %+v, was %+v", now, before)
	}
}

func (s *suite) testMarkedAdoption(t *testing.T, d hypervisor.Driver, adopter hypervisor.Adopter) {
	ref := s.running(t, d)
	before, err := adopter.InspectGuest(s.context(t), ref)
	if err != nil || before.Owner != ref.Owner || before.Power != hypervisor.PowerRunning {
		t.Fatalf("inspected %+v, %v", before, err)
	}
	var status hypervisor.GuestSpec
	if s.Inspect != nil {
		status = s.Inspect(t, ref.ID)
	}
	if err := adopter.Adopt(s.context(t), ref); err != nil {
		t.Fatal(err)
	}
	s.wantUnchanged(t, adopter, ref, before, ref.Owner)
	if s.Inspect != nil {
		now := s.Inspect(t, ref.ID)
		if status.Description, now.Description = "", ""; !reflect.DeepEqual(now, status) {
			t.Errorf("the configuration is %+v, was %+v", now, status)
		}
	}
	t.Run("takes another mark, or refuses to", func(t *testing.T) {
		other := s.ref()
		other.ID = ref.ID
		err := adopter.Adopt(s.context(t), other)
		if broker.Is(err, broker.Conflict) { // the hypervisor knows it by one mark only
			s.wantUnchanged(t, adopter, ref, before, ref.Owner)
			return
		}
		wantKind(t, err, "")
		s.wantUnchanged(t, adopter, other, before, other.Owner)
		_, err = d.Power(s.context(t), ref, hypervisor.Stop, hypervisor.PowerOptions{})
		wantKind(t, err, broker.Conflict)
		wantKind(t, adopter.Disown(s.context(t), other), "")
		s.wantUnchanged(t, adopter, ref, before, ref.Owner)
	})
	t.Run("and not while something works on it", func(t *testing.T) {
		if s.Lock == nil {
			without(t, "Lock")
			return
		}
		s.Lock(t, ref.ID, "backup")
		wantKind(t, adopter.Adopt(s.context(t), ref), broker.Locked)
		s.Lock(t, ref.ID, "")
	})
	t.Run("ends with its own mark", func(t *testing.T) {
		wantKind(t, adopter.Disown(s.context(t), ref), "")
		s.wantUnchanged(t, adopter, ref, before, ref.Owner)
	})
}

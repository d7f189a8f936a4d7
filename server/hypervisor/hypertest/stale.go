package hypertest

import (
	"testing"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

func testStaleCreate(t *testing.T, s *suite) {
	if s.StaleCreate == nil {
		without(t, "StaleCreate")
		return
	}
	d := s.open(t)
	spec := s.spec()
	proof := s.StaleCreate(t, d, spec)
	t.Run("its guest is incomplete", func(t *testing.T) {
		if guest := s.find(t, d, spec.Ref); !guest.Incomplete || guest.Lock != "create" {
			t.Errorf("guest is %+v", guest)
		}
		_, err := d.DeleteGuest(s.context(t), spec.Ref)
		wantKind(t, err, broker.Locked)
	})
	t.Run("a whole guest and a wrong proof are refused", func(t *testing.T) {
		whole := s.spec()
		made, err := d.CreateGuest(s.context(t), whole)
		s.succeed(t, d, made, err)
		t.Cleanup(func() { s.clear(t, whole.Ref) })
		for name, try := range map[string]struct {
			ref   hypervisor.GuestRef
			proof hypervisor.Operation
		}{"whole": {whole.Ref, made}, "wrong": {spec.Ref, made}, "none": {spec.Ref, hypervisor.Operation{}}} {
			operation, err := d.ClearStaleCreate(s.context(t), try.ref, try.proof)
			if kind := broker.KindOf(err); kind != broker.Conflict && kind != broker.Unsupported {
				t.Errorf("%s: got %v, %v", name, operation, err)
			}
		}
		s.find(t, d, spec.Ref)
		s.find(t, d, whole.Ref)
	})
	t.Run("it is cleared where the credential may", func(t *testing.T) {
		operation, err := d.ClearStaleCreate(s.context(t), spec.Ref, proof)
		if broker.Is(err, broker.Unsupported) {
			s.find(t, d, spec.Ref)
			return
		}
		s.succeed(t, d, operation, err)
		_, err = d.FindGuest(s.context(t), spec.Ref)
		wantKind(t, err, broker.NotFound)
		s.wantVolumes(t, spec.Ref.ID, 0)
	})
}

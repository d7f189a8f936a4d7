package hypertest

import (
	"testing"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

func testPower(t *testing.T, s *suite) {
	d := s.open(t)
	can := d.Info().Capabilities
	again := func(t *testing.T, ref hypervisor.GuestRef, action hypervisor.PowerAction) {
		t.Helper()
		operation, err := d.Power(s.context(t), ref, action, hypervisor.PowerOptions{})
		done(t, operation, err)
	}
	t.Run("start, and starting what runs is success", func(t *testing.T) {
		ref := s.running(t, d)
		s.power(t, d, ref, hypervisor.PowerRunning)
		again(t, ref, hypervisor.Start)
		again(t, ref, hypervisor.Resume)
		s.power(t, d, ref, hypervisor.PowerRunning)
	})
	for _, action := range []hypervisor.PowerAction{hypervisor.Stop, hypervisor.Shutdown} {
		t.Run(string(action)+", and again is success", func(t *testing.T) {
			ref := s.answering(t, d)
			s.press(t, d, ref, hypervisor.Start)
			s.booted(t, ref, 1)
			s.press(t, d, ref, action)
			s.power(t, d, ref, hypervisor.PowerStopped)
			again(t, ref, hypervisor.Stop)
			again(t, ref, hypervisor.Shutdown)
			s.power(t, d, ref, hypervisor.PowerStopped)
		})
	}
	for _, action := range []hypervisor.PowerAction{hypervisor.Reboot, hypervisor.Reset} {
		t.Run(string(action)+" ends with a running guest", func(t *testing.T) {
			ref := s.answering(t, d)
			s.press(t, d, ref, hypervisor.Start)
			s.booted(t, ref, 1)
			s.press(t, d, ref, action)
			s.power(t, d, ref, hypervisor.PowerRunning)
		})
	}
	t.Run("suspend and resume", func(t *testing.T) {
		ref := s.running(t, d)
		if !can.SuspendToDisk {
			_, err := d.Power(s.context(t), ref, hypervisor.Suspend, hypervisor.PowerOptions{})
			wantKind(t, err, broker.Unsupported)
			return
		}
		s.press(t, d, ref, hypervisor.Suspend)
		s.power(t, d, ref, hypervisor.PowerSuspended)
		again(t, ref, hypervisor.Suspend)
		s.press(t, d, ref, hypervisor.Resume)
		s.power(t, d, ref, hypervisor.PowerRunning)
	})
	t.Run("a suspended guest can be started", func(t *testing.T) {
		if !can.SuspendToDisk {
			return
		}
		ref := s.running(t, d)
		s.press(t, d, ref, hypervisor.Suspend)
		s.press(t, d, ref, hypervisor.Start)
		s.power(t, d, ref, hypervisor.PowerRunning)
	})
	t.Run("stop of a suspended guest forgets its state", func(t *testing.T) {
		if !can.SuspendToDisk {
			return
		}
		ref := s.running(t, d)
		s.press(t, d, ref, hypervisor.Suspend)
		s.press(t, d, ref, hypervisor.Stop)
		s.power(t, d, ref, hypervisor.PowerStopped)
		s.wantVolumes(t, ref.ID, 1)
		operation, err := d.DeleteGuest(s.context(t), ref)
		s.succeed(t, d, operation, err)
	})
	t.Run("buttons that make no sense are refused", func(t *testing.T) {
		ref := s.plain(t, d)
		actions := []hypervisor.PowerAction{hypervisor.Reboot, hypervisor.Reset, hypervisor.Resume}
		if can.SuspendToDisk {
			actions = append(actions, hypervisor.Suspend)
		}
		for _, action := range actions {
			operation, err := d.Power(s.context(t), ref, action, hypervisor.PowerOptions{})
			s.refused(t, d, operation, err, broker.Conflict)
		}
		s.power(t, d, ref, hypervisor.PowerStopped)
	})
	t.Run("an unknown button is invalid", func(t *testing.T) {
		_, err := d.Power(s.context(t), s.plain(t, d), "explode", hypervisor.PowerOptions{})
		wantKind(t, err, broker.Invalid)
	})
}

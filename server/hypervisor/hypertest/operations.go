package hypertest

import (
	"strings"
	"testing"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

func testOperations(t *testing.T, s *suite) {
	d := s.open(t)
	t.Run("the empty operation is done", func(t *testing.T) {
		state, err := d.OperationState(s.context(t), hypervisor.Operation{})
		if err != nil || !state.Finished || state.Err != nil {
			t.Fatalf("state is %+v, %v", state, err)
		}
	})
	t.Run("a finished operation stays known to every driver", func(t *testing.T) {
		spec := s.spec()
		operation, err := d.CreateGuest(s.context(t), spec)
		s.succeed(t, d, operation, err)
		t.Cleanup(func() { s.clear(t, spec.Ref) })
		if operation.Node != s.Node {
			t.Errorf("runs on %q", operation.Node)
		}
		state, err := s.open(t).OperationState(s.context(t), hypervisor.Operation{ID: operation.ID})
		if err != nil || !state.Finished || state.Err != nil || state.Progress != 1 {
			t.Fatalf("state is %+v, %v", state, err)
		}
	})
	t.Run("find operation tells kind, guest and time apart", func(t *testing.T) {
		before := time.Now()
		spec := s.spec()
		created, err := d.CreateGuest(s.context(t), spec)
		s.succeed(t, d, created, err)
		t.Cleanup(func() { s.clear(t, spec.Ref) })
		found, err := d.FindOperation(s.context(t), spec.Ref, hypervisor.OperationCreate, before)
		if err != nil || found.ID != created.ID {
			t.Fatalf("found %+v, %v, want %s", found, err, created.ID)
		}
		_, err = d.FindOperation(s.context(t), spec.Ref, hypervisor.OperationStart, before)
		wantKind(t, err, broker.NotFound)
		_, err = d.FindOperation(s.context(t), s.ref(), hypervisor.OperationCreate, before)
		wantKind(t, err, broker.NotFound)
		_, err = d.FindOperation(s.context(t), spec.Ref, hypervisor.OperationCreate, time.Now().Add(time.Hour))
		wantKind(t, err, broker.NotFound)
	})
	t.Run("every kind of operation is found again", func(t *testing.T) {
		before := time.Now()
		ref := s.answering(t, d)
		expect := func(kind hypervisor.OperationKind, operation hypervisor.Operation, err error) {
			t.Helper()
			s.succeed(t, d, operation, err)
			found, err := d.FindOperation(s.context(t), ref, kind, before)
			if err != nil || found.ID != operation.ID {
				t.Fatalf("found %+v, %v, want %s", found, err, operation.ID)
			}
		}
		press := func(kind hypervisor.OperationKind, action hypervisor.PowerAction) {
			t.Helper()
			operation, err := d.Power(s.context(t), ref, action, hypervisor.PowerOptions{})
			expect(kind, operation, err)
		}
		operation, err := d.ResizeDisk(s.context(t), ref, hypervisor.SystemDisk, 2*gib)
		expect(hypervisor.OperationResize, operation, err)
		operation, err = d.Configure(s.context(t), ref, hypervisor.GuestChange{MemoryMB: new(256)})
		expect(hypervisor.OperationConfig, operation, err)
		press(hypervisor.OperationStart, hypervisor.Start)
		s.booted(t, ref, 1)
		press(hypervisor.OperationReset, hypervisor.Reset)
		s.booted(t, ref, 2)
		press(hypervisor.OperationReboot, hypervisor.Reboot)
		s.booted(t, ref, 3)
		if d.Info().Capabilities.SuspendToDisk {
			press(hypervisor.OperationSuspend, hypervisor.Suspend)
			press(hypervisor.OperationResume, hypervisor.Resume)
		}
		press(hypervisor.OperationShutdown, hypervisor.Shutdown)
		press(hypervisor.OperationStart, hypervisor.Start)
		press(hypervisor.OperationStop, hypervisor.Stop)
		operation, err = d.DeleteGuest(s.context(t), ref)
		expect(hypervisor.OperationDelete, operation, err)
	})
	t.Run("an operation that the hypervisor does not know is not found", func(t *testing.T) {
		ref := s.plain(t, d)
		operation, err := d.Power(s.context(t), ref, hypervisor.Start, hypervisor.PowerOptions{})
		s.succeed(t, d, operation, err)
		unknown := operation
		unknown.ID = strings.Replace(operation.ID, ":0", ":1", 1)
		_, err = d.OperationState(s.context(t), unknown)
		wantKind(t, err, broker.NotFound)
	})
}

func testFailures(t *testing.T, s *suite) {
	d := s.open(t)
	faults := s.Faults
	t.Run("a failed operation carries the hypervisor's words", func(t *testing.T) {
		if faults.FailOperation == nil {
			without(t, "Faults.FailOperation")
			return
		}
		ref := s.plain(t, d)
		faults.FailOperation(t, hypervisor.OperationStart, ref.ID, "start failed: QEMU exited with code 1")
		operation, err := d.Power(s.context(t), ref, hypervisor.Start, hypervisor.PowerOptions{})
		err = s.refused(t, d, operation, err, broker.Failed)
		if !strings.Contains(broker.DetailOf(err), "QEMU exited with code 1") {
			t.Errorf("words are %q", broker.DetailOf(err))
		}
		s.power(t, d, ref, hypervisor.PowerStopped)
	})
	t.Run("warnings are success with notes", func(t *testing.T) {
		if faults.Warn == nil {
			without(t, "Faults.Warn")
			return
		}
		ref := s.plain(t, d)
		faults.Warn(t, hypervisor.OperationStart, ref.ID, "clock is skewed")
		operation, err := d.Power(s.context(t), ref, hypervisor.Start, hypervisor.PowerOptions{})
		state := s.succeed(t, d, operation, err)
		if !strings.Contains(strings.Join(state.Warnings, "\n"), "clock is skewed") {
			t.Errorf("warnings are %q", state.Warnings)
		}
		s.power(t, d, ref, hypervisor.PowerRunning)
	})
	for _, kind := range []hypervisor.OperationKind{hypervisor.OperationCreate, hypervisor.OperationStart, hypervisor.OperationResize, hypervisor.OperationConfig, hypervisor.OperationDelete} {
		t.Run("a lost reply of "+string(kind)+" is unknown outcome, and the operation is found", func(t *testing.T) {
			if faults.LoseReply == nil {
				without(t, "Faults.LoseReply")
				return
			}
			before := time.Now()
			spec := s.spec()
			if kind != hypervisor.OperationCreate {
				s.make(t, d, spec)
			}
			faults.LoseReply(t, kind, spec.Ref.ID)
			_, err := s.begin(t, d, kind, spec)
			wantKind(t, err, broker.UnknownOutcome)
			t.Cleanup(func() { s.clear(t, spec.Ref) })
			found, err := d.FindOperation(s.context(t), spec.Ref, kind, before)
			s.succeed(t, d, found, err)
		})
		t.Run("a lock timeout of "+string(kind)+" is locked, and works later", func(t *testing.T) {
			if faults.LockTimeout == nil {
				without(t, "Faults.LockTimeout")
				return
			}
			spec := s.spec()
			if kind != hypervisor.OperationCreate {
				s.make(t, d, spec)
			}
			faults.LockTimeout(t, kind, spec.Ref.ID)
			operation, err := s.begin(t, d, kind, spec)
			s.refused(t, d, operation, err, broker.Locked)
			operation, err = s.begin(t, d, kind, spec)
			s.succeed(t, d, operation, err)
			t.Cleanup(func() { s.clear(t, spec.Ref) })
		})
	}
	t.Run("a locked guest is locked", func(t *testing.T) {
		if s.Lock == nil {
			without(t, "Lock")
			return
		}
		spec := s.make(t, d, s.spec())
		s.Lock(t, spec.Ref.ID, "backup")
		if guest := s.find(t, d, spec.Ref); guest.Lock != "backup" || guest.Incomplete {
			t.Errorf("guest is %+v", guest)
		}
		for _, kind := range []hypervisor.OperationKind{hypervisor.OperationStart, hypervisor.OperationResize, hypervisor.OperationConfig, hypervisor.OperationDelete} {
			operation, err := s.begin(t, d, kind, spec)
			s.refused(t, d, operation, err, broker.Locked)
		}
		s.Lock(t, spec.Ref.ID, "")
		s.press(t, d, spec.Ref, hypervisor.Start)
	})
	t.Run("a refused credential is hypervisor auth", func(t *testing.T) {
		if s.OpenBadCredential == nil {
			without(t, "OpenBadCredential")
			return
		}
		bad := s.OpenBadCredential(t)
		defer bad.Close()
		_, err := bad.Inventory(s.context(t))
		wantKind(t, err, broker.HypervisorAuth)
		_, err = bad.CreateGuest(s.context(t), s.spec())
		wantKind(t, err, broker.HypervisorAuth)
	})
	t.Run("an address where nothing answers is unreachable", func(t *testing.T) {
		if s.OpenUnreachable == nil {
			without(t, "OpenUnreachable")
			return
		}
		dead := s.OpenUnreachable(t)
		defer dead.Close()
		_, err := dead.Inventory(s.context(t))
		wantKind(t, err, broker.Unreachable)
		_, err = dead.CreateGuest(s.context(t), s.spec())
		wantKind(t, err, broker.Unreachable)
	})
	t.Run("a hanging hypervisor holds nobody longer than the context", func(t *testing.T) {
		if faults.Hang == nil {
			without(t, "Faults.Hang")
			return
		}
		s.testHang(t, d)
	})
	t.Run("a closed driver refuses and may be closed again", func(t *testing.T) {
		closed := s.Open(t)
		for range 2 {
			if err := closed.Close(); err != nil {
				t.Fatal(err)
			}
		}
		_, err := closed.Inventory(s.context(t))
		wantKind(t, err, broker.Unreachable)
	})
}

// begin starts an operation of a kind on a guest made from spec.
func (s *suite) begin(t *testing.T, d hypervisor.Driver, kind hypervisor.OperationKind, spec hypervisor.GuestSpec) (hypervisor.Operation, error) {
	t.Helper()
	ctx := s.context(t)
	switch kind {
	case hypervisor.OperationCreate:
		return d.CreateGuest(ctx, spec)
	case hypervisor.OperationStart:
		return d.Power(ctx, spec.Ref, hypervisor.Start, hypervisor.PowerOptions{})
	case hypervisor.OperationResize:
		return d.ResizeDisk(ctx, spec.Ref, hypervisor.SystemDisk, 4*gib)
	case hypervisor.OperationConfig:
		return d.Configure(ctx, spec.Ref, hypervisor.GuestChange{MemoryMB: new(256)})
	case hypervisor.OperationDelete:
		return d.DeleteGuest(ctx, spec.Ref)
	}
	t.Fatalf("the suite can't begin %s", kind)
	return hypervisor.Operation{}, nil
}

func (s *suite) testHang(t *testing.T, d hypervisor.Driver) {
	stop := s.Faults.Hang(t)
	defer stop()
	calls := map[string]func() error{
		"inventory": func() error {
			ctx, cancel := hurry(t)
			defer cancel()
			_, err := d.Inventory(ctx)
			return err
		},
		"create": func() error {
			ctx, cancel := hurry(t)
			defer cancel()
			_, err := d.CreateGuest(ctx, s.spec())
			return err
		},
	}
	for name, call := range calls {
		result := make(chan error, 1)
		go func() { result <- call() }()
		select {
		case err := <-result:
			if kind := broker.KindOf(err); kind != broker.Unreachable && kind != broker.UnknownOutcome {
				t.Errorf("%s: got %v", name, err)
			}
		case <-s.context(t).Done():
			t.Fatalf("%s did not return", name)
		}
	}
}

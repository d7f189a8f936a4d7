// Package hypertest is the conformance suite of hypervisor drivers: each test states one sentence of the Driver contract and
// checks it against the hypervisor behind the driver. What a driver says it can't do (Capabilities) is expected to answer
// Unsupported.
package hypertest

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// Subject is a driver and the cluster it is tried on. Only Open, Node, Storage and Bridge are required. A hook that is nil
// leaves out the facts that can't be brought about without it; Run lists those in the log.
type Subject struct {
	// Open makes a driver on the cluster; every test calls it and closes what it got.
	Open func(t *testing.T) hypervisor.Driver
	// Node, Storage and Bridge exist on the cluster. Storage takes disks, is not used by others and lists its volumes.
	Node, Storage, Bridge string
	// Image is a disk image that Node can import, by file name; "" = none.
	Image string
	// Source is an image that Node can download; nil = none.
	Source *Source
	// FirstID is where the suite takes guest ids from, upward; 0 = 5000.
	FirstID int

	// Inspect reads a guest's configuration from the hypervisor itself, not through the driver. A password that the hypervisor
	// won't show is "".
	Inspect func(t *testing.T, id int) hypervisor.GuestSpec
	// Volumes lists the volumes that exist for a guest id, attached or not, from the hypervisor itself.
	Volumes func(t *testing.T, id int) []string
	// Changes counts the changing requests that the hypervisor has got so far.
	Changes func(t *testing.T) int
	// Refresh makes what Inventory reports current (PVE: pvestatd's next round).
	Refresh func(t *testing.T)
	// Dial opens a console target and returns what it says first, at least 12 bytes.
	Dial func(t *testing.T, target hypervisor.ConsoleTarget) []byte
	// Lock puts a lock word on a guest from outside.
	Lock func(t *testing.T, id int, word string)
	// Migrate moves a guest to another node from outside and returns that node.
	Migrate func(t *testing.T, id int) string
	// OpenBadCredential makes a driver whose credential the hypervisor refuses.
	OpenBadCredential func(t *testing.T) hypervisor.Driver
	// OpenUnreachable makes a driver for an address where nothing answers.
	OpenUnreachable func(t *testing.T) hypervisor.Driver
	// Faults make the next call to the hypervisor go wrong.
	Faults Faults
	// Foreign makes a guest that is off, as others make them: with one disk in Storage, one NIC, 128 MB, 1 core, and no trace of Gantry. The
	// test takes it away.
	Foreign func(t *testing.T) hypervisor.GuestRef
	// StaleCreate leaves the remains of a create that died with its node and returns the operation that made it.
	StaleCreate func(t *testing.T, d hypervisor.Driver, spec hypervisor.GuestSpec) hypervisor.Operation
	// Startable changes a spec so that its guest can be started on the subject's machine and its system answers the power buttons, for
	// hypervisors that run real guests; nil = every guest does.
	Startable func(t *testing.T, d hypervisor.Driver, spec *hypervisor.GuestSpec)
	// Booted returns when the guest's system answers the power buttons, having come up that many times since the guest was started.
	Booted func(t *testing.T, id, times int)
	// Patience bounds every wait; 0 = 30 s.
	Patience time.Duration
}

// Source is a download for FetchImage.
type Source struct {
	URL, Checksum, FileName string
	// WrongChecksum has the form of Checksum and does not fit.
	WrongChecksum string
}

// Faults arm one fault each, for the next call that fits; nil hooks leave their facts out.
type Faults struct {
	// LoseReply lets the next call of the kind on the guest be carried out and drops its reply.
	LoseReply func(t *testing.T, kind hypervisor.OperationKind, id int)
	// FailOperation lets the next operation of the kind on the guest fail with text.
	FailOperation func(t *testing.T, kind hypervisor.OperationKind, id int, text string)
	// Warn lets the next operation of the kind on the guest end well with a warning.
	Warn func(t *testing.T, kind hypervisor.OperationKind, id int, text string)
	// LockTimeout lets the next call or operation of the kind on the guest fail because its configuration is locked.
	LockTimeout func(t *testing.T, kind hypervisor.OperationKind, id int)
	// Hang lets the hypervisor answer nothing until the returned function is called.
	Hang func(t *testing.T) (stop func())
}

// suite is one run.
type suite struct {
	Subject
	nextID atomic.Int64
}

// Run tests the subject.
func Run(t *testing.T, subject Subject) {
	t.Helper()
	RunGroups(t, subject)
}

// RunGroups tests the subject by the named groups only, none meaning all: for one more way to a hypervisor that Run was passed on.
func RunGroups(t *testing.T, subject Subject, groups ...string) {
	t.Helper()
	if subject.FirstID == 0 {
		subject.FirstID = 5000
	}
	if subject.Patience == 0 {
		subject.Patience = 30 * time.Second
	}
	s := &suite{Subject: subject}
	s.nextID.Store(int64(subject.FirstID))
	for _, group := range []struct {
		name string
		run  func(*testing.T, *suite)
	}{
		{"cluster", testCluster}, {"create", testCreate}, {"find", testFind}, {"power", testPower}, {"resize", testResize},
		{"replace disk", testReplaceDisk}, {"configure", testConfigure}, {"delete", testDelete}, {"foreign guest", testForeign},
		{"missing guest", testMissing}, {"bad input", testBadInput}, {"operations", testOperations}, {"images", testImages},
		{"console", testConsole}, {"display", testDisplay}, {"failures", testFailures}, {"stale create", testStaleCreate},
		{"adoption", testAdoption},
	} {
		if len(groups) == 0 || slices.Contains(groups, group.name) {
			t.Run(group.name, func(t *testing.T) { group.run(t, s) })
		}
	}
}

// without notes a fact that the subject can't bring about.
func without(t *testing.T, hook string) {
	t.Helper()
	t.Logf("the subject has no %s: facts that need it are left out", hook)
}

func (s *suite) open(t *testing.T) hypervisor.Driver {
	t.Helper()
	d := s.Open(t)
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return d
}

func (s *suite) context(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), s.Patience)
	t.Cleanup(cancel)
	return ctx
}

// ref makes a fresh guest's name.
func (s *suite) ref() hypervisor.GuestRef {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails, see crypto/rand
	owner := fmt.Sprintf("%x-%x-%x-%x-%x", raw[:4], raw[4:6], raw[6:8], raw[8:10], raw[10:])
	return hypervisor.GuestRef{ID: int(s.nextID.Add(1)), Node: s.Node, Owner: owner}
}

const gib = int64(1) << 30

// spec is a small plain guest.
func (s *suite) spec() hypervisor.GuestSpec {
	ref := s.ref()
	return hypervisor.GuestSpec{
		Ref: ref, Name: fmt.Sprintf("guest-%d", ref.ID), Sockets: 1, Cores: 1, MemoryMB: 128, KVM: true, ACPI: true, OSFamily: "linux",
		Limits: hypervisor.Limits{CPUPercent: broker.Unlimited},
		Disks:  []hypervisor.DiskSpec{{Key: hypervisor.SystemDisk, Storage: s.Storage, SizeBytes: gib, IO: hypervisor.UnlimitedIO()}},
		NICs:   []hypervisor.NICSpec{{MAC: fmt.Sprintf("02:00:00:%02x:%02x:%02x", byte(ref.ID>>16), byte(ref.ID>>8), byte(ref.ID)), Bridge: s.Bridge, RateMbps: broker.Unlimited}},
	}
}

// make creates a guest and waits for it.
func (s *suite) make(t *testing.T, d hypervisor.Driver, spec hypervisor.GuestSpec) hypervisor.GuestSpec {
	t.Helper()
	operation, err := d.CreateGuest(s.context(t), spec)
	s.succeed(t, d, operation, err)
	t.Cleanup(func() { s.clear(t, spec.Ref) })
	return spec
}

// plain creates a small guest.
func (s *suite) plain(t *testing.T, d hypervisor.Driver) hypervisor.GuestRef {
	t.Helper()
	return s.make(t, d, s.spec()).Ref
}

// running creates a small guest and starts it.
func (s *suite) running(t *testing.T, d hypervisor.Driver) hypervisor.GuestRef {
	t.Helper()
	ref := s.plain(t, d)
	s.press(t, d, ref, hypervisor.Start)
	return ref
}

// answering creates a guest whose system answers the power buttons.
func (s *suite) answering(t *testing.T, d hypervisor.Driver) hypervisor.GuestRef {
	t.Helper()
	return s.make(t, d, s.startable(t, d, s.spec())).Ref
}

func (s *suite) startable(t *testing.T, d hypervisor.Driver, spec hypervisor.GuestSpec) hypervisor.GuestSpec {
	t.Helper()
	if s.Startable != nil {
		s.Startable(t, d, &spec)
	}
	return spec
}

func (s *suite) booted(t *testing.T, ref hypervisor.GuestRef, times int) {
	t.Helper()
	if s.Booted != nil {
		s.Booted(t, ref.ID, times)
	}
}

// clear removes a guest whatever its state, after a test; failing to is no failure of the test.
func (s *suite) clear(t *testing.T, ref hypervisor.GuestRef) {
	d := s.Open(t)
	defer d.Close()
	ctx, cancel := context.WithTimeout(context.Background(), s.Patience)
	defer cancel()
	if operation, err := d.Power(ctx, ref, hypervisor.Stop, hypervisor.PowerOptions{}); err == nil {
		_, _ = s.outcome(ctx, d, operation)
	}
	if operation, err := d.DeleteGuest(ctx, ref); err == nil {
		_, _ = s.outcome(ctx, d, operation)
	}
}

func (s *suite) press(t *testing.T, d hypervisor.Driver, ref hypervisor.GuestRef, action hypervisor.PowerAction) {
	t.Helper()
	operation, err := d.Power(s.context(t), ref, action, hypervisor.PowerOptions{})
	s.succeed(t, d, operation, err)
}

// succeed waits for an operation that must end well.
func (s *suite) succeed(t *testing.T, d hypervisor.Driver, operation hypervisor.Operation, err error) hypervisor.OperationState {
	t.Helper()
	if err != nil {
		t.Fatalf("call failed: %v", err)
	}
	state, err := s.outcome(s.context(t), d, operation)
	if err != nil {
		t.Fatalf("state of %s: %v", operation.ID, err)
	}
	if state.Err != nil {
		t.Fatalf("operation %s failed: %v", operation.ID, state.Err)
	}
	return state
}

// outcome polls an operation until it has finished or ctx ends.
func (s *suite) outcome(ctx context.Context, d hypervisor.Driver, operation hypervisor.Operation) (hypervisor.OperationState, error) {
	if operation.Done() {
		return hypervisor.OperationState{Finished: true, Progress: 1}, nil
	}
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		state, err := d.OperationState(ctx, operation)
		if err != nil || state.Finished {
			return state, err
		}
		select {
		case <-ctx.Done():
			return state, fmt.Errorf("operation %s did not finish: %w", operation.ID, ctx.Err())
		case <-ticker.C:
		}
	}
}

func (s *suite) find(t *testing.T, d hypervisor.Driver, ref hypervisor.GuestRef) hypervisor.Guest {
	t.Helper()
	found, err := d.FindGuest(s.context(t), ref)
	if err != nil {
		t.Fatalf("find guest %d: %v", ref.ID, err)
	}
	return found
}

func (s *suite) power(t *testing.T, d hypervisor.Driver, ref hypervisor.GuestRef, want hypervisor.Power) {
	t.Helper()
	if found := s.find(t, d, ref); found.Power != want {
		t.Fatalf("guest %d is %s, want %s", ref.ID, found.Power, want)
	}
}

// wantKind checks an error's kind; "" wants no error.
func wantKind(t *testing.T, err error, kind broker.Kind) {
	t.Helper()
	if got := broker.KindOf(err); got != kind {
		t.Fatalf("got kind %q (%v), want %q", got, err, kind)
	}
}

// refused waits for a call that must fail at once or as its operation's end, with the kind.
func (s *suite) refused(t *testing.T, d hypervisor.Driver, operation hypervisor.Operation, err error, kind broker.Kind) error {
	t.Helper()
	if err == nil {
		state, stateErr := s.outcome(s.context(t), d, operation)
		if stateErr != nil {
			t.Fatalf("state of %s: %v", operation.ID, stateErr)
		}
		err = state.Err
	}
	wantKind(t, err, kind)
	return err
}

// done checks that a call found nothing to do.
func done(t *testing.T, operation hypervisor.Operation, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("call failed: %v", err)
	}
	if !operation.Done() {
		t.Fatalf("began %s, want nothing to do", operation.ID)
	}
}

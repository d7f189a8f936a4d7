package memory_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
	"gantry/server/hypervisor/memory"
)

func spec(id int) hypervisor.GuestSpec {
	return hypervisor.GuestSpec{
		Ref:  hypervisor.GuestRef{ID: id, Node: "node1", Owner: "00000000-0000-4000-8000-000000000001"},
		Name: "web", Sockets: 1, Cores: 1, MemoryMB: 64, Limits: hypervisor.Limits{CPUPercent: broker.Unlimited},
		Disks: []hypervisor.DiskSpec{{Key: "scsi0", Storage: "data", SizeBytes: 1 << 30, IO: hypervisor.UnlimitedIO()}},
	}
}

func begin(t *testing.T, d hypervisor.Driver, spec hypervisor.GuestSpec) hypervisor.Operation {
	t.Helper()
	operation, err := d.CreateGuest(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return operation
}

func state(t *testing.T, d hypervisor.Driver, operation hypervisor.Operation) hypervisor.OperationState {
	t.Helper()
	state, err := d.OperationState(t.Context(), operation)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func TestOperationTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := memory.New(memory.Config{Duration: func(hypervisor.OperationKind) time.Duration { return 10 * time.Second }})
		d := c.Open()
		operation := begin(t, d, spec(100))
		time.Sleep(5 * time.Second) // virtual time
		if got := state(t, d, operation); got.Finished || got.Progress != 0.5 {
			t.Errorf("half way it is %+v", got)
		}
		guest, err := d.FindGuest(t.Context(), hypervisor.GuestRef{ID: 100})
		if err != nil || !guest.Incomplete || guest.Owner != "" || guest.Lock != "create" {
			t.Errorf("guest is %+v, %v", guest, err)
		}
		if _, err := d.Power(t.Context(), spec(100).Ref, hypervisor.Start, hypervisor.PowerOptions{}); !broker.Is(err, broker.Locked) {
			t.Errorf("start while it is created: %v", err)
		}
		time.Sleep(5 * time.Second)
		if got := state(t, d, operation); !got.Finished || got.Err != nil {
			t.Errorf("at the end it is %+v", got)
		}
		if guest, err = d.FindGuest(t.Context(), hypervisor.GuestRef{ID: 100}); err != nil || guest.Incomplete {
			t.Errorf("guest is %+v, %v", guest, err)
		}
	})
}

func TestManualOperationsEndWhenTold(t *testing.T) {
	c := memory.New(memory.Config{Manual: true})
	d := c.Open()
	good, bad := begin(t, d, spec(100)), begin(t, d, spec(101))
	if running := c.Running(); len(running) != 2 || running[0] != good || running[1] != bad {
		t.Fatalf("running are %v", running)
	}
	c.SetProgress(good.ID, 0.25)
	if got := state(t, d, good); got.Finished || got.Progress != 0.25 {
		t.Errorf("it is %+v", got)
	}
	if !c.Finish(good.ID) || c.Finish(good.ID) || !c.Fail(bad.ID, broker.Errorf(broker.Failed, "no room")) {
		t.Error("an operation ends once")
	}
	if got := state(t, d, bad); !got.Finished || !broker.Is(got.Err, broker.Failed) {
		t.Errorf("the failed one is %+v", got)
	}
	if _, err := d.FindGuest(t.Context(), hypervisor.GuestRef{ID: 101}); !broker.Is(err, broker.NotFound) {
		t.Errorf("a failed create left a guest: %v", err)
	}
	if volumes := c.Volumes(); len(volumes) != 1 {
		t.Errorf("volumes are %v", volumes)
	}
}

func TestStopOverrulesShutdown(t *testing.T) {
	c := memory.New(memory.Config{})
	d := c.Open()
	begin(t, d, spec(100))
	ref := spec(100).Ref
	if _, err := d.Power(t.Context(), ref, hypervisor.Start, hypervisor.PowerOptions{}); err != nil {
		t.Fatal(err)
	}
	c.SetManual(true)
	shutdown, err := d.Power(t.Context(), ref, hypervisor.Shutdown, hypervisor.PowerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stop, err := d.Power(t.Context(), ref, hypervisor.Stop, hypervisor.PowerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.FinishAll()
	if got := state(t, d, shutdown); !broker.Is(got.Err, broker.Failed) {
		t.Errorf("the shutdown is %+v", got)
	}
	if got := state(t, d, stop); got.Err != nil || c.Guests()[100].Power != hypervisor.PowerStopped {
		t.Errorf("the stop is %+v, guest %s", got, c.Guests()[100].Power)
	}
}

func TestStopOfASuspendedGuestForgetsItsState(t *testing.T) {
	c := memory.New(memory.Config{})
	d := c.Open()
	begin(t, d, spec(100))
	for _, action := range []hypervisor.PowerAction{hypervisor.Start, hypervisor.Suspend, hypervisor.Stop} {
		if _, err := d.Power(t.Context(), spec(100).Ref, action, hypervisor.PowerOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.Guests()[100].Power; got != hypervisor.PowerStopped {
		t.Errorf("it is %s", got)
	}
}

func TestLatencyEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := memory.New(memory.Config{Latency: time.Minute})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		started := time.Now()
		_, err := c.Open().CreateGuest(ctx, spec(100))
		if !broker.Is(err, broker.Unreachable) || time.Since(started) != time.Second {
			t.Errorf("after %s: %v", time.Since(started), err)
		}
		if len(c.Guests()) != 0 {
			t.Error("a call that was given up had an effect")
		}
	})
}

func TestFaultsHitTheCallsTheyName(t *testing.T) {
	c := memory.New(memory.Config{})
	d := c.Open()
	remove := c.Inject(memory.Fault{Method: "CreateGuest", After: 1, Times: 1, Effect: memory.LoseRequest})
	begin(t, d, spec(100))
	if _, err := d.CreateGuest(t.Context(), spec(101)); !broker.Is(err, broker.UnknownOutcome) {
		t.Errorf("the second create: %v", err)
	}
	if _, err := d.FindOperation(t.Context(), spec(101).Ref, hypervisor.OperationCreate, time.Time{}); !broker.Is(err, broker.NotFound) {
		t.Errorf("a lost request was carried out: %v", err)
	}
	begin(t, d, spec(101))
	remove()
	remove()
	stop := c.Inject(memory.Fault{Action: hypervisor.Start, Guest: 101, Effect: memory.Refuse, Err: memory.Locked()})
	for id, want := range map[int]broker.Kind{100: "", 101: broker.Locked} {
		if _, err := d.Power(t.Context(), spec(id).Ref, hypervisor.Start, hypervisor.PowerOptions{}); broker.KindOf(err) != want {
			t.Errorf("start %d: %v, want %q", id, err, want)
		}
	}
	stop()
	if _, err := d.Power(t.Context(), spec(101).Ref, hypervisor.Start, hypervisor.PowerOptions{}); err != nil {
		t.Error(err)
	}
}

func TestStorageRunsFull(t *testing.T) {
	c := memory.New(memory.Config{Nodes: []memory.Node{{Name: "node1", Storages: []memory.Storage{{Name: "data", Content: []string{"images"}, Total: 3 << 29}}}}})
	d := c.Open()
	begin(t, d, spec(100))
	if got := state(t, d, begin(t, d, spec(101))); !broker.Is(got.Err, broker.Exhausted) {
		t.Errorf("the second GiB of 1.5: %+v", got)
	}
	if len(c.Guests()) != 1 || len(c.Volumes()) != 1 {
		t.Errorf("left behind: %v, %v", c.Guests(), c.Volumes())
	}
}

func TestAddedVolumeCanBeAttached(t *testing.T) {
	c := memory.New(memory.Config{})
	d := c.Open()
	bare := spec(100)
	disk := bare.Disks[0]
	bare.Disks = nil
	begin(t, d, bare)
	volume, err := c.AddVolume(100, "data", 5<<30)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.AttachVolume(t.Context(), bare.Ref, volume, disk); err != nil {
		t.Fatal(err)
	}
	if disks := c.Guests()[100].Disks; len(disks) != 1 || disks[0] != (hypervisor.GuestDisk{Key: "scsi0", Volume: volume, SizeBytes: 5 << 30}) {
		t.Errorf("disks are %+v", disks)
	}
}

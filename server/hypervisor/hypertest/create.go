package hypertest

import (
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// full is a guest with everything that can be ordered.
func (s *suite) full(can hypervisor.Capabilities) hypervisor.GuestSpec {
	spec := s.spec()
	spec.Sockets, spec.Cores, spec.MemoryMB, spec.OnBoot = 2, 3, 512, true
	spec.CPUType = "host"
	spec.Description = "first line\nsecond: 100 %, done"
	if can.CPULimit {
		spec.Limits.CPUPercent = 50
	}
	if can.BandwidthLimit {
		spec.NICs[0].RateMbps = 100
	}
	if can.IOLimits {
		spec.Disks[0].IO = broker.IOLimits{
			ReadMBps: 10, ReadMBpsMax: 20, WriteMBps: 30, WriteMBpsMax: 40, ReadIOPS: 500, ReadIOPSMax: 600, WriteIOPS: 700, WriteIOPSMax: 800,
		}
	}
	spec.Disks = append(spec.Disks, hypervisor.DiskSpec{Key: "scsi1", Storage: s.Storage, SizeBytes: 3 * gib, IO: hypervisor.UnlimitedIO()})
	spec.CloudInitStorage = s.Storage
	spec.CloudInit = &hypervisor.CloudInit{
		User: "admin", Password: "p,w=d 1é'\"%", SSHKeys: []string{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ+k/w== me@here", "ssh-rsa AAAAB3+/= b"},
		Addresses: []broker.VMAddress{
			{IP: netip.MustParseAddr("10.0.0.9"), Prefix: 24, Gateway: netip.MustParseAddr("10.0.0.1")},
			{IP: netip.MustParseAddr("2001:db8::9"), Prefix: 64, Gateway: netip.MustParseAddr("2001:db8::1")},
		},
		Nameserver: "1.1.1.1 8.8.8.8",
	}
	return spec
}

func testCreate(t *testing.T, s *suite) {
	d := s.open(t)
	t.Run("a created guest is whole, off and ours", func(t *testing.T) {
		spec := s.make(t, d, s.full(d.Info().Capabilities))
		guest := s.find(t, d, spec.Ref)
		if guest.Incomplete || guest.Lock != "" || guest.Owner != spec.Ref.Owner || guest.Name != spec.Name || guest.Node != s.Node {
			t.Errorf("guest is %+v", guest)
		}
		if guest.Power != hypervisor.PowerStopped {
			t.Errorf("guest is %s", guest.Power)
		}
		if len(guest.Disks) != 2 || guest.Disks[0].Key != "scsi0" || guest.Disks[1].Key != "scsi1" || len(guest.Detached) != 0 {
			t.Fatalf("disks are %+v, detached %v", guest.Disks, guest.Detached)
		}
		if guest.Disks[0].SizeBytes != gib || guest.Disks[1].SizeBytes != 3*gib || guest.Disks[0].Volume == guest.Disks[1].Volume {
			t.Errorf("disks are %+v", guest.Disks)
		}
	})
	t.Run("every field reaches the hypervisor", func(t *testing.T) {
		if s.Inspect == nil {
			without(t, "Inspect")
			return
		}
		spec := s.make(t, d, s.full(d.Info().Capabilities))
		wantSpec(t, s.Inspect(t, spec.Ref.ID), spec)
	})
	t.Run("unlimited means no limit", func(t *testing.T) {
		if s.Inspect == nil {
			without(t, "Inspect")
			return
		}
		spec := s.make(t, d, s.spec())
		wantSpec(t, s.Inspect(t, spec.Ref.ID), spec)
	})
	t.Run("a guest may be made without a disk", func(t *testing.T) {
		spec := s.spec()
		spec.Disks = nil
		s.make(t, d, spec)
		if guest := s.find(t, d, spec.Ref); len(guest.Disks) != 0 || guest.Owner != spec.Ref.Owner {
			t.Errorf("guest is %+v", guest)
		}
	})
	t.Run("a taken id is refused and the guest there unharmed", func(t *testing.T) {
		ref := s.plain(t, d)
		before := s.find(t, d, ref)
		again := s.spec()
		again.Ref.ID = ref.ID
		operation, err := d.CreateGuest(s.context(t), again)
		s.refused(t, d, operation, err, broker.Exists)
		if after := s.find(t, d, ref); !reflect.DeepEqual(before, after) {
			t.Errorf("guest changed from %+v to %+v", before, after)
		}
	})
	t.Run("of many creates of one id at once exactly one wins", func(t *testing.T) {
		specs := make([]hypervisor.GuestSpec, 8)
		results := make([]error, len(specs))
		operations := make([]hypervisor.Operation, len(specs))
		id := s.ref().ID
		ctx := s.context(t)
		var wait sync.WaitGroup
		for i := range specs {
			specs[i] = s.spec()
			specs[i].Ref.ID = id
			wait.Go(func() { operations[i], results[i] = d.CreateGuest(ctx, specs[i]) })
		}
		wait.Wait()
		winner := -1
		for i, err := range results {
			if err == nil {
				state, stateErr := s.outcome(ctx, d, operations[i])
				if stateErr != nil {
					t.Fatal(stateErr)
				}
				err = state.Err
			}
			if err == nil {
				if winner >= 0 {
					t.Fatalf("creates %d and %d both won", winner, i)
				}
				winner = i
				continue
			}
			wantKind(t, err, broker.Exists)
		}
		if winner < 0 {
			t.Fatal("none won")
		}
		t.Cleanup(func() { s.clear(t, specs[winner].Ref) })
		if guest := s.find(t, d, specs[winner].Ref); guest.Owner != specs[winner].Ref.Owner {
			t.Errorf("owner is %s, the winner's is %s", guest.Owner, specs[winner].Ref.Owner)
		}
	})
	t.Run("an unknown storage is refused and leaves nothing", func(t *testing.T) {
		spec := s.spec()
		spec.Disks[0].Storage = "nowhere"
		operation, err := d.CreateGuest(s.context(t), spec)
		s.refused(t, d, operation, err, broker.NotFound)
		_, err = d.FindGuest(s.context(t), spec.Ref)
		wantKind(t, err, broker.NotFound)
	})
	t.Run("an unknown node is not found", func(t *testing.T) {
		spec := s.spec()
		spec.Ref.Node = "nowhere"
		operation, err := d.CreateGuest(s.context(t), spec)
		s.refused(t, d, operation, err, broker.NotFound)
	})
	t.Run("an unknown image fails and leaves nothing", func(t *testing.T) {
		if !d.Info().Capabilities.ImageFetch || s.Image == "" {
			without(t, "Image")
			return
		}
		image, err := d.FindImage(s.context(t), s.Node, s.Image)
		if err != nil {
			t.Fatal(err)
		}
		spec := s.spec()
		spec.Disks[0].SizeBytes, spec.Disks[0].ImportFrom = 0, strings.Replace(image.Volume, s.Image, "none-"+s.Image, 1)
		operation, err := d.CreateGuest(s.context(t), spec)
		s.refused(t, d, operation, err, broker.NotFound)
		_, err = d.FindGuest(s.context(t), spec.Ref)
		wantKind(t, err, broker.NotFound)
		s.wantVolumes(t, spec.Ref.ID, 0)
	})
}

// wantSpec compares what the hypervisor has with what was ordered. A password that it won't show is not compared.
func wantSpec(t *testing.T, got, want hypervisor.GuestSpec) {
	t.Helper()
	got.Ref.Node = want.Ref.Node
	got.CloudInitStorage = want.CloudInitStorage
	if got.CloudInit != nil && want.CloudInit != nil && got.CloudInit.Password == "" {
		shown := *got.CloudInit
		shown.Password = want.CloudInit.Password
		got.CloudInit = &shown
	}
	g, w := reflect.ValueOf(got), reflect.ValueOf(want)
	for i := range g.NumField() {
		if !reflect.DeepEqual(g.Field(i).Interface(), w.Field(i).Interface()) {
			t.Errorf("%s is\n%+v, want\n%+v", g.Type().Field(i).Name, show(g.Field(i)), show(w.Field(i)))
		}
	}
}

func show(value reflect.Value) any {
	if value.Kind() == reflect.Pointer && !value.IsNil() {
		return value.Elem().Interface()
	}
	return value.Interface()
}

// wantVolumes checks how many volumes exist for a guest id. The cloud-init drive does not count.
func (s *suite) wantVolumes(t *testing.T, id, count int) {
	t.Helper()
	if s.Volumes == nil {
		without(t, "Volumes")
		return
	}
	if volumes := s.Volumes(t, id); len(volumes) != count {
		t.Errorf("guest %d has volumes %v, want %d", id, volumes, count)
	}
}

func testFind(t *testing.T, s *suite) {
	d := s.open(t)
	ref := s.plain(t, d)
	t.Run("a missing guest is not found", func(t *testing.T) {
		_, err := d.FindGuest(s.context(t), s.ref())
		wantKind(t, err, broker.NotFound)
	})
	t.Run("a guest is found without knowing its node", func(t *testing.T) {
		for _, node := range []string{"", "elsewhere"} {
			found := s.find(t, d, hypervisor.GuestRef{ID: ref.ID, Node: node})
			if found.Node != s.Node || found.Owner != ref.Owner {
				t.Errorf("from node %q: found %+v", node, found)
			}
		}
	})
	t.Run("a migrated guest is found and can be changed", func(t *testing.T) {
		if s.Migrate == nil {
			without(t, "Migrate")
			return
		}
		node := s.Migrate(t, ref.ID)
		if found := s.find(t, d, ref); found.Node != node {
			t.Errorf("found on %s, want %s", found.Node, node)
		}
		s.press(t, d, ref, hypervisor.Start)
		s.power(t, d, ref, hypervisor.PowerRunning)
	})
}

func testDelete(t *testing.T, s *suite) {
	d := s.open(t)
	t.Run("a running guest is not deleted", func(t *testing.T) {
		ref := s.running(t, d)
		operation, err := d.DeleteGuest(s.context(t), ref)
		s.refused(t, d, operation, err, broker.Conflict)
		s.power(t, d, ref, hypervisor.PowerRunning)
	})
	t.Run("delete removes guest and volumes, attached and detached", func(t *testing.T) {
		spec := s.make(t, d, s.full(d.Info().Capabilities))
		operation, err := d.ReplaceDisk(s.context(t), spec.Ref, spec.Disks[0])
		s.succeed(t, d, operation, err)
		s.wantVolumes(t, spec.Ref.ID, 3)
		operation, err = d.DeleteGuest(s.context(t), spec.Ref)
		s.succeed(t, d, operation, err)
		_, err = d.FindGuest(s.context(t), spec.Ref)
		wantKind(t, err, broker.NotFound)
		s.wantVolumes(t, spec.Ref.ID, 0)
		operation, err = d.DeleteGuest(s.context(t), spec.Ref)
		s.refused(t, d, operation, err, broker.NotFound)
	})
}

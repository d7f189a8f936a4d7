package hypertest

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// change is one changing call on a guest.
type change struct {
	name string
	call func(context.Context, hypervisor.Driver, hypervisor.GuestRef) (hypervisor.Operation, error)
}

func (s *suite) changes(volume string) []change {
	disk := hypervisor.DiskSpec{Key: hypervisor.SystemDisk, Storage: s.Storage, SizeBytes: 2 * gib, IO: hypervisor.UnlimitedIO()}
	press := func(action hypervisor.PowerAction) change {
		return change{string(action), func(ctx context.Context, d hypervisor.Driver, ref hypervisor.GuestRef) (hypervisor.Operation, error) {
			return d.Power(ctx, ref, action, hypervisor.PowerOptions{})
		}}
	}
	return []change{
		{"delete", func(ctx context.Context, d hypervisor.Driver, ref hypervisor.GuestRef) (hypervisor.Operation, error) {
			return d.DeleteGuest(ctx, ref)
		}},
		press(hypervisor.Start), press(hypervisor.Stop), press(hypervisor.Shutdown), press(hypervisor.Reboot), press(hypervisor.Reset), press(hypervisor.Resume),
		{"resize", func(ctx context.Context, d hypervisor.Driver, ref hypervisor.GuestRef) (hypervisor.Operation, error) {
			return d.ResizeDisk(ctx, ref, hypervisor.SystemDisk, 5*gib)
		}},
		{"replace disk", func(ctx context.Context, d hypervisor.Driver, ref hypervisor.GuestRef) (hypervisor.Operation, error) {
			return d.ReplaceDisk(ctx, ref, disk)
		}},
		{"attach volume", func(ctx context.Context, d hypervisor.Driver, ref hypervisor.GuestRef) (hypervisor.Operation, error) {
			return d.AttachVolume(ctx, ref, volume, disk)
		}},
		{"delete volume", func(ctx context.Context, d hypervisor.Driver, ref hypervisor.GuestRef) (hypervisor.Operation, error) {
			return hypervisor.Operation{}, d.DeleteVolume(ctx, ref, volume)
		}},
		{"configure", func(ctx context.Context, d hypervisor.Driver, ref hypervisor.GuestRef) (hypervisor.Operation, error) {
			return d.Configure(ctx, ref, hypervisor.GuestChange{MemoryMB: new(256)})
		}},
		{"console", func(ctx context.Context, d hypervisor.Driver, ref hypervisor.GuestRef) (hypervisor.Operation, error) {
			_, err := d.Console(ctx, ref)
			return hypervisor.Operation{}, err
		}},
	}
}

func testForeign(t *testing.T, s *suite) {
	d := s.open(t)
	ref := s.plain(t, d)
	before := s.find(t, d, ref)
	foreign := ref
	foreign.Owner = s.ref().Owner
	for _, each := range s.changes(before.Disks[0].Volume) {
		t.Run(each.name+" of a foreign guest is refused, nothing is sent", func(t *testing.T) {
			sent := 0
			if s.Changes != nil {
				sent = s.Changes(t)
			}
			_, err := each.call(s.context(t), d, foreign)
			wantKind(t, err, broker.Conflict)
			var failure *broker.Error
			if !errors.As(err, &failure) || failure.Reason != broker.ReasonForeignGuest {
				t.Errorf("reason is not %s: %v", broker.ReasonForeignGuest, err)
			}
			if s.Changes != nil && s.Changes(t) != sent {
				t.Errorf("%d changing requests were sent", s.Changes(t)-sent)
			}
		})
	}
	if after := s.find(t, d, ref); !reflect.DeepEqual(before, after) {
		t.Errorf("guest changed from %+v to %+v", before, after)
	}
}

func testMissing(t *testing.T, s *suite) {
	d := s.open(t)
	missing := s.ref()
	for _, each := range s.changes(s.Storage + ":vm-1-disk-1") {
		t.Run(each.name, func(t *testing.T) {
			operation, err := each.call(s.context(t), d, missing)
			s.refused(t, d, operation, err, broker.NotFound)
		})
	}
	t.Run("status", func(t *testing.T) {
		_, err := d.Status(s.context(t), missing)
		wantKind(t, err, broker.NotFound)
	})
	t.Run("config", func(t *testing.T) {
		_, err := d.Config(s.context(t), missing)
		wantKind(t, err, broker.NotFound)
	})
	t.Run("history", func(t *testing.T) {
		if !d.Info().Capabilities.History {
			return
		}
		_, err := d.History(s.context(t), missing, "hour", "AVERAGE")
		wantKind(t, err, broker.NotFound)
	})
}

func testBadInput(t *testing.T, s *suite) {
	d := s.open(t)
	for _, fact := range []struct {
		field string
		spoil func(*hypervisor.GuestSpec)
	}{
		{"id", func(spec *hypervisor.GuestSpec) { spec.Ref.ID = 99 }},
		{"owner", func(spec *hypervisor.GuestSpec) { spec.Ref.Owner = "not-a-uuid" }},
		{"node", func(spec *hypervisor.GuestSpec) { spec.Ref.Node = "../access" }},
		{"name", func(spec *hypervisor.GuestSpec) { spec.Name = "a\nb" }},
		{"name", func(spec *hypervisor.GuestSpec) { spec.Name = "a_b" }},
		{"cores", func(spec *hypervisor.GuestSpec) { spec.Cores = 0 }},
		{"memoryMB", func(spec *hypervisor.GuestSpec) { spec.MemoryMB = -1 }},
		{"cpuType", func(spec *hypervisor.GuestSpec) { spec.CPUType = "host,flags=+evil" }},
		{"osFamily", func(spec *hypervisor.GuestSpec) { spec.OSFamily = "amiga" }},
		{"limits.cpuPercent", func(spec *hypervisor.GuestSpec) { spec.Limits.CPUPercent = 0 }},
		{"disk", func(spec *hypervisor.GuestSpec) { spec.Disks[0].Key = "scsi31" }},
		{"disk", func(spec *hypervisor.GuestSpec) { spec.Disks = append(spec.Disks, spec.Disks[0]) }},
		{"storage", func(spec *hypervisor.GuestSpec) { spec.Disks[0].Storage = "local:0,import-from=/etc" }},
		{"importFrom", func(spec *hypervisor.GuestSpec) { spec.Disks[0].ImportFrom = "/etc/passwd" }},
		{"importFrom", func(spec *hypervisor.GuestSpec) { spec.Disks[0].ImportFrom = "local:../../etc" }},
		{"io", func(spec *hypervisor.GuestSpec) { spec.Disks[0].IO.ReadMBps = 0 }},
		{"nic.mac", func(spec *hypervisor.GuestSpec) { spec.NICs[0].MAC = "01:00:00:00:00:00" }},
		{"nic.bridge", func(spec *hypervisor.GuestSpec) { spec.NICs[0].Bridge = "vmbr0,tag=5" }},
		{"nic.rateMbps", func(spec *hypervisor.GuestSpec) { spec.NICs[0].RateMbps = 0 }},
		{"cloudInit.user", func(spec *hypervisor.GuestSpec) { withCloudInit(spec, s).User = "a b" }},
		{"cloudInit.password", func(spec *hypervisor.GuestSpec) { withCloudInit(spec, s).Password = "a\nb" }},
		{"cloudInit.nameserver", func(spec *hypervisor.GuestSpec) { withCloudInit(spec, s).Nameserver = "ns.example" }},
		{"cloudInit.sshKeys", func(spec *hypervisor.GuestSpec) {
			withCloudInit(spec, s).SSHKeys = []string{"ssh-rsa A\nssh-rsa B"}
		}},
		{"cloudInit.addresses", func(spec *hypervisor.GuestSpec) { withCloudInit(spec, s).Addresses = []broker.VMAddress{{}} }},
	} {
		t.Run(fact.field, func(t *testing.T) {
			spec := s.spec()
			fact.spoil(&spec)
			_, err := d.CreateGuest(s.context(t), spec)
			wantKind(t, err, broker.Invalid)
			var failure *broker.Error
			if !errors.As(err, &failure) || failure.Field != fact.field {
				t.Errorf("field is not %s: %v", fact.field, err)
			}
		})
	}
}

func withCloudInit(spec *hypervisor.GuestSpec, s *suite) *hypervisor.CloudInit {
	spec.CloudInit, spec.CloudInitStorage = &hypervisor.CloudInit{}, s.Storage
	return spec.CloudInit
}

package hypertest

import (
	"slices"
	"testing"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

func (s *suite) systemDisk(t *testing.T, d hypervisor.Driver, ref hypervisor.GuestRef) hypervisor.GuestDisk {
	t.Helper()
	guest := s.find(t, d, ref)
	at := slices.IndexFunc(guest.Disks, func(each hypervisor.GuestDisk) bool { return each.Key == hypervisor.SystemDisk })
	if at < 0 {
		t.Fatalf("guest %d has no system disk: %+v", ref.ID, guest.Disks)
	}
	return guest.Disks[at]
}

func testResize(t *testing.T, s *suite) {
	d := s.open(t)
	for _, power := range []hypervisor.Power{hypervisor.PowerStopped, hypervisor.PowerRunning} {
		t.Run("grow only, while "+string(power), func(t *testing.T) {
			ref := s.plain(t, d)
			if power == hypervisor.PowerRunning {
				s.press(t, d, ref, hypervisor.Start)
			}
			operation, err := d.ResizeDisk(s.context(t), ref, hypervisor.SystemDisk, 2*gib)
			s.succeed(t, d, operation, err)
			if disk := s.systemDisk(t, d, ref); disk.SizeBytes != 2*gib {
				t.Fatalf("size is %d", disk.SizeBytes)
			}
			for _, size := range []int64{2 * gib, gib} {
				operation, err = d.ResizeDisk(s.context(t), ref, hypervisor.SystemDisk, size)
				done(t, operation, err)
			}
			if disk := s.systemDisk(t, d, ref); disk.SizeBytes != 2*gib {
				t.Errorf("size is %d afterwards", disk.SizeBytes)
			}
		})
	}
	t.Run("a size that is no whole GiB is reached", func(t *testing.T) {
		ref := s.plain(t, d)
		want := gib + 512<<20
		operation, err := d.ResizeDisk(s.context(t), ref, hypervisor.SystemDisk, want)
		s.succeed(t, d, operation, err)
		if disk := s.systemDisk(t, d, ref); disk.SizeBytes != want {
			t.Errorf("size is %d, want %d", disk.SizeBytes, want)
		}
	})
	t.Run("a missing disk is not found", func(t *testing.T) {
		operation, err := d.ResizeDisk(s.context(t), s.plain(t, d), "scsi9", gib)
		s.refused(t, d, operation, err, broker.NotFound)
	})
}

func testReplaceDisk(t *testing.T, s *suite) {
	d := s.open(t)
	disk := hypervisor.DiskSpec{Key: hypervisor.SystemDisk, Storage: s.Storage, SizeBytes: 2 * gib, IO: hypervisor.UnlimitedIO()}
	t.Run("replace keeps the old volume, attach brings it back, delete volume frees the other", func(t *testing.T) {
		ref := s.plain(t, d)
		old := s.systemDisk(t, d, ref)
		operation, err := d.ReplaceDisk(s.context(t), ref, disk)
		s.succeed(t, d, operation, err)
		replaced := s.systemDisk(t, d, ref)
		if replaced.Volume == old.Volume || replaced.SizeBytes != 2*gib {
			t.Fatalf("disk is %+v after %+v", replaced, old)
		}
		if guest := s.find(t, d, ref); !slices.Equal(guest.Detached, []string{old.Volume}) || guest.Owner != ref.Owner {
			t.Fatalf("guest is %+v, want %s detached", guest, old.Volume)
		}
		s.wantVolumes(t, ref.ID, 2)

		operation, err = d.AttachVolume(s.context(t), ref, old.Volume, disk)
		s.succeed(t, d, operation, err)
		if back := s.systemDisk(t, d, ref); back.Volume != old.Volume || back.SizeBytes != gib {
			t.Fatalf("disk is %+v, want %+v", back, old)
		}
		if guest := s.find(t, d, ref); !slices.Equal(guest.Detached, []string{replaced.Volume}) {
			t.Fatalf("detached are %v, want %s", guest.Detached, replaced.Volume)
		}
		operation, err = d.AttachVolume(s.context(t), ref, old.Volume, disk)
		done(t, operation, err)

		wantKind(t, d.DeleteVolume(s.context(t), ref, old.Volume), broker.Conflict)
		for range 2 { // one that is gone is no error
			if err := d.DeleteVolume(s.context(t), ref, replaced.Volume); err != nil {
				t.Fatal(err)
			}
		}
		if guest := s.find(t, d, ref); len(guest.Detached) != 0 {
			t.Errorf("detached are %v", guest.Detached)
		}
		s.wantVolumes(t, ref.ID, 1)
		s.press(t, d, ref, hypervisor.Start)
	})
	t.Run("limits of the new disk reach the hypervisor", func(t *testing.T) {
		if s.Inspect == nil || !d.Info().Capabilities.IOLimits {
			without(t, "Inspect")
			return
		}
		ref := s.plain(t, d)
		old := s.systemDisk(t, d, ref)
		limited := disk
		limited.IO.ReadMBps, limited.IO.WriteIOPS = 5, 100
		operation, err := d.ReplaceDisk(s.context(t), ref, limited)
		s.succeed(t, d, operation, err)
		if got := s.Inspect(t, ref.ID).Disks[0].IO; got != limited.IO {
			t.Errorf("limits are %+v, want %+v", got, limited.IO)
		}
		operation, err = d.AttachVolume(s.context(t), ref, old.Volume, disk)
		s.succeed(t, d, operation, err)
		if got := s.Inspect(t, ref.ID).Disks[0].IO; got != disk.IO {
			t.Errorf("limits are %+v, want %+v", got, disk.IO)
		}
	})
	t.Run("several replacements keep every volume", func(t *testing.T) {
		ref := s.plain(t, d)
		for range 3 {
			operation, err := d.ReplaceDisk(s.context(t), ref, disk)
			s.succeed(t, d, operation, err)
		}
		if guest := s.find(t, d, ref); len(guest.Detached) != 3 {
			t.Fatalf("detached are %v", guest.Detached)
		}
		middle := s.find(t, d, ref).Detached[1]
		if err := d.DeleteVolume(s.context(t), ref, middle); err != nil {
			t.Fatal(err)
		}
		if left := s.find(t, d, ref).Detached; len(left) != 2 || slices.Contains(left, middle) {
			t.Errorf("detached are %v, %s was deleted", left, middle)
		}
		s.wantVolumes(t, ref.ID, 3)
	})
	t.Run("the disk of a running guest is not replaced", func(t *testing.T) {
		ref := s.running(t, d)
		before := s.systemDisk(t, d, ref)
		operation, err := d.ReplaceDisk(s.context(t), ref, disk)
		s.refused(t, d, operation, err, broker.Conflict)
		operation, err = d.AttachVolume(s.context(t), ref, before.Volume+"1", disk)
		s.refused(t, d, operation, err, broker.Conflict)
		if after := s.systemDisk(t, d, ref); after != before {
			t.Errorf("disk is %+v, was %+v", after, before)
		}
	})
	t.Run("a volume of another guest is not attached", func(t *testing.T) {
		ref, other := s.plain(t, d), s.plain(t, d)
		foreign := s.systemDisk(t, d, other).Volume
		operation, err := d.AttachVolume(s.context(t), ref, foreign, disk)
		s.refused(t, d, operation, err, broker.NotFound)
		if err := d.DeleteVolume(s.context(t), ref, foreign); err != nil {
			t.Fatal(err)
		}
		if got := s.systemDisk(t, d, other).Volume; got != foreign {
			t.Errorf("the other guest's disk is %s", got)
		}
		s.wantVolumes(t, other.ID, 1)
	})
	t.Run("an import replaces the disk", func(t *testing.T) {
		if s.Image == "" {
			without(t, "Image")
			return
		}
		image, err := d.FindImage(s.context(t), s.Node, s.Image)
		if err != nil {
			t.Fatal(err)
		}
		ref := s.plain(t, d)
		imported := disk
		imported.SizeBytes, imported.ImportFrom = 0, image.Volume
		operation, err := d.ReplaceDisk(s.context(t), ref, imported)
		s.succeed(t, d, operation, err)
		if got := s.systemDisk(t, d, ref); got.SizeBytes <= 0 {
			t.Errorf("disk is %+v", got)
		}
	})
}

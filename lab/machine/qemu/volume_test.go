package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gantry/lab/machine"
)

func TestVolumes(t *testing.T) {
	folder := t.TempDir()
	backend := newBackend(t, folder)
	ctx := t.Context()
	for _, format := range volumeFormats {
		t.Run(format, func(t *testing.T) {
			path := filepath.Join(folder, "vm-100-disk-0."+format)
			if err := backend.CreateVolume(ctx, path, format, 8<<20); err != nil {
				t.Fatal(err)
			}
			if err := backend.CreateVolume(ctx, path, format, 4<<20); !errors.Is(err, fs.ErrExist) {
				t.Errorf("creating over a volume: %v", err)
			}
			if info, err := backend.VolumeInfo(ctx, path); err != nil || info.VirtualSize != 8<<20 || info.Format != format || info.UsedSize > 1<<20 {
				t.Errorf("info %+v, %v", info, err)
			}
			if format != "vmdk" { // qemu-img does not resize vmdk, neither can PVE
				if err := backend.ResizeVolume(ctx, path, format, 16<<20); err != nil {
					t.Error(err)
				}
				if err := backend.ResizeVolume(ctx, path, format, 8<<20); err == nil {
					t.Error("a volume was shrunk")
				}
				if info, _ := backend.VolumeInfo(ctx, path); info.VirtualSize != 16<<20 {
					t.Errorf("size %d after resizing", info.VirtualSize)
				}
			}
			for range 2 {
				if err := backend.DeleteVolume(ctx, path); err != nil {
					t.Error(err)
				}
			}
			if _, err := backend.VolumeInfo(ctx, path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("info of a deleted volume: %v", err)
			}
		})
	}
}

func TestImportCloneSnapshot(t *testing.T) {
	folder := t.TempDir()
	backend := newBackend(t, folder)
	ctx := t.Context()
	content := bytes.Repeat([]byte("gantry "), 1<<20)
	source := filepath.Join(folder, "source.img")
	if err := os.WriteFile(source, content[:7<<20], 0o600); err != nil {
		t.Fatal(err)
	}

	disk := filepath.Join(folder, "disk.qcow2")
	var steps []float64
	if err := backend.ImportVolume(ctx, source, disk, "qcow2", func(done float64) { steps = append(steps, done) }); err != nil {
		t.Fatal(err)
	}
	if len(steps) < 2 || steps[0] > steps[len(steps)-1] || steps[len(steps)-1] != 1 {
		t.Errorf("progress %v", steps)
	}
	same := func(path string) bool {
		t.Helper()
		raw := filepath.Join(t.TempDir(), "copy.raw")
		if err := backend.CloneVolume(ctx, path, raw, "raw", false); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(raw)
		return err == nil && bytes.Equal(got, content[:7<<20])
	}
	if !same(disk) {
		t.Error("the import differs from its source")
	}

	linked := filepath.Join(folder, "linked.qcow2")
	if err := backend.CloneVolume(ctx, disk, linked, "qcow2", true); err != nil {
		t.Fatal(err)
	}
	if info, err := backend.VolumeInfo(ctx, linked); err != nil || info.UsedSize > 1<<20 || info.Backing != disk || !same(linked) {
		t.Errorf("linked clone %+v, %v", info, err)
	}
	if err := backend.CloneVolume(ctx, disk, filepath.Join(folder, "linked.raw"), "raw", true); err == nil {
		t.Error("a linked clone in raw")
	}
	// An image of our own with a backing file of our own may be imported.
	if err := backend.ImportVolume(ctx, linked, filepath.Join(folder, "again.qcow2"), "qcow2", nil); err != nil {
		t.Error(err)
	}

	for _, step := range []func() error{
		func() error { return backend.SnapshotVolume(ctx, disk, "before") },
		func() error {
			_, err := run(ctx, commandTimeout, "qemu-io", "-f", "qcow2", "-c", "write -P 66 0 1M", disk)
			return err
		},
		func() error {
			if same(disk) {
				return errors.New("nothing was written")
			}
			return backend.RollbackVolume(ctx, disk, "before")
		},
		func() error { return backend.DeleteVolumeSnapshot(ctx, disk, "before") },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	if !same(disk) {
		t.Error("the rollback did not bring the content back")
	}
	for _, name := range []string{"before", "-x", "a b", ""} {
		if err := backend.RollbackVolume(ctx, disk, name); err == nil {
			t.Errorf("rolled back to %q", name)
		}
	}
}

// TestSnapshotOfARunningGuest goes through QEMU, which has the volume locked.
func TestSnapshotOfARunningGuest(t *testing.T) {
	backend := newBackend(t, "")
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "vm-121-disk-0.qcow2")
	if err := backend.CreateVolume(ctx, path, "qcow2", 8<<20); err != nil {
		t.Fatal(err)
	}
	spec := bareSpec(t, 121)
	spec.Disks = []machine.Disk{{Key: "scsi0", Path: path, Format: "qcow2"}}
	start(t, backend, spec)
	if err := backend.SnapshotVolume(ctx, path, "live"); err != nil {
		t.Fatal(err)
	}
	if err := backend.RollbackVolume(ctx, path, "live"); err == nil {
		t.Error("rolled back under a running guest")
	}
	if err := backend.DeleteVolumeSnapshot(ctx, path, "live"); err != nil {
		t.Error(err)
	}
	if err := backend.DeleteVolumeSnapshot(ctx, path, "live"); err == nil {
		t.Error("deleted a snapshot twice")
	}
}

// TestImportRefusesForeignFiles imports images that would bring the node's files into a guest.
func TestImportRefusesForeignFiles(t *testing.T) {
	folder := t.TempDir()
	backend := newBackend(t, folder)
	secret := filepath.Join(t.TempDir(), "secret.raw")
	if err := os.WriteFile(secret, bytes.Repeat([]byte("secret\n"), 1<<14), 0o600); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(folder, "link.raw")
	if err := os.Symlink(secret, outside); err != nil {
		t.Fatal(err)
	}
	image := func(argv ...string) string {
		path := filepath.Join(folder, fmt.Sprintf("image%d.qcow2", len(argv)))
		if _, err := run(t.Context(), commandTimeout, append(append([]string{"qemu-img", "create", "-q", "-f", "qcow2"}, argv...), path, "1M")...); err != nil {
			t.Fatal(err)
		}
		return path
	}
	descriptor := filepath.Join(folder, "flat.vmdk")
	text := "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n\n" +
		"# Extent description\nRW 128 FLAT \"" + secret + "\" 0\n\n# The Disk Data Base\nddb.adapterType = \"ide\"\n"
	if err := os.WriteFile(descriptor, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	rebased := image("-o", "cluster_size=65536")
	if _, err := run(t.Context(), commandTimeout, "qemu-img", "rebase", "-u", "-F", "raw", "-b", outside, rebased); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ source, want string }{
		"backing file":                {image("-F", "raw", "-b", secret), "backing file"},
		"backing file through a link": {rebased, "backing file"},
		"data file":                   {image("-o", "data_file="+filepath.Join(folder, "data"), "-o", "cluster_size=65536", "-q"), "another file"},
		"extent":                      {descriptor, "extent"},
		"missing":                     {filepath.Join(folder, "missing.qcow2"), "no such file"},
		"protocol":                    {"nbd:127.0.0.1:10809", "absolute"},
		"json":                        {`json:{"driver":"file","filename":"/etc/passwd"}`, "absolute"},
	} {
		target := filepath.Join(folder, "target.raw")
		err := backend.ImportVolume(t.Context(), c.source, target, "raw", nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.want)
		}
		if _, err := os.Lstat(target); err == nil {
			t.Fatalf("%s: a target was left behind", name)
		}
	}
}

func TestCancelledImportLeavesNothing(t *testing.T) {
	folder := t.TempDir()
	backend := newBackend(t, folder)
	source, target := filepath.Join(folder, "source.raw"), filepath.Join(folder, "target.qcow2")
	if err := backend.CreateVolume(t.Context(), source, "raw", 1<<30); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := backend.ImportVolume(ctx, source, target, "qcow2", func(float64) { cancel() })
	if err == nil {
		t.Fatal("the import went through")
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Lstat(target); err == nil {
		t.Error("a target was left behind")
	}
}

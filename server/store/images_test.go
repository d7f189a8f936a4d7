package store_test

import (
	"reflect"
	"strconv"
	"testing"

	"gantry/server/broker"
	"gantry/server/store"
)

func TestImages(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		debian := &broker.Image{
			Name: "Debian 12", FileName: "debian-12.qcow2", Family: "linux", Distribution: "debian", Arch: "x86_64",
			Source: broker.ImageUploaded, URL: "https://example.org/x", Checksum: "sha256:ab", Directory: "/home/images",
			CloudInit: true, SizeBytes: 5 << 30, CreatedAt: start,
		}
		check(t, s.InsertImage(ctx, debian))
		windows := &broker.Image{Name: "2022", FileName: "win.vhdx", Family: "windows", CreatedAt: start}
		check(t, s.InsertImage(ctx, windows))
		for key, want := range map[string]*broker.Image{
			"1": debian, "2": windows, "Debian 12": debian, "debian-12.qcow2": debian, "debian-12": debian, "2022": windows, "win.vhdx": windows,
		} {
			if found, err := s.FindImageByName(ctx, key); err != nil || !reflect.DeepEqual(found, want) {
				t.Errorf("%q: %+v, %v", key, found, err)
			}
		}
		for _, key := range []string{"", "3", "win", "DEBIAN 12", "debian-12.qcow", "' OR 1=1 --"} {
			_, err := s.FindImageByName(ctx, key)
			refused(t, err, broker.NotFound, key)
		}
		for field, twin := range map[string]*broker.Image{
			"name":     {Name: "Debian 12", FileName: "other"},
			"fileName": {Name: "other", FileName: "debian-12.qcow2"},
		} {
			for what, err := range map[string]error{"insert": s.InsertImage(ctx, twin), "update": func() error {
				twin.ID = windows.ID
				return s.UpdateImage(ctx, twin)
			}()} {
				refused(t, err, broker.Exists, what+" with a taken "+field)
				if known, _ := err.(*broker.Error); known == nil || known.Field != field {
					t.Errorf("%s: the error does not name %s: %v", what, field, err)
				}
			}
		}
		debian.Disabled, debian.Reason, debian.CloudInit = true, "outdated", false
		check(t, s.UpdateImage(ctx, debian))
		if found, err := s.FindImage(ctx, debian.ID); err != nil || !reflect.DeepEqual(found, debian) {
			t.Errorf("after a change: %+v, %v", found, err)
		}
		if page, total, err := s.ListImages(ctx, broker.Page{Number: 2, Size: 1}); err != nil || total != 2 || len(page) != 1 || page[0].ID != windows.ID {
			t.Errorf("second page: %+v of %d, %v", page, total, err)
		}
	})
}

func TestImageCopies(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		_, node := place(t, s)
		image := &broker.Image{Name: "a", FileName: "a", CreatedAt: start}
		check(t, s.InsertImage(ctx, image))
		task := int64(7)
		imageCopy := &broker.ImageCopy{
			ImageID: image.ID, NodeID: node.ID, State: broker.ImageDownloading, Progress: 43, TaskID: &task, UpdatedAt: start,
		}
		check(t, s.SaveImageCopy(ctx, imageCopy))
		imageCopy.State, imageCopy.Progress, imageCopy.Volume, imageCopy.TaskID = broker.ImageReady, 100, "local:import/a", nil
		imageCopy.ByDaemon, imageCopy.SizeBytes, imageCopy.Error = true, 9, "none"
		check(t, s.SaveImageCopy(ctx, imageCopy))
		if found, err := s.FindImageCopy(ctx, image.ID, node.ID); err != nil || !reflect.DeepEqual(found, imageCopy) {
			t.Errorf("got %+v, %v", found, err)
		}
		if all, err := s.ListImageCopies(ctx, image.ID); err != nil || len(all) != 1 {
			t.Errorf("listed %d, %v", len(all), err)
		}
		refused(t, s.SaveImageCopy(ctx, &broker.ImageCopy{ImageID: image.ID, NodeID: 99}), broker.Conflict, "copy on an unknown node")
		check(t, s.DeleteImage(ctx, image.ID))
		_, err := s.FindImageCopy(ctx, image.ID, node.ID)
		refused(t, err, broker.NotFound, "copy of a removed image")
		refused(t, s.DeleteImage(ctx, image.ID), broker.NotFound, "removed image")
	})
}

func TestImagesAreFoundByTheirFields(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		cluster, node := place(t, s)
		var ids []int64
		for _, image := range []broker.Image{
			{Name: "Debian_12!", FileName: "d.qcow2", Family: "linux", CreatedAt: start},
			{Name: "Windows 100%", FileName: "w.qcow2", Family: "windows", Disabled: true, CreatedAt: start},
		} {
			check(t, s.InsertImage(ctx, &image))
			ids = append(ids, image.ID)
			check(t, s.SaveImageCopy(ctx, &broker.ImageCopy{ImageID: image.ID, NodeID: node.ID, State: broker.ImageReady, UpdatedAt: start}))
		}
		for _, search := range []struct {
			column, text string
			want         int64
		}{
			{"name", "debian", 1}, {"name", "n_1", 1}, {"name", "d_b", 0}, {"name", "%", 1}, {"name", "2!", 1}, {"fileName", ".QCOW2", 2},
			{"type", "win", 1}, {"status", "1", 1}, {"id", strconv.FormatInt(ids[0], 10), 1}, {"cloud", "0", 2},
		} {
			list, total, err := s.SearchImages(ctx, search.column, search.text, broker.Page{Number: 1, Size: 9})
			if err != nil || total != search.want || int64(len(list)) != search.want {
				t.Errorf("%s like %q: %d of %d, %v", search.column, search.text, len(list), total, err)
			}
		}
		_, _, err := s.SearchImages(ctx, "id = id OR name", "x", broker.Page{Number: 1, Size: 9})
		refused(t, err, broker.Invalid, "unknown column")
		if list, total, err := s.ListNodeImages(ctx, node.ID, broker.Page{Number: 1, Size: 9}); err != nil || total != 1 || list[0].ID != ids[0] {
			t.Errorf("on the node: %+v of %d, %v", list, total, err)
		}
		vm := newVM(cluster.ID, node.ID)
		vm.ImageID = ids[0]
		check(t, s.InsertVM(ctx, vm))
		if count, err := s.CountImageVMs(ctx, ids[0]); err != nil || count != 1 {
			t.Errorf("counted %d, %v", count, err)
		}
		check(t, s.MarkVMDeleted(ctx, vm.ID, start))
		if count, err := s.CountImageVMs(ctx, ids[0]); err != nil || count != 0 {
			t.Errorf("after its deletion %d, %v", count, err)
		}
	})
}

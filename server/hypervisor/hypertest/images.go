package hypertest

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

func hurry(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), 100*time.Millisecond)
}

func testImages(t *testing.T, s *suite) {
	d := s.open(t)
	if !d.Info().Capabilities.ImageFetch {
		t.Run("no image import", func(t *testing.T) {
			_, err := d.FindImage(s.context(t), s.Node, "x.qcow2")
			wantKind(t, err, broker.Unsupported)
			_, err = d.FetchImage(s.context(t), s.Node, hypervisor.ImageFetch{FileName: "x.qcow2", URL: "https://example.org/x.qcow2"})
			wantKind(t, err, broker.Unsupported)
		})
		return
	}
	t.Run("a missing image is not found", func(t *testing.T) {
		_, err := d.FindImage(s.context(t), s.Node, "none.qcow2")
		wantKind(t, err, broker.NotFound)
	})
	t.Run("an image becomes a guest's disk", func(t *testing.T) {
		if s.Image == "" {
			without(t, "Image")
			return
		}
		image, err := d.FindImage(s.context(t), s.Node, s.Image)
		if err != nil {
			t.Fatal(err)
		}
		if image.Volume == "" || image.SizeBytes <= 0 {
			t.Errorf("image is %+v", image)
		}
		spec := s.spec()
		spec.Disks[0].SizeBytes, spec.Disks[0].ImportFrom = 0, image.Volume
		s.make(t, d, spec)
		if disk := s.systemDisk(t, d, spec.Ref); disk.SizeBytes <= 0 {
			t.Errorf("disk is %+v", disk)
		}
		operation, err := d.ResizeDisk(s.context(t), spec.Ref, hypervisor.SystemDisk, 20*gib)
		s.succeed(t, d, operation, err)
		if disk := s.systemDisk(t, d, spec.Ref); disk.SizeBytes != 20*gib {
			t.Errorf("disk is %+v", disk)
		}
	})
	if s.Source == nil {
		without(t, "Source")
		return
	}
	fetch := hypervisor.ImageFetch{FileName: s.Source.FileName, URL: s.Source.URL, Checksum: s.Source.Checksum}
	t.Run("a wrong checksum fails and leaves nothing", func(t *testing.T) {
		wrong := fetch
		wrong.Checksum = s.Source.WrongChecksum
		operation, err := d.FetchImage(s.context(t), s.Node, wrong)
		s.refused(t, d, operation, err, broker.Failed)
		_, err = d.FindImage(s.context(t), s.Node, fetch.FileName)
		wantKind(t, err, broker.NotFound)
	})
	t.Run("fetch, find, fetch again, delete, delete again", func(t *testing.T) {
		before := time.Now()
		operation, err := d.FetchImage(s.context(t), s.Node, fetch)
		s.succeed(t, d, operation, err)
		found, err := d.FindOperation(s.context(t), hypervisor.GuestRef{Node: s.Node}, hypervisor.OperationFetch, before)
		if err != nil || found.ID != operation.ID {
			t.Errorf("found %+v, %v, want %s", found, err, operation.ID)
		}
		image, err := d.FindImage(s.context(t), s.Node, fetch.FileName)
		if err != nil {
			t.Fatal(err)
		}
		operation, err = d.FetchImage(s.context(t), s.Node, fetch)
		s.succeed(t, d, operation, err)
		for range 2 {
			if err := d.DeleteImage(s.context(t), s.Node, image.Volume); err != nil {
				t.Fatal(err)
			}
		}
		_, err = d.FindImage(s.context(t), s.Node, fetch.FileName)
		wantKind(t, err, broker.NotFound)
	})
	t.Run("bad downloads are invalid", func(t *testing.T) {
		for field, bad := range map[string]hypervisor.ImageFetch{
			"fileName": {FileName: "../x.qcow2", URL: s.Source.URL},
			"url":      {FileName: "x.qcow2", URL: "ftp://example.org/x"},
			"checksum": {FileName: "x.qcow2", URL: s.Source.URL, Checksum: "md5:00"},
		} {
			_, err := d.FetchImage(s.context(t), s.Node, bad)
			wantKind(t, err, broker.Invalid)
			if failure, is := err.(*broker.Error); !is || failure.Field != field {
				t.Errorf("field is not %s: %v", field, err)
			}
		}
	})
}

func testConsole(t *testing.T, s *suite) {
	d := s.open(t)
	t.Run("a running guest shows its screen", func(t *testing.T) {
		target, err := d.Console(s.context(t), s.running(t, d))
		if err != nil {
			t.Fatal(err)
		}
		if target.Network == "" || target.Address == "" {
			t.Fatalf("target is %+v", target)
		}
		if s.Dial == nil {
			without(t, "Dial")
			return
		}
		if first := s.Dial(t, target); !bytes.HasPrefix(first, []byte("RFB 003.008\n")) {
			t.Errorf("it says %q", first)
		}
	})
	t.Run("a guest that is off has none", func(t *testing.T) {
		_, err := d.Console(s.context(t), s.plain(t, d))
		wantKind(t, err, broker.Conflict)
	})
}

func testDisplay(t *testing.T, s *suite) {
	d := s.open(t)
	spec := s.make(t, d, s.full(d.Info().Capabilities))
	t.Run("status follows power", func(t *testing.T) {
		status, err := d.Status(s.context(t), spec.Ref)
		if err != nil || status.Power != hypervisor.PowerStopped || len(status.Raw) == 0 {
			t.Fatalf("status is %+v, %v", status, err)
		}
		s.press(t, d, spec.Ref, hypervisor.Start)
		status, err = d.Status(s.context(t), spec.Ref)
		if err != nil || status.Power != hypervisor.PowerRunning {
			t.Fatalf("status is %+v, %v", status, err)
		}
	})
	t.Run("config hides secrets", func(t *testing.T) {
		config, err := d.Config(s.context(t), spec.Ref)
		if err != nil || len(config) == 0 {
			t.Fatalf("config is %v, %v", config, err)
		}
		text, err := json.Marshal(config)
		if err != nil {
			t.Fatal(err)
		}
		if secret, _ := json.Marshal(spec.CloudInit.Password); bytes.Contains(text, bytes.Trim(secret, `"`)) {
			t.Errorf("config shows the password: %s", text)
		}
	})
	t.Run("history of guest and node", func(t *testing.T) {
		rows, err := d.History(s.context(t), spec.Ref, "hour", "AVERAGE")
		if !d.Info().Capabilities.History {
			wantKind(t, err, broker.Unsupported)
			return
		}
		wantRows(t, rows, err)
		rows, err = d.NodeHistory(s.context(t), s.Node, "day", "MAX")
		wantRows(t, rows, err)
		_, err = d.History(s.context(t), spec.Ref, "century", "AVERAGE")
		wantKind(t, err, broker.Invalid)
		_, err = d.History(s.context(t), spec.Ref, "hour", "MEDIAN")
		wantKind(t, err, broker.Invalid)
	})
	t.Run("status of a node", func(t *testing.T) {
		status, err := d.NodeStatus(s.context(t), s.Node)
		if err != nil || len(status) == 0 {
			t.Fatalf("status is %v, %v", status, err)
		}
		_, err = d.NodeStatus(s.context(t), "nowhere")
		wantKind(t, err, broker.NotFound)
	})
}

func wantRows(t *testing.T, rows []hypervisor.Sample, err error) {
	t.Helper()
	if err != nil || len(rows) == 0 {
		t.Fatalf("rows are %v, %v", rows, err)
	}
	last := 0.0
	for _, row := range rows {
		if row["time"] <= last {
			t.Fatalf("time %v comes after %v", row["time"], last)
		}
		last = row["time"]
	}
}

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

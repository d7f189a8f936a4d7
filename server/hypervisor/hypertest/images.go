package hypertest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
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
	t.Run("an image that disks stand on stays", func(t *testing.T) {
		operation, err := d.FetchImage(s.context(t), s.Node, fetch)
		s.succeed(t, d, operation, err)
		image, err := d.FindImage(s.context(t), s.Node, fetch.FileName)
		if err != nil {
			t.Fatal(err)
		}
		spec := s.spec()
		spec.Disks[0].SizeBytes, spec.Disks[0].ImportFrom = 0, image.Volume
		s.make(t, d, spec)
		err = d.DeleteImage(s.context(t), s.Node, image.Volume)
		if err == nil {
			return // its disks stand alone
		}
		wantKind(t, err, broker.Conflict)
		if _, err := d.FindImage(s.context(t), s.Node, fetch.FileName); err != nil {
			t.Errorf("after the refusal: %v", err)
		}
		operation, err = d.DeleteGuest(s.context(t), spec.Ref)
		s.succeed(t, d, operation, err)
		if err := d.DeleteImage(s.context(t), s.Node, image.Volume); err != nil {
			t.Errorf("without disks: %v", err)
		}
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

// throughDriver gives what a screen says first that the driver opens itself.
func throughDriver(t *testing.T, s *suite, target hypervisor.ConsoleTarget) []byte {
	t.Helper()
	screen, err := target.Dial(s.context(t))
	if err != nil {
		t.Fatal(err)
	}
	defer screen.Close()
	first := make([]byte, 12)
	if _, err := io.ReadFull(screen, first); err != nil {
		t.Fatal(err)
	}
	return first
}

func testConsole(t *testing.T, s *suite) {
	d := s.open(t)
	if !d.Info().Capabilities.Console {
		t.Run("no screens", func(t *testing.T) {
			_, err := d.Console(s.context(t), s.running(t, d))
			wantKind(t, err, broker.Unsupported)
		})
		return
	}
	t.Run("a running guest shows its screen", func(t *testing.T) {
		target, err := d.Console(s.context(t), s.running(t, d))
		if err != nil {
			t.Fatal(err)
		}
		if (target.Dial == nil) == (target.Network == "" || target.Address == "") {
			t.Fatalf("target is %+v", target)
		}
		var first []byte
		switch {
		case target.Dial != nil:
			first = throughDriver(t, s, target)
		case s.Dial == nil:
			without(t, "Dial")
			return
		default:
			first = s.Dial(t, target)
		}
		if !bytes.HasPrefix(first, []byte("RFB 003.008\n")) {
			t.Errorf("it says %q", first)
		}
	})
	t.Run("a screen ends with its driver", func(t *testing.T) {
		other := s.Open(t)
		target, err := other.Console(s.context(t), s.running(t, d))
		if err != nil {
			t.Fatal(err)
		}
		if target.Dial == nil {
			_ = other.Close()
			return // the screen is not the driver's
		}
		screen, err := target.Dial(s.context(t))
		if err != nil {
			t.Fatal(err)
		}
		defer screen.Close()
		if err := other.Close(); err != nil {
			t.Fatal(err)
		}
		if err := screen.SetDeadline(time.Now().Add(s.Patience)); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Logf("this connection knows no deadlines: %v", err)
		}
		if _, err := io.Copy(io.Discard, screen); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the screen stays open")
		}
		if _, err := target.Dial(s.context(t)); err == nil {
			t.Error("a closed driver opens screens")
		}
	})
	t.Run("a guest that is off has none", func(t *testing.T) {
		_, err := d.Console(s.context(t), s.plain(t, d))
		wantKind(t, err, broker.Conflict)
	})
}

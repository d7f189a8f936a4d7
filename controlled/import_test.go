package controlled

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	wire "gantry/internal/controlledclient"
)

// ended asks until the operation has ended.
func (n *node) ended(id string) wire.Operation {
	n.t.Helper()
	var operation wire.Operation
	eventually(n.t, "the operation ends", func() bool {
		var err error
		if operation, err = n.client.Operation(context.Background(), id); err != nil {
			n.t.Fatal(err)
		}
		return operation.State != wire.OperationRunning
	})
	return operation
}

func (n *node) importInto(vmid int64, key string) wire.Operation {
	n.t.Helper()
	operation, err := n.client.ImportDisk(context.Background(), wire.ImportDisk{
		VMID: vmid, ImagePath: filepath.Join(n.images, "debian.qcow2"), SavePath: "local", Format: "qcow2", Operation: key,
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return operation
}

func TestImportDisk(t *testing.T) {
	for name, row := range map[string]struct {
		vmid   int64
		state  wire.OperationState
		exit   int
		volume string
		key    string
		output string
	}{
		"old wording":     {vmidImports, wire.OperationDone, 0, "local:110/vm-110-disk-0.qcow2", "unused0", "Successfully imported"},
		"new wording":     {vmidNewQM, wire.OperationDone, 0, "local:111/vm-111-disk-0.qcow2", "unused3", "successfully imported"},
		"unknown wording": {vmidNoVolume, wire.OperationDone, 0, "", "", "50.00%"},
		"refused by qm":   {vmidFails, wire.OperationFailed, 255, "", "", "113.conf' does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t).start()
			n.write("debian.qcow2", "image")
			accepted := n.importInto(row.vmid, "")
			if accepted.State != wire.OperationRunning || accepted.ID == "" {
				t.Errorf("accepted as %+v", accepted)
			}
			got := n.ended(accepted.ID)
			if got.State != row.state || got.ExitCode == nil || *got.ExitCode != row.exit || got.VolumeID != row.volume || got.ConfigKey != row.key {
				t.Errorf("got %+v", got)
			}
			if !strings.Contains(got.Output, row.output) {
				t.Errorf("output %q lacks %q", got.Output, row.output)
			}
			if (got.State == wire.OperationDone) != (got.Percent == 100) {
				t.Errorf("percent %v in state %s", got.Percent, got.State)
			}
			want := fmt.Sprintf("importdisk %d %s local --format qcow2", row.vmid, filepath.Join(n.images, "debian.qcow2"))
			if calls := n.calls(); !slices.Equal(calls, []string{want}) {
				t.Errorf("qm was called with %q", calls)
			}
		})
	}
}

func TestImportProgress(t *testing.T) {
	n := newNode(t).start()
	n.write("debian.qcow2", "image")
	operation := n.importInto(vmidWaits, "order-7")
	if operation.ID != "order-7" {
		t.Errorf("the caller's key is not the id: %q", operation.ID)
	}
	eventually(t, "half is transferred", func() bool {
		got, err := n.client.Operation(context.Background(), "order-7")
		if err != nil {
			t.Fatal(err)
		}
		return got.Percent == 50 && got.State == wire.OperationRunning && got.ExitCode == nil
	})
	n.letGo()
	if got := n.ended("order-7"); got.State != wire.OperationDone {
		t.Errorf("got %+v", got)
	}
}

func TestSameKeyIsOneImport(t *testing.T) {
	n := newNode(t).start()
	n.write("debian.qcow2", "image")
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() { n.importInto(vmidImports, "order-7") })
	}
	group.Wait()
	n.ended("order-7")
	if again := n.importInto(vmidImports, "order-7"); again.State != wire.OperationDone || again.VolumeID == "" {
		t.Errorf("the same key after the end answers %+v", again)
	}
	if calls := n.calls(); len(calls) != 1 {
		t.Errorf("qm was called %d times", len(calls))
	}
	_, err := n.client.ImportDisk(context.Background(), wire.ImportDisk{
		VMID: vmidNewQM, ImagePath: filepath.Join(n.images, "debian.qcow2"), SavePath: "local", Operation: "order-7",
	})
	if kindOf(err) != "refused conflict" {
		t.Errorf("the same key for another guest: %v", err)
	}
}

func TestOverdueImportIsEnded(t *testing.T) {
	n := newNode(t)
	n.config.OperationDeadline = 200 * time.Millisecond
	n.start()
	n.write("debian.qcow2", "image")
	got := n.ended(n.importInto(vmidHangs, "").ID)
	if got.State != wire.OperationFailed || got.ExitCode == nil || !strings.Contains(got.Output, "ended after 200ms: signal: terminated") {
		t.Errorf("got %+v", got)
	}
}

func TestTooManyImports(t *testing.T) {
	n := newNode(t)
	n.config.MaxOperations = 1
	n.start()
	n.write("debian.qcow2", "image")
	first := n.importInto(vmidWaits, "")
	_, err := n.client.ImportDisk(context.Background(), wire.ImportDisk{
		VMID: vmidImports, ImagePath: filepath.Join(n.images, "debian.qcow2"), SavePath: "local",
	})
	if kindOf(err) != "refused busy" {
		t.Errorf("got %v", err)
	}
	n.letGo()
	n.ended(first.ID)
	n.ended(n.importInto(vmidImports, "").ID)
}

func TestImportDiskRefuses(t *testing.T) {
	n := newNode(t).start()
	n.write("debian.qcow2", "image")
	if err := os.Symlink("/etc/passwd", filepath.Join(n.images, "link.qcow2")); err != nil {
		t.Fatal(err)
	}
	good := wire.ImportDisk{VMID: vmidImports, ImagePath: filepath.Join(n.images, "debian.qcow2"), SavePath: "local"}
	for name, row := range map[string]struct {
		change func(*wire.ImportDisk)
		want   string
	}{
		"no vmid":             {func(b *wire.ImportDisk) { b.VMID = 0 }, "refused invalid vmid"},
		"small vmid":          {func(b *wire.ImportDisk) { b.VMID = 99 }, "refused invalid vmid"},
		"negative vmid":       {func(b *wire.ImportDisk) { b.VMID = -110 }, "refused invalid vmid"},
		"huge vmid":           {func(b *wire.ImportDisk) { b.VMID = 1_000_000_000 }, "refused invalid vmid"},
		"no storage":          {func(b *wire.ImportDisk) { b.SavePath = "" }, "refused invalid save_path"},
		"option as storage":   {func(b *wire.ImportDisk) { b.SavePath = "--format" }, "refused invalid save_path"},
		"shell in storage":    {func(b *wire.ImportDisk) { b.SavePath = "local;reboot" }, "refused invalid save_path"},
		"unknown format":      {func(b *wire.ImportDisk) { b.Format = "vdi" }, "refused invalid format"},
		"no image":            {func(b *wire.ImportDisk) { b.ImagePath = "" }, "refused invalid image_path"},
		"relative image":      {func(b *wire.ImportDisk) { b.ImagePath = "debian.qcow2" }, "refused invalid image_path"},
		"outside":             {func(b *wire.ImportDisk) { b.ImagePath = "/etc/passwd" }, "refused forbidden image_path"},
		"outside by dots":     {func(b *wire.ImportDisk) { b.ImagePath = n.images + "/../../passwd" }, "refused forbidden image_path"},
		"outside by a link":   {func(b *wire.ImportDisk) { b.ImagePath = n.images + "/link.qcow2" }, "refused forbidden image_path"},
		"missing image":       {func(b *wire.ImportDisk) { b.ImagePath = n.images + "/none.qcow2" }, "not_found not_found"},
		"folder":              {func(b *wire.ImportDisk) { b.ImagePath = n.images }, "refused forbidden image_path"},
		"control character":   {func(b *wire.ImportDisk) { b.ImagePath = n.images + "/a\nb" }, "refused invalid image_path"},
		"key with path":       {func(b *wire.ImportDisk) { b.Operation = "../../x" }, "refused invalid operation"},
		"key beyond 64 bytes": {func(b *wire.ImportDisk) { b.Operation = strings.Repeat("k", 65) }, "refused invalid operation"},
	} {
		t.Run(name, func(t *testing.T) {
			body := good
			row.change(&body)
			if _, err := n.client.ImportDisk(context.Background(), body); kindOf(err) != row.want {
				t.Errorf("got %v (%s), want %s", err, kindOf(err), row.want)
			}
		})
	}
	if calls := n.calls(); calls != nil {
		t.Errorf("qm was called: %q", calls)
	}
	entries, err := os.ReadDir(filepath.Join(n.config.DataDir, "operations"))
	if err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

package controlled

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	wire "gantry/internal/controlledclient"
)

func TestDownloadGoesOnAfterKill(t *testing.T) {
	half := len(image) / 2
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	requests := 0
	origin := newOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if requests++; requests > 1 {
			if r.Header.Get("If-Range") != `"v1"` {
				t.Errorf("If-Range is %q", r.Header.Get("If-Range"))
			}
			whole(w, r)
			return
		}
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Content-Length", fmt.Sprint(len(image)))
		_, _ = w.Write([]byte(image[:half]))
		_ = http.NewResponseController(w).Flush()
		select { // the rest does not come while the daemon lives
		case <-release:
		case <-r.Context().Done():
		}
	})
	n := newNode(t)
	order := wire.DownloadOrder{URL: origin.URL + "/debian.qcow2", Folder: n.images, Checksum: sha256Of(image)}
	process := n.spawn()
	eventually(t, "half is here", func() bool {
		download, err := n.client.Download(context.Background(), order)
		if err != nil {
			t.Fatal(err)
		}
		return download.Bytes == int64(half) && download.Progress == "50.0%" && download.State == wire.DownloadRunning
	})
	n.kill(process)
	n.spawn()
	// Nobody orders again: the daemon goes on by itself.
	eventually(t, "the image is here", func() bool { return exists(filepath.Join(n.images, "debian.qcow2")) })
	if download := n.finish(order); download.State != wire.DownloadDone {
		t.Errorf("got %+v", download)
	}
	n.expectImage("debian.qcow2")
	want := []string{"", fmt.Sprintf("bytes=%d-", half)}
	if got := origin.requests(); strings.Join(got, ",") != strings.Join(want, ",") {
		t.Errorf("ranges asked for: %q, want %q", got, want)
	}
}

// The daemon may die between any two of the writes that end a download.
func TestDownloadEndsAfterDeathAtEveryStep(t *testing.T) {
	for name, row := range map[string]struct {
		part, file string
		record     func(r *downloadRecord, n *node)
		ranges     []string
	}{
		"before the first byte": {record: func(r *downloadRecord, _ *node) { r.State = wire.DownloadQueued }, ranges: []string{""}},
		"all bytes, not published": {part: image, record: func(r *downloadRecord, _ *node) { r.State, r.Total = wire.DownloadVerifying, int64(len(image)) },
			ranges: []string{fmt.Sprintf("bytes=%d-", len(image))}},
		"renamed, not recorded": {file: image, record: func(r *downloadRecord, n *node) {
			info, err := os.Stat(filepath.Join(n.images, "debian.qcow2"))
			if err != nil {
				n.t.Fatal(err)
			}
			r.State, r.Total, r.Size, r.Modified = wire.DownloadVerifying, info.Size(), info.Size(), info.ModTime()
		}},
		"after a reboot": {part: image[:1000] + strings.Repeat("\x00", 1000), record: func(r *downloadRecord, _ *node) {
			r.State, r.Total, r.Boot, r.Durable = wire.DownloadRunning, int64(len(image)), "another boot", 1000
		}, ranges: []string{"bytes=1000-"}},
		"longer than the file": {part: image + "x", record: func(r *downloadRecord, _ *node) {
			r.State, r.Total = wire.DownloadRunning, int64(len(image))
		}, ranges: []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			origin := newOrigin(t, whole)
			n := newNode(t)
			for suffix, content := range map[string]string{partSuffix: row.part, "": row.file} {
				if content != "" {
					n.write("debian.qcow2"+suffix, content)
				}
			}
			record := downloadRecord{
				Path: n.images, File: "debian.qcow2", URL: origin.URL + "/debian.qcow2", Total: -1, ETag: `"v1"`, Boot: bootID(),
			}
			row.record(&record, n)
			before := downloads{dir: filepath.Join(n.config.DataDir, "downloads"), folders: n.config.ImageDirs}
			if err := os.MkdirAll(before.dir, 0o700); err != nil {
				t.Fatal(err)
			}
			target, err := before.target(n.images, "debian.qcow2")
			if err != nil {
				t.Fatal(err)
			}
			if err := before.save(target, record); err != nil {
				t.Fatal(err)
			}
			n.start()
			if download := n.finish(wire.DownloadOrder{URL: record.URL, Folder: n.images}); download.State != wire.DownloadDone {
				t.Errorf("got %+v", download)
			}
			n.expectImage("debian.qcow2")
			if got := origin.requests(); strings.Join(got, ",") != strings.Join(row.ranges, ",") {
				t.Errorf("ranges asked for: %q, want %q", got, row.ranges)
			}
		})
	}
}

func TestImportSurvivesKillOfDaemon(t *testing.T) {
	for name, endsWhileDown := range map[string]bool{"ends while the daemon is down": true, "ends after the restart": false} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			process := n.spawn()
			n.write("debian.qcow2", "image")
			n.importInto(vmidWaits, "order-7")
			eventually(t, "qm runs", func() bool { return len(n.calls()) == 1 })
			n.kill(process)
			if endsWhileDown {
				n.letGo()
				eventually(t, "the result is written", func() bool {
					return exists(filepath.Join(n.config.DataDir, "operations", "order-7", resultFile))
				})
			}
			n.spawn()
			if !endsWhileDown {
				operation, err := n.client.Operation(context.Background(), "order-7")
				if err != nil || operation.State != wire.OperationRunning || operation.Percent != 50 {
					t.Errorf("after the restart: %+v, %v", operation, err)
				}
				n.letGo()
			}
			got := n.ended("order-7")
			if got.State != wire.OperationDone || got.VolumeID != "local:112/vm-112-disk-0.qcow2" || got.ExitCode == nil || *got.ExitCode != 0 {
				t.Errorf("got %+v", got)
			}
			n.importInto(vmidWaits, "order-7")
			if calls := n.calls(); len(calls) != 1 {
				t.Errorf("qm was called %d times: %q", len(calls), calls)
			}
		})
	}
}

func TestImportWithoutWitnessIsLost(t *testing.T) {
	n := newNode(t).start()
	n.write("debian.qcow2", "image")
	n.importInto(vmidHangs, "order-7")
	eventually(t, "qm runs", func() bool { return len(n.calls()) == 1 })
	// The node's out-of-memory killer takes the supervisor: qm still runs, and that is what must be said.
	supervisor, command := processesOf(t, filepath.Join(n.config.DataDir, "operations", "order-7"), n.qmDir)
	kill(t, supervisor)
	operation, err := n.client.Operation(context.Background(), "order-7")
	if err != nil || operation.State != wire.OperationRunning {
		t.Errorf("with qm alive: %+v, %v", operation, err)
	}
	kill(t, command)
	if got := n.ended("order-7"); got.State != wire.OperationLost || got.ExitCode != nil {
		t.Errorf("got %+v", got)
	}
	if again := n.importInto(vmidHangs, "order-7"); again.State != wire.OperationLost || len(n.calls()) != 1 {
		t.Errorf("the same key was run again: %+v, %q", again, n.calls())
	}
}

// qm prints its success line last: with it, the outcome is known although nobody saw the exit status.
func TestImportWithoutSupervisorTellsItsSuccess(t *testing.T) {
	n := newNode(t).start()
	n.write("debian.qcow2", "image")
	n.importInto(vmidWaits, "order-7")
	eventually(t, "qm runs", func() bool { return len(n.calls()) == 1 })
	supervisor, _ := processesOf(t, filepath.Join(n.config.DataDir, "operations", "order-7"), n.qmDir)
	kill(t, supervisor)
	n.letGo()
	if got := n.ended("order-7"); got.State != wire.OperationDone || got.ExitCode != nil || got.VolumeID != "local:112/vm-112-disk-0.qcow2" {
		t.Errorf("got %+v", got)
	}
}

func TestImportAcceptedButNotStartedRunsAtRestart(t *testing.T) {
	n := newNode(t)
	n.write("debian.qcow2", "image")
	operations := filepath.Join(n.config.DataDir, "operations")
	if err := os.MkdirAll(filepath.Join(operations, unborn+"1"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(operations, "order-7"), 0o700); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(n.images, "debian.qcow2")
	arguments := []string{"importdisk", "110", image, "local"}
	order := operationOrder{
		Kind: "importDisk", VMID: 110, Request: arguments, Command: append(n.config.QMCommand, arguments...), Limit: time.Minute, Created: time.Now(),
	}
	if err := writeJSONAtomically(filepath.Join(operations, "order-7", orderFile), order); err != nil {
		t.Fatal(err)
	}
	n.start()
	if got := n.ended("order-7"); got.State != wire.OperationDone {
		t.Errorf("got %+v", got)
	}
	if exists(filepath.Join(operations, unborn+"1")) {
		t.Error("a half-written order was kept")
	}
}

func TestSupervisorsRunOnce(t *testing.T) {
	n := newNode(t)
	n.letGo()
	dir := t.TempDir()
	order := operationOrder{Command: append(n.config.QMCommand, "importdisk", "112", "x", "local"), Limit: time.Minute}
	if err := writeJSONAtomically(filepath.Join(dir, orderFile), order); err != nil {
		t.Fatal(err)
	}
	exits := make(chan int)
	for range 4 {
		go func() { exits <- RunOperation(dir) }()
	}
	for range 4 {
		if exit := <-exits; exit != 0 {
			t.Errorf("exit status %d", exit)
		}
	}
	if exit := RunOperation(dir); exit != 0 {
		t.Errorf("exit status %d", exit)
	}
	if calls := n.calls(); len(calls) != 1 {
		t.Errorf("the command ran %d times", len(calls))
	}
	if exit := RunOperation(t.TempDir()); exit == 0 {
		t.Error("a folder without order was taken")
	}
}

func TestMissingProgramsFailTheOperation(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"qm":         func(c *Config) { c.QMCommand = []string{"/nonexistent/qm"} },
		"supervisor": func(c *Config) { c.SupervisorCommand = []string{"/bin/false"} },
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			change(&n.config)
			n.start()
			n.write("debian.qcow2", "image")
			got := n.ended(n.importInto(vmidImports, "order-7").ID)
			if got.State != wire.OperationFailed || got.ExitCode == nil || *got.ExitCode != -1 || got.Output == "" {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestPrune(t *testing.T) {
	n := newNode(t)
	o, err := newOperations(n.config, n.config.Logger)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for id, row := range map[string]struct {
		created time.Time
		ended   bool
	}{
		"old":                   {now.Add(-n.config.OperationRetention - n.config.OperationDeadline - time.Hour), true},
		"new":                   {now, true},
		"old-and-never-started": {now.Add(-n.config.OperationRetention * 2), false},
	} {
		dir := filepath.Join(o.dir, id)
		if err := o.record(dir, operationOrder{Created: row.created, Limit: n.config.OperationDeadline}); err != nil {
			t.Fatal(err)
		}
		if row.ended {
			if err := writeJSONAtomically(filepath.Join(dir, resultFile), operationResult{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := o.prune(now); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]bool{"old": false, "new": true, "old-and-never-started": true} {
		if exists(filepath.Join(o.dir, id)) != want {
			t.Errorf("operation %s kept: %t", id, !want)
		}
	}
}

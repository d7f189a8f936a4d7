package controlled

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	wire "gantry/internal/controlledclient"
)

// maxPendingDownloads bounds running and queued ones together.
const maxPendingDownloads = 256

// downloads knows every download of this node. A download's truth is its record in dir (see downloadRecord) and its
// partial file; both outlive the daemon, and start goes on where they stand.
type downloads struct {
	config  Config
	log     *slog.Logger
	dir     string
	folders folders
	client  *http.Client
	slots   chan struct{} // one token a running download

	mu     sync.Mutex
	active map[string]*transfer // by target
	ctx    context.Context      // ends with the daemon
	group  sync.WaitGroup
}

// newDownloads goes on with the downloads that an earlier daemon left unfinished.
func newDownloads(ctx context.Context, config Config, log *slog.Logger) (*downloads, error) {
	d := &downloads{
		config: config, log: log, dir: filepath.Join(config.DataDir, "downloads"), folders: config.ImageDirs,
		client: downloadClient(config.AllowPrivateDownloads), slots: make(chan struct{}, config.MaxDownloads),
		active: map[string]*transfer{}, ctx: ctx,
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".json") {
			_ = os.Remove(filepath.Join(d.dir, entry.Name())) // an atomic write that was cut short
			continue
		}
		var record downloadRecord
		if err := readJSON(filepath.Join(d.dir, entry.Name()), &record); err != nil {
			log.Error("download record is unreadable, its download is forgotten", "record", entry.Name(), "error", err)
			continue
		}
		if record.ended() {
			continue
		}
		target, err := d.target(record.Path, record.File)
		if err != nil {
			log.Error("download cannot go on, its folder is not usable", "path", record.Path, "file", record.File, "error", err)
			continue
		}
		d.start(target, record)
	}
	return d, nil
}

// wait returns when all transfers have stopped, which the end of newDownloads' context makes them do.
func (d *downloads) wait() { d.group.Wait() }

// order starts the ordered download (started = true), joins the one that runs for the same target, or tells how it ended.
func (d *downloads) order(order downloadOrder) (download wire.Download, started bool, err error) {
	target, err := d.target(order.path, order.file)
	if err != nil {
		return wire.Download{}, false, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if running := d.active[target]; running != nil {
		record := running.snapshot()
		if err := record.conflict(order); err != nil {
			return wire.Download{}, false, err
		}
		return record.wire(running.bytes.Load()), false, nil
	}
	record, err := d.load(target)
	if err != nil {
		return wire.Download{}, false, err
	}
	present, err := d.stat(order)
	if err != nil {
		return wire.Download{}, false, err
	}
	next, ended, err := decide(order, record, present)
	if err != nil || ended != nil {
		return orZero(ended), false, err
	}
	if len(d.active) >= maxPendingDownloads {
		return wire.Download{}, false, refused(wire.ReasonBusy, "%d downloads are pending", len(d.active))
	}
	if err := d.save(target, next); err != nil {
		return wire.Download{}, false, err
	}
	d.start(target, next)
	return wire.Download{}, true, nil
}

func orZero(download *wire.Download) wire.Download {
	if download == nil {
		return wire.Download{}
	}
	return *download
}

// decide compares an order with what is recorded (nil: nothing) and what lies at the target (nil: nothing). It returns
// the answer when the download has ended, else the record to start with.
func decide(order downloadOrder, record *downloadRecord, present fs.FileInfo) (downloadRecord, *wire.Download, error) {
	next := downloadRecord{
		Path: order.path, File: order.file, URL: order.url, Checksum: order.checksum, State: wire.DownloadQueued, Total: -1,
	}
	failed := record != nil && record.State == wire.DownloadFailed
	sameOrder := record != nil && record.URL == order.url && record.Checksum == order.checksum
	if failed && sameOrder && !order.restart {
		ended := record.wire(0)
		return next, &ended, nil
	}
	if present == nil {
		return next, nil, nil
	}
	ours := record != nil && record.State == wire.DownloadDone && record.isFile(present)
	if ours && record.URL != order.url {
		return next, nil, refused(wire.ReasonConflict, "file: %s was downloaded from another URL, delete it first", order.file)
	}
	if order.checksum == "" || ours && record.Checksum == order.checksum {
		next.State, next.Total = wire.DownloadDone, present.Size()
		ended := next.wire(present.Size())
		return next, &ended, nil
	}
	next.VerifyOnly, next.Total = true, present.Size()
	return next, nil, nil
}

// start runs a transfer in the background. The caller holds d.mu, or nobody else knows d yet.
func (d *downloads) start(target string, record downloadRecord) {
	ctx, cancel := context.WithTimeout(d.ctx, d.config.DownloadDeadline)
	t := &transfer{downloads: d, target: target, record: record, cancel: cancel, ended: make(chan struct{})}
	d.active[target] = t
	d.group.Go(func() {
		defer cancel()
		t.run(ctx)
		d.mu.Lock()
		delete(d.active, target)
		d.mu.Unlock()
		close(t.ended)
	})
}

// forget stops a pending download and removes its record and partial file. It tells whether there was anything to remove.
func (d *downloads) forget(ctx context.Context, path, file string) (bool, error) {
	target, err := d.target(path, file)
	if err != nil {
		return false, err
	}
	d.mu.Lock()
	running := d.active[target]
	d.mu.Unlock()
	if running != nil {
		running.abandon()
		select {
		case <-running.ended:
		case <-ctx.Done():
			return false, refused(wire.ReasonBusy, "the download is still stopping, try again")
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.active[target] != nil {
		return false, refused(wire.ReasonBusy, "file is being downloaded again")
	}
	folder, err := d.folders.open("path", path)
	if err != nil {
		return false, err
	}
	defer folder.Close()
	if err := folder.Remove(file + partSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	err = os.Remove(d.recordPath(target))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return running != nil || err == nil, nil
}

// target names a file independently of the way its folder was spelled, so that two orders never write the same file.
func (d *downloads) target(path, file string) (string, error) {
	folder, err := d.folders.open("path", path)
	if err != nil {
		return "", err
	}
	if err := folder.Close(); err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(filepath.Clean(path))
	if err != nil {
		return "", pathFault("path", err)
	}
	return filepath.Join(real, file), nil
}

func (d *downloads) stat(order downloadOrder) (fs.FileInfo, error) {
	folder, err := d.folders.open("path", order.path)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	info, err := folder.Stat(order.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, pathFault("file", err)
	}
	if !info.Mode().IsRegular() {
		return nil, refused(wire.ReasonConflict, "file: %s is not a regular file", order.file)
	}
	return info, nil
}

func (d *downloads) recordPath(target string) string {
	sum := sha256.Sum256([]byte(target))
	return filepath.Join(d.dir, hex.EncodeToString(sum[:])+".json")
}

func (d *downloads) load(target string) (*downloadRecord, error) {
	var record downloadRecord
	err := readJSON(d.recordPath(target), &record)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &record, nil
}

func (d *downloads) save(target string, record downloadRecord) error {
	return writeJSONAtomically(d.recordPath(target), record)
}

package controlled

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	wire "gantry/internal/controlledclient"
)

const (
	partSuffix     = ".part"
	copyBuffer     = 256 << 10
	flushInterval  = 64 << 20 // bytes between flushes to disk
	diskReserve    = 64 << 20 // bytes that a download leaves free
	maxRetryDelay  = time.Minute
	imageFileMode  = 0o644
	maxErrorLength = 500
)

// transfer is one running or queued download.
type transfer struct {
	downloads *downloads
	target    string
	cancel    context.CancelFunc
	ended     chan struct{}
	bytes     atomic.Int64 // on disk

	mu        sync.Mutex
	record    downloadRecord
	abandoned bool // forgotten on request: its end is not recorded
}

// permanentError is a failure that trying again cannot mend.
type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

func permanent(format string, values ...any) error {
	return &permanentError{fmt.Errorf(format, values...)}
}

func (t *transfer) snapshot() downloadRecord {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.record
}

// update changes the record in memory and on disk.
func (t *transfer) update(change func(*downloadRecord)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.abandoned {
		return
	}
	change(&t.record)
	if err := t.downloads.save(t.target, t.record); err != nil {
		t.downloads.log.Error("download record could not be written", "target", t.target, "error", err)
	}
}

func (t *transfer) abandon() {
	t.mu.Lock()
	t.abandoned = true
	t.mu.Unlock()
	t.cancel()
}

// run ends with the record done or failed; or unchanged, when the daemon stops or the download is abandoned.
func (t *transfer) run(ctx context.Context) {
	log := t.downloads.log.With("target", t.target, "source", withoutSecrets(t.record.URL))
	select {
	case t.downloads.slots <- struct{}{}:
		defer func() { <-t.downloads.slots }()
	case <-ctx.Done():
		return
	}
	log.Info("download runs")
	err := t.work(ctx)
	switch {
	case err == nil:
		log.Info("download done", "bytes", t.bytes.Load())
	case t.downloads.ctx.Err() != nil:
		log.Info("download interrupted, it goes on at the next start")
	default:
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("not finished within %s", t.downloads.config.DownloadDeadline)
		}
		log.Warn("download failed", "error", err)
		t.update(func(r *downloadRecord) {
			r.State, r.Error = wire.DownloadFailed, clip(downloadErrorText(err))
		})
	}
}

func (t *transfer) work(ctx context.Context) error {
	folder, err := t.downloads.folders.open("path", t.record.Path)
	if err != nil {
		return err
	}
	defer folder.Close()
	if t.record.VerifyOnly {
		return t.verifyExisting(ctx, folder)
	}
	if info, err := folder.Stat(t.record.File); err == nil && t.record.isFile(info) {
		return t.finish(folder) // the last daemon died after the rename and before it could say so
	}
	t.update(func(r *downloadRecord) { r.State = wire.DownloadRunning })
	if err := t.fetchWithRetries(ctx, folder); err != nil {
		return err
	}
	return t.publish(ctx, folder)
}

// fetchWithRetries gives up after so many attempts in a row that brought the file no further than it ever was.
func (t *transfer) fetchWithRetries(ctx context.Context, folder *os.Root) error {
	delay := t.downloads.config.DownloadRetryDelay
	furthest := int64(-1)
	for fruitless := 0; ; {
		err := t.fetch(ctx, folder)
		if err == nil || isPermanent(err) || ctx.Err() != nil {
			return err
		}
		if now := t.bytes.Load(); now > furthest {
			furthest, fruitless, delay = now, 0, t.downloads.config.DownloadRetryDelay
		}
		fruitless++
		if fruitless >= t.downloads.config.DownloadAttempts {
			return fmt.Errorf("gave up after %d attempts: %w", fruitless, err)
		}
		t.downloads.log.Info("download attempt failed", "target", t.target, "error", err, "retry_in", delay.String())
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return ctx.Err()
		}
		delay = min(2*delay, maxRetryDelay)
	}
}

// publish verifies the partial file and gives it its name.
func (t *transfer) publish(ctx context.Context, folder *os.Root) error {
	part := t.record.File + partSuffix
	if err := t.verify(ctx, folder, part); err != nil {
		if isPermanent(err) {
			return errors.Join(err, folder.Remove(part))
		}
		return err
	}
	if _, err := folder.Lstat(t.record.File); !errors.Is(err, fs.ErrNotExist) {
		return permanent("a file named %s appeared meanwhile", t.record.File)
	}
	if err := folder.Chmod(part, imageFileMode); err != nil {
		return err
	}
	info, err := folder.Stat(part)
	if err != nil {
		return err
	}
	t.update(func(r *downloadRecord) { r.Size, r.Modified = info.Size(), info.ModTime() })
	if err := folder.Rename(part, t.record.File); err != nil {
		return err
	}
	return t.finish(folder)
}

func (t *transfer) verifyExisting(ctx context.Context, folder *os.Root) error {
	if err := t.verify(ctx, folder, t.record.File); err != nil {
		if isPermanent(err) {
			return permanent("the file was there before and differs, delete it to download it: %w", err)
		}
		return err
	}
	return t.finish(folder)
}

// verify compares name's checksum with the ordered one, if any.
func (t *transfer) verify(ctx context.Context, folder *os.Root, name string) error {
	want := t.record.Checksum
	if want == "" {
		return nil
	}
	t.update(func(r *downloadRecord) { r.State = wire.DownloadVerifying })
	file, err := folder.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	got, err := checksumOf(ctx, file, want)
	if err != nil {
		return fmt.Errorf("compute checksum: %w", err)
	}
	if got != want {
		return permanent("checksum mismatch: expected %s, got %s", want, got)
	}
	return nil
}

// finish makes the file's name durable before the record says done.
func (t *transfer) finish(folder *os.Root) error {
	info, err := folder.Stat(t.record.File)
	if err != nil {
		return err
	}
	handle, err := folder.Open(".")
	if err != nil {
		return err
	}
	if err := errors.Join(handle.Sync(), handle.Close()); err != nil {
		return err
	}
	t.bytes.Store(info.Size())
	t.update(func(r *downloadRecord) {
		r.State, r.Error, r.Total, r.Size, r.Modified = wire.DownloadDone, "", info.Size(), info.Size(), info.ModTime()
	})
	return nil
}

func isPermanent(err error) bool {
	var marked *permanentError
	var address *addressError
	var redirect *redirectError
	return errors.As(err, &marked) || errors.As(err, &address) || errors.As(err, &redirect) ||
		errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EDQUOT)
}

// downloadErrorText leaves out the URL that net/http puts before every error: it may carry credentials.
func downloadErrorText(err error) string {
	var request *url.Error
	if errors.As(err, &request) {
		return request.Err.Error()
	}
	return err.Error()
}

func clip(text string) string {
	if len(text) > maxErrorLength {
		return text[:maxErrorLength] + "…"
	}
	return text
}

// withoutSecrets is scheme, host and path of a URL, for logs.
func withoutSecrets(address string) string {
	parsed, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return parsed.Scheme + "://" + parsed.Host + parsed.EscapedPath()
}

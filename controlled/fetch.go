package controlled

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// fetch is one attempt to bring the partial file to its full length; nil means that it has it and is flushed to disk.
func (t *transfer) fetch(ctx context.Context, folder *os.Root) (err error) {
	part, err := folder.OpenFile(t.record.File+partSuffix, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return fmt.Errorf("open partial file: %w", err)
	}
	defer func() { err = errors.Join(err, part.Close()) }()
	info, err := part.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return permanent("the partial file is not a regular file")
	}
	offset := t.snapshot().resumeAt(info.Size())
	t.bytes.Store(offset)

	// The watchdog ends an attempt in which nothing moves; every read winds it up again.
	stalled := fmt.Errorf("no data for %s", t.downloads.config.DownloadStallTimeout)
	attempt, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(t.downloads.config.DownloadStallTimeout, func() { cancel(stalled) })
	defer watchdog.Stop()

	reply, err := t.request(attempt, offset)
	if err != nil {
		return orCause(attempt, err)
	}
	defer reply.Body.Close()
	plan, err := readReply(reply, offset)
	if err != nil {
		return err
	}
	plan.keepValidators(t.snapshot())
	if plan.offset != offset || plan.offset < info.Size() {
		if err := part.Truncate(plan.offset); err != nil {
			return err
		}
	}
	if plan.restart {
		t.bytes.Store(0)
		return errors.New("the server has another version of the file now")
	}
	if err := t.admit(part, plan); err != nil {
		return err
	}
	t.bytes.Store(plan.offset)
	t.update(func(r *downloadRecord) {
		r.Total, r.ETag, r.LastModified = plan.total, plan.etag, plan.lastModified
		r.Durable, r.Boot = min(r.Durable, plan.offset), bootID()
	})
	if plan.complete {
		return part.Sync()
	}
	body := woundReader{reply.Body, watchdog, t.downloads.config.DownloadStallTimeout}
	return orCause(attempt, t.copy(part, body, plan))
}

func orCause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (t *transfer) request(ctx context.Context, offset int64) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, t.record.URL, nil)
	if err != nil {
		return nil, permanent("%w", err)
	}
	request.Header.Set("User-Agent", t.downloads.config.UserAgent)
	request.Header.Set("Accept-Encoding", "identity")
	if offset > 0 {
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
		record := t.snapshot()
		if validator := cmp.Or(record.ETag, record.LastModified); validator != "" {
			request.Header.Set("If-Range", validator)
		}
	}
	return t.downloads.client.Do(request)
}

// replyPlan is what a server's answer means for the partial file.
type replyPlan struct {
	offset       int64 // where the body belongs
	total        int64 // -1 = unknown
	complete     bool  // the partial file is whole already
	restart      bool  // the partial file is of no use, ask again from 0
	etag         string
	lastModified string
}

// readReply understands 200, 206 and 416 (RFC 9110 §14, §15.3.7, §15.5.17); 4xx that no repetition mends are permanent.
func readReply(reply *http.Response, offset int64) (replyPlan, error) {
	plan := replyPlan{total: -1, etag: strongETag(reply.Header.Get("ETag")), lastModified: reply.Header.Get("Last-Modified")}
	switch status := reply.StatusCode; {
	case status == http.StatusOK:
		plan.total = reply.ContentLength
	case status == http.StatusPartialContent && offset > 0:
		start, total, ok := parseContentRange(reply.Header.Get("Content-Range"))
		if !ok || start != offset {
			plan.restart = true
			return plan, nil
		}
		plan.offset, plan.total = offset, total
	case status == http.StatusRequestedRangeNotSatisfiable && offset > 0:
		size, ok := strings.CutPrefix(reply.Header.Get("Content-Range"), "bytes */")
		total, err := strconv.ParseInt(size, 10, 64)
		if !ok || err != nil || total != offset {
			plan.restart = true
			return plan, nil
		}
		plan.offset, plan.total, plan.complete = offset, total, true
	case status >= 400 && status < 500 && status != http.StatusRequestTimeout && status != http.StatusTooEarly && status != http.StatusTooManyRequests:
		return plan, permanent("the server answers %d %s", status, http.StatusText(status))
	default:
		return plan, fmt.Errorf("the server answers %d %s", status, http.StatusText(status))
	}
	return plan, nil
}

// keepValidators holds a partial answer to what the first bytes came with: a server may leave the validators out, but one
// that names another version has ignored If-Range.
func (p *replyPlan) keepValidators(record downloadRecord) {
	switch {
	case p.offset == 0:
	case p.etag == "" && p.lastModified == "":
		p.etag, p.lastModified = record.ETag, record.LastModified
	case p.etag != "" && record.ETag != "" && p.etag != record.ETag:
		*p = replyPlan{restart: true}
	}
}

// parseContentRange reads "bytes start-end/total"; a total of "*" is -1.
func parseContentRange(text string) (start, total int64, ok bool) {
	span, isBytes := strings.CutPrefix(text, "bytes ")
	span, size, hasSize := strings.Cut(span, "/")
	first, last, hasEnd := strings.Cut(span, "-")
	if !isBytes || !hasSize || !hasEnd {
		return 0, 0, false
	}
	start, err := strconv.ParseInt(first, 10, 64)
	if err != nil || start < 0 {
		return 0, 0, false
	}
	end, err := strconv.ParseInt(last, 10, 64)
	if err != nil || end < start {
		return 0, 0, false
	}
	if size == "*" {
		return start, -1, true
	}
	total, err = strconv.ParseInt(size, 10, 64)
	return start, total, err == nil && total > end
}

// strongETag drops weak validators, which If-Range may not carry (RFC 9110 §13.1.5).
func strongETag(tag string) string {
	if strings.HasPrefix(tag, "W/") {
		return ""
	}
	return tag
}

// admit refuses a file that is larger than allowed or than the disk has room for.
func (t *transfer) admit(part *os.File, plan replyPlan) error {
	if plan.total > t.downloads.config.MaxDownloadBytes {
		return permanent("the file has %d bytes, allowed are %d", plan.total, t.downloads.config.MaxDownloadBytes)
	}
	return checkRoom(part, max(plan.total-plan.offset, 0))
}

// checkRoom fails with ENOSPC when the file system of file has not the needed bytes and the reserve free.
func checkRoom(file *os.File, needed int64) error {
	var space unix.Statfs_t
	if err := unix.Fstatfs(int(file.Fd()), &space); err != nil {
		return fmt.Errorf("read free disk space: %w", err)
	}
	free := int64(space.Bavail) * space.Bsize
	if free-diskReserve < needed {
		return permanent("%d bytes are needed, %d are free: %w", needed+diskReserve, free, syscall.ENOSPC)
	}
	return nil
}

// copy appends the body to the partial file and flushes both often enough that a power loss costs little.
func (t *transfer) copy(part *os.File, body io.Reader, plan replyPlan) error {
	if _, err := part.Seek(plan.offset, io.SeekStart); err != nil {
		return err
	}
	written := plan.offset
	flushed := written
	buffer := make([]byte, copyBuffer)
	for {
		n, readErr := body.Read(buffer)
		if written+int64(n) > t.downloads.config.MaxDownloadBytes {
			return permanent("the file has more than the allowed %d bytes", t.downloads.config.MaxDownloadBytes)
		}
		if _, err := part.Write(buffer[:n]); err != nil {
			return fmt.Errorf("write partial file: %w", err)
		}
		written += int64(n)
		t.bytes.Store(written)
		if readErr == io.EOF {
			break
		}
		if readErr != nil {
			return fmt.Errorf("read from server: %w", readErr)
		}
		if written-flushed >= flushInterval {
			if err := errors.Join(t.flush(part, written), checkRoom(part, 0)); err != nil {
				return err
			}
			flushed = written
		}
	}
	if plan.total >= 0 && written != plan.total {
		return fmt.Errorf("the server sent %d of %d bytes", written, plan.total)
	}
	return t.flush(part, written)
}

func (t *transfer) flush(part *os.File, written int64) error {
	if err := part.Sync(); err != nil {
		return err
	}
	t.update(func(r *downloadRecord) { r.Durable, r.Boot = written, bootID() })
	return nil
}

// woundReader winds the watchdog up at every read that brought something.
type woundReader struct {
	source   io.Reader
	watchdog *time.Timer
	limit    time.Duration
}

func (r woundReader) Read(buffer []byte) (int, error) {
	n, err := r.source.Read(buffer)
	if n > 0 {
		r.watchdog.Reset(r.limit)
	}
	return n, err
}

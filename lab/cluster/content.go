package cluster

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gantry/lab/apierror"
	"gantry/lab/storage"
	"gantry/lab/worker"
)

// DeleteVolume is DELETE …/content/{volume}: a task imgdel.
func (c *Cluster) DeleteVolume(user, node, volid string) (string, error) {
	at, err := c.place(node, volid)
	if err != nil {
		return "", err
	}
	id := at.Definition.ID
	if at.Volume.VMID != "" {
		id = at.Volume.VMID + "@" + id
	}
	return c.Tasks.Start(node, "imgdel", id, user, func(ctx context.Context, task *worker.Task) error {
		if _, err := os.Lstat(at.Path); errors.Is(err, os.ErrNotExist) {
			task.Logf("disk image '%s' does not exist", at.Shown)
		} else if err := c.free(ctx, node, volid); err != nil {
			return err
		}
		task.Logf("Removed volume '%s'", volid)
		return nil
	}).Text, nil
}

// Allocate is POST …/content: it makes an empty volume and returns its id.
func (c *Cluster) Allocate(ctx context.Context, node string, definition *storage.Definition, vmid int, name, format string, size int64) (string, error) {
	if format == "" {
		format = strings.TrimPrefix(filepath.Ext(name), ".")
	}
	if format == "" {
		format = "raw"
	}
	full := name
	if definition.FileBased() {
		full = fmt.Sprintf("%d/%s", vmid, name)
	}
	volume, err := definition.Parse(full)
	if err != nil {
		return "", apierror.Die("%s", err)
	}
	if _, err := os.Lstat(definition.File(c.DataDir, node, volume)); err == nil {
		return "", apierror.Die("disk image '%s' already exists", definition.Shown(volume))
	}
	return c.allocate(ctx, nil, node, target{definition: definition, vmid: vmid, name: full, format: format}, size)
}

// Download is what download-url wants.
type Download struct {
	URL, Content, Name  string
	Checksum, Algorithm string
	Insecure            bool // verify-certificates=0
}

// DownloadURL fetches a file into a storage in a task of type download.
func (c *Cluster) DownloadURL(user, node string, definition *storage.Definition, wanted Download) (string, error) {
	volume, err := definition.Parse(wanted.Content + "/" + wanted.Name)
	if err != nil {
		return "", apierror.Die("%s", err)
	}
	path, shown := definition.File(c.DataDir, node, volume), definition.Shown(volume)
	return c.Tasks.Start(node, "download", wanted.Name, user, func(ctx context.Context, task *worker.Task) error {
		task.Logf("downloading %s to %s", wanted.URL, shown)
		if _, err := os.Lstat(path); err == nil {
			return apierror.Die("refusing to override existing file '%s'", shown)
		}
		temporary := fmt.Sprintf("%s.tmp_dwnl.%d", path, task.UPID.PID)
		defer os.Remove(temporary)
		if err := c.fetch(ctx, task, wanted, temporary); err != nil {
			return err
		}
		if err := task.Step(ctx, "config"); err != nil {
			return err
		}
		if err := os.Rename(temporary, path); err != nil {
			return fmt.Errorf("unable to rename temporary file: %w", err)
		}
		task.Logf("download of '%s' to '%s' finished", wanted.URL, shown)
		return nil
	}).Text, nil
}

func newHash(algorithm string) (hash.Hash, error) {
	switch algorithm {
	case "md5":
		return md5.New(), nil
	case "sha1":
		return sha1.New(), nil
	case "sha224":
		return sha256.New224(), nil
	case "sha256":
		return sha256.New(), nil
	case "sha384":
		return sha512.New384(), nil
	case "sha512":
		return sha512.New(), nil
	}
	return nil, fmt.Errorf("unknown algorithm '%s'", algorithm)
}

func client(insecure bool) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	// verify-certificates=0 is the caller's explicit wish, as on a real node.
	transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: insecure}
	return &http.Client{Transport: transport}
}

func (c *Cluster) fetch(ctx context.Context, task *worker.Task, wanted Download, file string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, wanted.URL, nil)
	if err != nil {
		return apierror.Die("download failed: exit code 1")
	}
	web := client(wanted.Insecure)
	defer web.CloseIdleConnections()
	response, err := web.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		task.Log(err.Error())
		return apierror.Die("download failed: exit code 4") // wget: network failure
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		task.Logf("HTTP request sent, awaiting response... %s", response.Status)
		task.Logf("ERROR %s.", response.Status)
		return apierror.Die("download failed: exit code 8") // wget: the server answered with an error
	}
	output, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("download failed: %w", err)
	}
	defer output.Close()
	started := time.Now()
	var sum hash.Hash = sha1.New()
	if wanted.Algorithm != "" {
		if sum, err = newHash(wanted.Algorithm); err != nil {
			return err
		}
	}
	if err := copyWithProgress(ctx, task, io.MultiWriter(output, sum), response, started); err != nil {
		return err
	}
	if wanted.Checksum == "" {
		return nil
	}
	got := hex.EncodeToString(sum.Sum(nil))
	if !strings.EqualFold(got, wanted.Checksum) {
		task.Log("calculating checksum...")
		return apierror.Die("checksum mismatch: got '%s' != expect '%s'", got, wanted.Checksum)
	}
	task.Log("calculating checksum...OK, checksum verified")
	return nil
}

// copyWithProgress prints wget's dot lines: 1.5 MiB a line ("--progress=dot:giga" prints 32 MiB a line for large files).
func copyWithProgress(ctx context.Context, task *worker.Task, target io.Writer, response *http.Response, started time.Time) error {
	const line = 32 << 20
	var done int64
	for {
		count, err := io.CopyN(target, response.Body, line)
		if count > 0 {
			percent := ""
			if response.ContentLength > 0 {
				percent = fmt.Sprintf("%3d%%", (done+count)*100/response.ContentLength)
			}
			seconds := time.Since(started).Seconds()
			task.Logf("%6dK ........ ........ ........ ........ %s %3.0fM=%.2fs", done>>10, percent, float64(done+count)/(1<<20)/max(seconds, 0.001), seconds)
		}
		done += count
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			task.Log(err.Error())
			return apierror.Die("download failed: exit code 4")
		}
	}
}

// URLMetadata is query-url-metadata: it asks with HEAD.
func (c *Cluster) URLMetadata(ctx context.Context, url string, insecure bool) (map[string]any, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		return nil, apierror.Die("invalid server response: %s", err)
	}
	web := client(insecure)
	defer web.CloseIdleConnections()
	response, err := web.Do(request)
	if err != nil {
		return nil, apierror.Die("invalid server response: '500 Can't connect to %s'", request.URL.Host)
	}
	defer response.Body.Close()
	if response.StatusCode >= 400 {
		return nil, apierror.Die("invalid server response: '%s'", response.Status)
	}
	metadata := map[string]any{"size": max(response.ContentLength, 0)}
	if kind, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";"); kind != "" {
		metadata["mimetype"] = kind
	}
	name := filepath.Base(response.Request.URL.Path)
	if disposition := response.Header.Get("Content-Disposition"); strings.Contains(disposition, "filename=") {
		_, after, _ := strings.Cut(disposition, "filename=")
		name = strings.Trim(strings.TrimSpace(after), `"`)
	}
	metadata["filename"] = name
	return metadata, nil
}

// Upload moves a file that was received into a storage, in a task of type imgcopy.
func (c *Cluster) Upload(user, node string, definition *storage.Definition, content, name, received, checksum, algorithm string) (string, error) {
	volume, err := definition.Parse(content + "/" + name)
	if err != nil {
		return "", apierror.Die("%s", err)
	}
	path, shown := definition.File(c.DataDir, node, volume), definition.Shown(volume)
	return c.Tasks.Start(node, "imgcopy", "", user, func(ctx context.Context, task *worker.Task) error {
		defer os.Remove(received)
		task.Logf("starting file import from: %s", "/var/tmp/pveupload-"+fmt.Sprintf("%08x", task.UPID.PID))
		task.Logf("target node: %s", node)
		task.Logf("target file: %s", shown)
		if checksum != "" {
			got, err := fileSum(received, algorithm)
			if err != nil {
				return err
			}
			if !strings.EqualFold(got, checksum) {
				return apierror.Die("checksum mismatch: got '%s' != expect '%s'", got, checksum)
			}
		}
		if err := os.Rename(received, path); err != nil {
			return fmt.Errorf("import failed: %w", err)
		}
		task.Log("finished file import successfully")
		return nil
	}).Text, nil
}

func fileSum(file, algorithm string) (string, error) {
	sum, err := newHash(algorithm)
	if err != nil {
		return "", err
	}
	source, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("open the upload: %w", err)
	}
	defer source.Close()
	if _, err := io.Copy(sum, source); err != nil {
		return "", fmt.Errorf("read the upload: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// TemporaryFile is where uploads are received: on the same file system as the storages.
func (c *Cluster) TemporaryFile() (*os.File, error) {
	return os.CreateTemp(filepath.Join(c.DataDir, "tmp"), "pveupload-*")
}

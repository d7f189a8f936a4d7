package controlled

import (
	"io/fs"
	"os"
	"strings"
	"time"

	wire "gantry/internal/controlledclient"
)

// downloadRecord is what must be known of a download after a crash. It is stored as JSON, mode 0600: the URL may carry credentials.
type downloadRecord struct {
	Path     string             `json:"path"`
	File     string             `json:"file"`
	URL      string             `json:"url"`
	Checksum string             `json:"checksum,omitempty"`
	State    wire.DownloadState `json:"state"`
	Error    string             `json:"error,omitempty"`
	// VerifyOnly: the file was there before; only its checksum is to be compared.
	VerifyOnly bool `json:"verify_only,omitempty"`

	Total        int64  `json:"total"`                   // -1 = unknown
	ETag         string `json:"etag,omitempty"`          // strong validator of the bytes in the partial file
	LastModified string `json:"last_modified,omitempty"` // used when there is no strong ETag
	// Durable bytes were flushed to disk. After a reboot only these count; while the same kernel runs all written ones do.
	Durable int64  `json:"durable,omitempty"`
	Boot    string `json:"boot,omitempty"`

	// Size and Modified recognise the finished file, so that one put there by hand is not taken for it.
	Size     int64     `json:"size,omitempty"`
	Modified time.Time `json:"modified,omitzero"`
}

func (r downloadRecord) ended() bool {
	return r.State == wire.DownloadDone || r.State == wire.DownloadFailed
}

// isFile tells that file is the one that this download made.
func (r downloadRecord) isFile(file fs.FileInfo) bool {
	return !r.Modified.IsZero() && r.Size == file.Size() && r.Modified.Equal(file.ModTime())
}

// conflict refuses to join a running download that fetches something else.
func (r downloadRecord) conflict(order downloadOrder) error {
	if r.URL != order.url {
		return refused(wire.ReasonConflict, "file: %s is being downloaded from another URL", r.File)
	}
	if order.checksum != "" && r.Checksum != order.checksum {
		return refused(wire.ReasonConflict, "checksum: the running download of %s was ordered with another one", r.File)
	}
	return nil
}

func (r downloadRecord) wire(bytes int64) wire.Download {
	return wire.Download{
		File: r.File, Progress: progressText(bytes, r.Total, r.State), State: r.State,
		Bytes: bytes, Total: r.Total, Checksum: r.Checksum, Error: r.Error,
	}
}

// resumeAt is how many bytes of a partial file of the given size may be kept. Without a validator to send in If-Range
// and without a checksum to notice a mix of two versions, none are.
func (r downloadRecord) resumeAt(size int64) int64 {
	if r.ETag == "" && r.LastModified == "" && r.Checksum == "" {
		return 0
	}
	if boot := bootID(); boot == "" || r.Boot != boot {
		size = min(size, r.Durable)
	}
	if r.Total >= 0 && size > r.Total {
		return 0
	}
	return size
}

func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

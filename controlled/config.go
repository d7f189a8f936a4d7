package controlled

import (
	"log/slog"
	"net/netip"
	"net/url"
	"path/filepath"
	"time"

	"gantry/internal/config"
)

// Config is the daemon's configuration. Start from DefaultConfig.
type Config struct {
	// Listen is "address:port" of the HTTPS listener; port 0 takes a free one.
	Listen string `yaml:"listen"`
	// DataDir keeps certificate, secret, download states and operations, mode 0700. It must survive restarts.
	DataDir string `yaml:"data_dir"`
	// ImageDirs are the absolute folders in which images are downloaded, listed, read, deleted and imported from.
	// Missing ones are created at start.
	ImageDirs []string `yaml:"image_dirs"`
	// ReadDirs are further absolute folders that may be listed and read, but not written.
	ReadDirs []string `yaml:"read_dirs"`
	// QMCommand is the program, with leading arguments, that stands for PVE's qm.
	QMCommand []string `yaml:"qm_command"`

	// AllowPrivateDownloads lets downloads come from loopback and private addresses (an image mirror in the operator's
	// own network). Link-local, metadata and multicast addresses stay refused.
	AllowPrivateDownloads bool `yaml:"allow_private_downloads"`
	// MaxDownloadBytes is the largest file that a download may become.
	MaxDownloadBytes int64 `yaml:"max_download_bytes"`
	// MaxDownloads run at once; further ones are queued.
	MaxDownloads int `yaml:"max_downloads"`
	// DownloadAttempts is how many times in a row a transfer may end without a new byte before the download fails.
	DownloadAttempts int `yaml:"download_attempts"`
	// DownloadRetryDelay is the first pause between attempts; it doubles up to a minute.
	DownloadRetryDelay time.Duration `yaml:"download_retry_delay"`
	// DownloadStallTimeout ends an attempt in which no byte arrived for so long.
	DownloadStallTimeout time.Duration `yaml:"download_stall_timeout"`
	// DownloadDeadline ends a download as a whole, counted from its start or from the daemon's restart.
	DownloadDeadline time.Duration `yaml:"download_deadline"`
	// UserAgent is sent with downloads.
	UserAgent string `yaml:"user_agent"`

	// MaxOperations is how many imports may run at once; further ones are refused as busy.
	MaxOperations int `yaml:"max_operations"`
	// OperationDeadline ends an import's process.
	OperationDeadline time.Duration `yaml:"operation_deadline"`
	// OperationRetention is how long an ended operation, and with it its idempotency key, is kept.
	OperationRetention time.Duration `yaml:"operation_retention"`
	// CommandTimeout ends qm calls that are waited for (unlock, guest password).
	CommandTimeout time.Duration `yaml:"command_timeout"`

	// UpdateURL names the description of the newest release for POST /update, see updateManifest; empty turns updates off.
	UpdateURL string `yaml:"update_url"`
	// UpdateKey is the Ed25519 public key, in base64, that releases are signed with.
	UpdateKey string `yaml:"update_key"`
	// UpdatePatience is how long a new release may take to answer before the old one comes back.
	UpdatePatience time.Duration `yaml:"update_patience"`
	// VNCDirs are the absolute folders in which POST /vnc and /vnc/import may write token files for websockify; empty turns them off.
	VNCDirs []string `yaml:"vnc_dirs"`
	// VNCListen is the address that VNC services listen on. VNC has no encryption: leave it where only websockify reaches it.
	VNCListen string `yaml:"vnc_listen"`

	// Executable is the program that an update replaces; empty means this one. GuardArguments are its arguments, before DataDir, that make
	// it GuardUpdate; empty means "controlled guard-update".
	Executable     string   `yaml:"-"`
	GuardArguments []string `yaml:"-"`
	// SupervisorCommand is the program, with leading arguments, that runs one operation; the operation's folder is
	// appended and it must call RunOperation. Empty means this executable with "controlled run-operation".
	SupervisorCommand []string `yaml:"-"`
	// Version is what GET /version answers; empty means this build's.
	Version string `yaml:"-"`
	// Logger takes the daemon's log; nil means slog.Default().
	Logger *slog.Logger `yaml:"-"`
}

// DefaultConfig is a node's configuration as it is shipped. Port 7600 and /home/images are those of ProxmoxVE-AMS.
func DefaultConfig() Config {
	return Config{
		Listen:               ":7600",
		DataDir:              "/var/lib/gantry/controlled",
		ImageDirs:            []string{"/home/images"},
		ReadDirs:             []string{"/etc/network"},
		QMCommand:            []string{"/usr/sbin/qm"},
		MaxDownloadBytes:     256 << 30,
		MaxDownloads:         4,
		DownloadAttempts:     8,
		DownloadRetryDelay:   time.Second,
		DownloadStallTimeout: time.Minute,
		DownloadDeadline:     24 * time.Hour,
		UserAgent:            "gantry-controlled",
		MaxOperations:        16,
		OperationDeadline:    4 * time.Hour,
		OperationRetention:   7 * 24 * time.Hour,
		CommandTimeout:       time.Minute,
		UpdatePatience:       time.Minute,
		VNCListen:            "127.0.0.1",
	}
}

// Validate names every setting that cannot work.
func (c Config) Validate() error {
	var checks config.Checks
	checks.Check("listen", config.ListenAddress(c.Listen))
	checks.Require(filepath.IsAbs(c.DataDir), "data_dir", "must be an absolute path")
	checks.Require(len(c.ImageDirs) > 0, "image_dirs", "at least one folder is needed")
	for _, dir := range c.ImageDirs {
		checks.Require(folderUsable(dir), "image_dirs", "%q must be an absolute path below /", dir)
	}
	for _, dir := range c.ReadDirs {
		checks.Require(folderUsable(dir), "read_dirs", "%q must be an absolute path below /", dir)
	}
	checks.Require(len(c.QMCommand) > 0 && c.QMCommand[0] != "", "qm_command", "must name a program")
	checks.Require(c.MaxDownloadBytes > 0, "max_download_bytes", "must be at least 1")
	checks.Require(c.MaxDownloads > 0, "max_downloads", "must be at least 1")
	checks.Require(c.DownloadAttempts > 0, "download_attempts", "must be at least 1")
	checks.Require(c.DownloadRetryDelay > 0, "download_retry_delay", "must be positive")
	checks.Require(c.DownloadStallTimeout > 0, "download_stall_timeout", "must be positive")
	checks.Require(c.DownloadDeadline > 0, "download_deadline", "must be positive")
	checks.Require(c.MaxOperations > 0, "max_operations", "must be at least 1")
	checks.Require(c.OperationDeadline > 0, "operation_deadline", "must be positive")
	checks.Require(c.OperationRetention >= time.Hour, "operation_retention", "must be at least an hour")
	checks.Require(c.CommandTimeout > 0 && c.CommandTimeout <= maxCommandTimeout, "command_timeout", "must be positive, %s at most", maxCommandTimeout)
	checks.Require(c.UpdatePatience > 0, "update_patience", "must be positive")
	if c.UpdateURL != "" {
		_, err := updateKey(c.UpdateKey)
		checks.Require(err == nil, "update_key", "must be an Ed25519 public key in base64")
		address, err := url.Parse(c.UpdateURL)
		checks.Require(err == nil && (address.Scheme == "https" || address.Scheme == "http") && address.Host != "", "update_url", "must be an http or https address")
	}
	for _, dir := range c.VNCDirs {
		checks.Require(folderUsable(dir), "vnc_dirs", "%q must be an absolute path below /", dir)
	}
	_, err := netip.ParseAddr(c.VNCListen)
	checks.Require(err == nil, "vnc_listen", "must be an address")
	return checks.Err()
}

// maxCommandTimeout keeps waited-for commands inside the HTTP server's write timeout.
const maxCommandTimeout = 5 * time.Minute

func folderUsable(dir string) bool {
	return filepath.IsAbs(dir) && filepath.Clean(dir) != "/"
}

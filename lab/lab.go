// Package lab is a Proxmox VE cluster for demos, tests and benchmarks ("pvesim"): PVE's REST API over TLS, as strict as the real one,
// over guests in memory or real QEMU processes. What it copies was observed on PVE 8.4.1 and 9.2.11.
package lab

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"gantry/lab/access"
	"gantry/lab/api"
	"gantry/lab/cluster"
	"gantry/lab/fault"
	"gantry/lab/httpwire"
	"gantry/lab/machine"
	"gantry/lab/machine/memory"
	"gantry/lab/schema"
	"gantry/lab/storage"
)

// Storage is one storage of the cluster; Bridge one bridge of every node.
type (
	Storage = storage.Definition
	Bridge  = cluster.Bridge
)

// User is an account that exists from the start. Role, when set, is granted on Path ("" = "/") with propagation.
type User struct{ ID, Password, Role, Path string }

// Token is an API token that exists from the start.
type Token struct {
	User, Name, Secret string // Secret "" = a random one, see Lab.Token
	Separated          bool   // privilege separation
}

// Config says what the lab is. The zero value of a field means the default that is named beside it.
type Config struct {
	Version string   // "8" (8.4.1) or "9" (9.2.11, default)
	Nodes   []string // pve1
	Listen  string   // address of the one HTTPS endpoint, 127.0.0.1:0
	// DataDir holds all state. A lab started again on it, also after kill -9, has the same guests, volumes, tasks and tokens.
	DataDir  string          // required
	Storages []Storage       // of a new lab: local (dir, all content types) and data (dir, images)
	Bridges  []Bridge        // vmbr0, 10.99.99.1/24
	Backend  machine.Backend // guests in memory

	// Now is the clock of tickets, tasks and uptimes.
	Now func() time.Time
	// TimeScale multiplies the wall-clock waits of real nodes: the 10 s of configuration locks, shutdown timeouts, the second
	// before a reboot's start. 1.
	TimeScale float64
	// StatusInterval is how often pvestatd feeds /cluster/resources: 10 s. Negative: only at Faults().RefreshStatus().
	StatusInterval time.Duration
	// UnauthorizedDelay is how long a 401 takes: 3 s. Negative: no delay.
	UnauthorizedDelay time.Duration
	// Latency is added to each request.
	Latency time.Duration

	RootPassword string // of root@pam; random
	Users        []User
	Tokens       []Token // besides root@pam!lab, which is always there

	NodeCPUs   int   // 64
	NodeMemory int64 // bytes; 512 GiB
	KVM        bool  // nodes offer KVM to guests whose option kvm is not off

	// NoCleanupLock spares clients what PVE 9 does to them when a guest is started within a second of its end: `qm cleanup` comes too
	// late, finds the guest running and keeps its configuration locked for up to 30 s, in which changes and buttons run into
	// "can't lock file '/var/lock/qemu-server/lock-110.conf' - got timeout" after 10 s. All three times are scaled by TimeScale.
	NoCleanupLock bool
	// NoHVM makes nodes without hardware virtualisation: they say so, and a guest whose option kvm is not off does not start.
	NoHVM bool

	// ControlListen opens the faults' HTTP endpoint on that loopback address; empty: none. ControlToken guards it ("" = random).
	ControlListen, ControlToken string

	Logger *slog.Logger // discards
}

// Lab is a running lab.
type Lab struct {
	config   Config
	cluster  *cluster.Cluster
	api      *api.Server
	server   *httpwire.Server
	listener net.Listener
	control  *fault.Control
	admin    *admin
	lock     *os.File
	print    [32]byte
	password string

	closing sync.Once
	closed  error // what closing came to
}

func (c *Config) setDefaults() error {
	if c.DataDir == "" {
		return errors.New("lab: DataDir is not set")
	}
	switch c.Version {
	case "":
		c.Version = "9"
	case "8", "9":
	default:
		return fmt.Errorf("lab: version %q is neither 8 nor 9", c.Version)
	}
	if len(c.Nodes) == 0 {
		c.Nodes = []string{"pve1"}
	}
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	if c.Storages == nil {
		c.Storages = DefaultStorages()
	}
	if c.Bridges == nil {
		c.Bridges = []Bridge{{Name: "vmbr0", CIDR: "10.99.99.1/24"}}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.TimeScale == 0 {
		c.TimeScale = 1
	}
	if c.StatusInterval == 0 {
		c.StatusInterval = 10 * time.Second
	}
	if c.UnauthorizedDelay == 0 {
		c.UnauthorizedDelay = 3 * time.Second
	}
	if c.NodeCPUs == 0 {
		c.NodeCPUs = 64
	}
	if c.NodeMemory == 0 {
		c.NodeMemory = 512 << 30
	}
	if c.Backend == nil {
		c.Backend = memory.New(memory.Options{Now: c.Now})
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// DefaultStorages are those of a fresh lab: local takes everything, data takes images.
func DefaultStorages() []Storage {
	return []Storage{
		{ID: "local", Type: "dir", Path: "/var/lib/vz", Content: []string{"images", "rootdir", "iso", "vztmpl", "snippets", "import", "backup"}},
		{ID: "data", Type: "dir", Path: "/srv/data", Content: []string{"images"}},
	}
}

// Start opens the lab. It serves until Close; ctx bounds the start only.
func Start(ctx context.Context, config Config) (*Lab, error) {
	if err := config.setDefaults(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(config.DataDir, 0o755); err != nil {
		return nil, fmt.Errorf("make the lab's data directory: %w", err)
	}
	directory, err := filepath.Abs(config.DataDir)
	if err != nil {
		return nil, fmt.Errorf("find the lab's data directory: %w", err)
	}
	config.DataDir = directory
	lab := &Lab{config: config}
	if err := lab.open(ctx); err != nil {
		_ = lab.Close()
		return nil, err
	}
	return lab, nil
}

func (l *Lab) open(ctx context.Context) error {
	if err := l.lockData(); err != nil {
		return err
	}
	major := 9
	if l.config.Version == "8" {
		major = 8
	}
	c, err := cluster.Open(cluster.Options{Major: major, Nodes: l.config.Nodes, DataDir: l.config.DataDir, Storages: l.config.Storages,
		Bridges: l.config.Bridges, Backend: l.config.Backend, Now: l.config.Now, TimeScale: l.config.TimeScale,
		StatusInterval: l.config.StatusInterval, NodeCPUs: l.config.NodeCPUs, NodeMemory: l.config.NodeMemory, KVM: l.config.KVM, NoHVM: l.config.NoHVM,
		CleanupLock: !l.config.NoCleanupLock, Logger: l.config.Logger})
	if err != nil {
		return err
	}
	l.cluster = c
	if err := l.seedAccounts(); err != nil {
		return err
	}
	definitions, err := schema.Load(major)
	if err != nil {
		return err
	}
	certificate, pem, err := l.certificate()
	if err != nil {
		return err
	}
	l.print = sha256.Sum256(certificate.Certificate[0])
	l.api = api.NewServer(c, definitions)
	l.api.UnauthorizedDelay, l.api.Latency = max(l.config.UnauthorizedDelay, 0), l.config.Latency
	l.api.Certificate, l.api.Fingerprint = pem, colons(l.print[:])
	if l.admin, err = serveAdmin(l.config.DataDir, c); err != nil {
		return err
	}
	if err := l.serveControl(); err != nil {
		return err
	}
	var listen net.ListenConfig
	if l.listener, err = listen.Listen(ctx, "tcp", l.config.Listen); err != nil {
		return fmt.Errorf("listen for the lab's API: %w", err)
	}
	l.server = &httpwire.Server{Handler: l.api.Handle, TLS: &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
		KeepAlive: 5 * time.Second, Now: l.config.Now, Logger: l.config.Logger, Host: l.listener.Addr().String()}
	l.server.Serve(l.listener)
	return nil
}

// lockData keeps a second lab off the same data. The lock goes with the process, however it ends.
func (l *Lab) lockData() error {
	file, err := os.OpenFile(filepath.Join(l.config.DataDir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open the lab's lock file: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		return fmt.Errorf("another lab runs on %s: %w", l.config.DataDir, err)
	}
	l.lock = file
	return nil
}

func (l *Lab) serveControl() error {
	if l.config.ControlListen == "" {
		return nil
	}
	if l.config.ControlToken == "" {
		l.config.ControlToken = access.NewSecret()
	}
	control, err := l.cluster.Faults.Serve(l.config.ControlListen, l.config.ControlToken)
	if err != nil {
		return fmt.Errorf("listen for fault control: %w", err)
	}
	l.control = control
	return nil
}

// seedAccounts makes root's password and token and the configured accounts, as far as they are missing.
func (l *Lab) seedAccounts() error {
	control := l.cluster.Access
	password, err := l.cluster.Secret("root-password", func() (string, error) {
		if l.config.RootPassword != "" {
			return l.config.RootPassword, nil
		}
		return randomText()
	})
	if err != nil {
		return err
	}
	if l.config.RootPassword != "" {
		password = l.config.RootPassword
	}
	l.password = password
	if err := control.EditUser(access.Root, func(user *access.User) { user.Password = password }); err != nil {
		return err
	}
	if _, err := control.Token(access.Root, "lab"); err != nil {
		if _, err := control.AddToken(access.Root, "lab", access.Token{}); err != nil {
			return err
		}
	}
	for _, user := range l.config.Users {
		if _, err := control.User(user.ID); err == nil {
			continue
		}
		if err := control.AddUser(access.User{ID: user.ID, Password: user.Password, Enabled: true}); err != nil {
			return err
		}
		if user.Role != "" {
			path, ok := access.NormalizePath(user.Path)
			if !ok {
				return fmt.Errorf("lab: user %s: bad path %q", user.ID, user.Path)
			}
			if err := control.SetGrant(access.Grant{Path: path, Kind: "user", Who: user.ID, Role: user.Role, Propagate: true}, false); err != nil {
				return err
			}
		}
	}
	for _, token := range l.config.Tokens {
		if _, err := control.Token(token.User, token.Name); err == nil {
			continue
		}
		if _, err := control.AddToken(token.User, token.Name, access.Token{Secret: token.Secret, Separated: token.Separated}); err != nil {
			return err
		}
	}
	return nil
}

func randomText() (string, error) {
	raw := make([]byte, 12)
	if _, err := rand.Read(raw); err != nil {
		return "", fmt.Errorf("make a password: %w", err)
	}
	return hex.EncodeToString(raw), nil
}

func colons(raw []byte) string {
	parts := make([]string, len(raw))
	for i, one := range raw {
		parts[i] = fmt.Sprintf("%02X", one)
	}
	return strings.Join(parts, ":")
}

// URL is the endpoint, https://127.0.0.1:PORT, without /api2/json.
func (l *Lab) URL() string { return "https://" + l.listener.Addr().String() }

// Fingerprint is the SHA-256 of the TLS certificate.
func (l *Lab) Fingerprint() [32]byte { return l.print }

// FingerprintText is the fingerprint as PVE shows it, AA:BB:….
func (l *Lab) FingerprintText() string { return colons(l.print[:]) }

// RootToken is the id (root@pam!lab) and the secret of root's token, which has no privilege separation.
func (l *Lab) RootToken() (id, secret string) {
	secret, _ = l.Token(access.Root, "lab")
	return access.Root + "!lab", secret
}

// Token returns the secret of a token.
func (l *Lab) Token(user, name string) (string, error) {
	token, err := l.cluster.Access.Token(user, name)
	return token.Secret, err
}

// RootPassword is the password of root@pam.
func (l *Lab) RootPassword() string { return l.password }

// Faults makes the lab misbehave and holds the journal of requests.
func (l *Lab) Faults() *fault.Faults { return l.cluster.Faults }

// Control is the URL and token of the faults' HTTP endpoint; empty without ControlListen.
func (l *Lab) Control() (url, token string) {
	if l.control == nil {
		return "", ""
	}
	return l.control.URL, l.config.ControlToken
}

// Cluster is the simulated cluster itself, for tests that set up or inspect state.
func (l *Lab) Cluster() *cluster.Cluster { return l.cluster }

// StorageFolder is the real folder of one kind of content ("iso", "import", "images", …) of a storage on a node, so that files can be
// put there before or while the lab runs.
func (l *Lab) StorageFolder(node, id, content string) (string, error) {
	definition, err := l.cluster.StorageOnNode(id, node)
	if err != nil {
		return "", err
	}
	return definition.Folder(l.config.DataDir, node, content), nil
}

// AdminSocket is the unix socket for RunQM.
func (l *Lab) AdminSocket() string { return AdminSocket(l.config.DataDir) }

// Close ends the lab; closing again does nothing more. Guests keep running as far as the backend keeps them over the end of the process.
func (l *Lab) Close() error {
	l.closing.Do(func() { l.closed = l.close() })
	return l.closed
}

func (l *Lab) close() error {
	var problems []error
	if l.listener != nil {
		problems = append(problems, l.listener.Close())
	}
	if l.server != nil {
		l.server.Close()
	}
	if l.api != nil {
		l.api.Close()
	}
	if l.control != nil {
		problems = append(problems, l.control.Close())
	}
	if l.admin != nil {
		problems = append(problems, l.admin.close())
	}
	if l.cluster != nil {
		problems = append(problems, l.cluster.Close())
	}
	if l.lock != nil {
		problems = append(problems, l.lock.Close())
	}
	return errors.Join(problems...)
}

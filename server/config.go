package server

import (
	"log/slog"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"gantry/internal/config"
	"gantry/internal/logging"
	"gantry/server/account"
	"gantry/server/broker"
	"gantry/server/console"
	"gantry/server/task"
)

// Config is the broker's configuration. Start from DefaultConfig.
type Config struct {
	// Listen is "address:port" of API and panel; port 0 takes a free one.
	Listen string `yaml:"listen"`
	// TLSCertificate and TLSKey are PEM files. Both empty: plain HTTP, or TLSSelfSigned.
	TLSCertificate string `yaml:"tls_certificate"`
	TLSKey         string `yaml:"tls_key"`
	// TLSSelfSigned serves HTTPS with a certificate that is made at first start and kept in DataDir.
	TLSSelfSigned bool `yaml:"tls_self_signed"`
	// PublicURL is what browsers and billing systems open, where that differs from Listen; it goes into links.
	PublicURL string `yaml:"public_url"`
	// AdminPath is the secret path of panel and admin API, without slashes. Empty: made at first start and kept in the database.
	AdminPath string `yaml:"admin_path" secret:"true"`
	// DataDir keeps the key set and, with the embedded database, all state. It must survive restarts.
	DataDir string `yaml:"data_dir"`
	// SecretKey encrypts credentials in the database, in place of the key file in DataDir: keys of 32 random bytes in base64,
	// separated by commas (see secrets.Open). Servers that share a database need the same.
	SecretKey string `yaml:"secret_key" secret:"true"`
	// TrustedProxies are the networks whose X-Forwarded-For is believed.
	TrustedProxies []string `yaml:"trusted_proxies"`
	// Language of messages for callers that ask for none (Accept-Language): en or zh.
	Language string `yaml:"language"`

	Log      logging.Config `yaml:"log"`
	Metrics  MetricsConfig  `yaml:"metrics"`
	Database DatabaseConfig `yaml:"database"`
	Admin    AdminConfig    `yaml:"admin"`
	Tasks    TasksConfig    `yaml:"tasks"`
	Fleet    FleetConfig    `yaml:"fleet"`
	Console  ConsoleConfig  `yaml:"console"`
	Orders   OrdersConfig   `yaml:"orders"`
	Images   ImagesConfig   `yaml:"images"`

	// Logger takes the broker's log; nil means one made from Log.
	Logger *slog.Logger `yaml:"-"`
	// Boundary is for tests that kill the server at each step, see task.Config.
	Boundary func(moment task.Moment, task broker.Task) `yaml:"-"`
	// PauseScale is for tests that make things fail, see task.Config.
	PauseScale float64 `yaml:"-"`
}

// MetricsConfig is about Prometheus' /metrics.
type MetricsConfig struct {
	Enabled bool `yaml:"enabled"`
	// Listen is "address:port" of a listener of its own; empty means that of the API.
	Listen string `yaml:"listen"`
}

// DatabaseConfig says where state is kept.
type DatabaseConfig struct {
	// DSN as store.Config takes it; empty means SQLite in DataDir, see Config.DSN.
	DSN string `yaml:"dsn" secret:"true"`
}

// AdminConfig is about logins to the panel.
type AdminConfig struct {
	// TokenLifetime is how long a login lasts.
	TokenLifetime time.Duration `yaml:"token_lifetime"`
}

// TasksConfig bounds what runs at once. Workers counts for this replica, the others for all replicas together.
type TasksConfig struct {
	Workers          int `yaml:"workers"`
	PerNode          int `yaml:"per_node"`
	PerSharedStorage int `yaml:"per_shared_storage"`
	PerTemplate      int `yaml:"per_template"`
}

// FleetConfig says how often hypervisors are asked.
type FleetConfig struct {
	// PollInterval is for the state of nodes and guests: one call a cluster.
	PollInterval time.Duration `yaml:"poll_interval"`
	// DiscoverInterval is for what changes seldom: nodes, storages, bridges, versions.
	DiscoverInterval time.Duration `yaml:"discover_interval"`
}

// ConsoleConfig is about links to screens.
type ConsoleConfig struct {
	// TokenLifetime is how long an unopened link stays good.
	TokenLifetime time.Duration `yaml:"token_lifetime"`
	// SessionLifetime is how long a console may be used after the link was opened, reconnects included.
	SessionLifetime time.Duration `yaml:"session_lifetime"`
	// Proxy is the first console proxy; without a secret none is registered at start.
	Proxy ConsoleProxyConfig `yaml:"proxy"`
}

// ConsoleProxyConfig registers a `gantry vncproxy` at start.
type ConsoleProxyConfig struct {
	Name string `yaml:"name"`
	// URL is what browsers open.
	URL string `yaml:"url"`
	// Secret is what the proxy shows: its own setting "secret".
	Secret string `yaml:"secret" secret:"true"`
}

// ImagesConfig is about the catalogue of images that operators can take over.
type ImagesConfig struct {
	// CatalogueURL serves a list in the form of server/catalogue/images.json; empty means the shipped one.
	CatalogueURL string `yaml:"catalogue_url"`
}

// OrdersConfig is what an order gets that does not say, and the bounds of what is given out.
type OrdersConfig struct {
	LinuxDiskGB   int `yaml:"linux_disk_gb"`
	WindowsDiskGB int `yaml:"windows_disk_gb"`
	// VMIDFrom and VMIDTo bound the guest ids of new clusters, both inclusive.
	VMIDFrom int `yaml:"vmid_from"`
	VMIDTo   int `yaml:"vmid_to"`
	// VMIDQuarantine is how long the id of a deleted guest stays unused.
	VMIDQuarantine time.Duration `yaml:"vmid_quarantine"`
	DefaultBridge  string        `yaml:"default_bridge"`
	// DefaultLifetime sets the expiry of orders that name none; 0 = never.
	DefaultLifetime time.Duration `yaml:"default_lifetime"`
	// DeleteDays is how many days deleted machines stay in the recycle bin; 0 = they are destroyed at once.
	DeleteDays int `yaml:"delete_days"`
	// StartAfterRenewal starts machines that ran until they expired when they are renewed.
	StartAfterRenewal bool `yaml:"start_after_renewal"`
}

// DefaultConfig is a broker as it is shipped: plain HTTP on loopback behind a TLS-terminating web server, SQLite. The file
// configs/server.yaml says the same.
func DefaultConfig() Config {
	rules := broker.DefaultRules()
	return Config{
		Listen:   "127.0.0.1:8080",
		DataDir:  "/var/lib/gantry/server",
		Language: "en",
		Log:      logging.DefaultConfig(),
		Metrics:  MetricsConfig{Enabled: true},
		Admin:    AdminConfig{TokenLifetime: account.DefaultTokenLifetime},
		Tasks:    TasksConfig{Workers: 16, PerNode: 4, PerSharedStorage: 2, PerTemplate: 1},
		Fleet:    FleetConfig{PollInterval: 10 * time.Second, DiscoverInterval: 5 * time.Minute},
		Console:  ConsoleConfig{TokenLifetime: console.DefaultFirstUse, SessionLifetime: console.DefaultMaxSession, Proxy: ConsoleProxyConfig{Name: "default", URL: "http://127.0.0.1:6080"}},
		Orders: OrdersConfig{
			LinuxDiskGB: rules.LinuxDiskGB, WindowsDiskGB: rules.WindowsDiskGB,
			VMIDFrom: rules.VMIDFrom, VMIDTo: rules.VMIDTo, VMIDQuarantine: rules.Quarantine,
			DefaultBridge: rules.DefaultBridge, DefaultLifetime: rules.DefaultLifetime,
			DeleteDays: rules.DeleteDays, StartAfterRenewal: rules.StartAfterRenewal,
		},
	}
}

// Rules are the orders settings as the domain takes them.
func (c Config) Rules() broker.Rules {
	return broker.Rules{
		LinuxDiskGB: c.Orders.LinuxDiskGB, WindowsDiskGB: c.Orders.WindowsDiskGB,
		VMIDFrom: c.Orders.VMIDFrom, VMIDTo: c.Orders.VMIDTo, Quarantine: c.Orders.VMIDQuarantine,
		DefaultBridge: c.Orders.DefaultBridge, DefaultLifetime: c.Orders.DefaultLifetime,
		DeleteDays: c.Orders.DeleteDays, StartAfterRenewal: c.Orders.StartAfterRenewal,
	}
}

// DSN is Database.DSN, or what stands for it when it is empty.
func (c Config) DSN() string {
	if c.Database.DSN != "" {
		return c.Database.DSN
	}
	return "sqlite:" + filepath.Join(c.DataDir, "gantry.db")
}

// KeyFile is where secrets.Open keeps the key file when SecretKey is empty.
func (c Config) KeyFile() string { return filepath.Join(c.DataDir, "secret.key") }

// bridgeForm: Linux bounds interface names to 15 bytes (IFNAMSIZ); "/" and blanks are not allowed in them.
var bridgeForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,14}$`)

// Bounds of the guests that Gantry makes, see hypervisor.MaxNewGuestID. PVE's own are 100 to 999999999 (pve-vmid in its API schema).
const (
	lowestVMID  = 100
	highestVMID = 899999999
)

// Validate names every setting that cannot work. It touches neither disk nor network.
func (c Config) Validate() error {
	var checks config.Checks
	checks.Check("listen", config.ListenAddress(c.Listen))
	checks.Require(c.TLSKey == "" || c.TLSCertificate != "", "tls_certificate", "must be set, too, when tls_key is")
	checks.Require(c.TLSCertificate == "" || c.TLSKey != "", "tls_key", "must be set, too, when tls_certificate is")
	checks.Require(!c.TLSSelfSigned || c.TLSCertificate == "", "tls_self_signed", "can't be combined with tls_certificate")
	if c.PublicURL != "" {
		checks.Check("public_url", config.BaseURL(c.PublicURL))
	}
	if c.AdminPath != "" {
		checks.Require(account.CheckAdminPath(c.AdminPath) == nil, "admin_path",
			"must be up to 64 letters, digits, - or _ and no path that the API uses")
	}
	checks.Require(filepath.IsAbs(c.DataDir), "data_dir", "%q must be an absolute path", c.DataDir)
	for _, network := range c.TrustedProxies {
		_, err := netip.ParsePrefix(network)
		checks.Require(err == nil, "trusted_proxies", "%q must be a network such as 10.0.0.0/8", network)
	}
	if c.Metrics.Listen != "" {
		checks.Check("metrics.listen", config.ListenAddress(c.Metrics.Listen))
	}
	checks.Check("language", config.OneOf(c.Language, "en", "zh"))
	checks.Nested("log", c.Log.Validate())
	c.validateParts(&checks)
	return checks.Err()
}

func (c Config) validateParts(checks *config.Checks) {
	// What follows the kind is checked where it is opened. The complaint does not repeat it: it may hold a password.
	kind, rest, _ := strings.Cut(c.DSN(), ":")
	checks.Require((kind == "sqlite" || kind == "mysql") && strings.Trim(rest, "/") != "", "database.dsn",
		"must be sqlite:PATH or mysql://USER:PASSWORD@HOST:PORT/DATABASE")
	for _, count := range []struct {
		key   string
		value int
	}{
		{"tasks.workers", c.Tasks.Workers},
		{"tasks.per_node", c.Tasks.PerNode},
		{"tasks.per_shared_storage", c.Tasks.PerSharedStorage},
		{"tasks.per_template", c.Tasks.PerTemplate},
		{"orders.linux_disk_gb", c.Orders.LinuxDiskGB},
		{"orders.windows_disk_gb", c.Orders.WindowsDiskGB},
	} {
		checks.Require(count.value >= 1, count.key, "must be at least 1")
	}
	for _, period := range []struct {
		key          string
		value, least time.Duration
	}{
		{"admin.token_lifetime", c.Admin.TokenLifetime, time.Minute},
		{"fleet.poll_interval", c.Fleet.PollInterval, time.Second},
		{"fleet.discover_interval", c.Fleet.DiscoverInterval, time.Second},
		{"console.token_lifetime", c.Console.TokenLifetime, time.Second},
		{"console.session_lifetime", c.Console.SessionLifetime, time.Second},
		{"orders.vmid_quarantine", c.Orders.VMIDQuarantine, 0},
		{"orders.default_lifetime", c.Orders.DefaultLifetime, 0},
	} {
		checks.Require(period.value >= period.least, period.key, "must be at least %s", period.least)
	}
	checks.Require(0 <= c.Orders.DeleteDays && c.Orders.DeleteDays <= broker.MaxDeleteDays, "orders.delete_days", "must be from 0 to %d", broker.MaxDeleteDays)
	if proxy := c.Console.Proxy; proxy.Secret != "" {
		checks.Require(proxy.Name != "" && len(proxy.Name) <= 100, "console.proxy.name", "must have 1 to 100 characters")
		checks.Check("console.proxy.url", config.BaseURL(proxy.URL))
	}
	if c.Images.CatalogueURL != "" {
		address, err := url.Parse(c.Images.CatalogueURL)
		checks.Require(err == nil && (address.Scheme == "http" || address.Scheme == "https") && address.Host != "",
			"images.catalogue_url", "must be an http:// or https:// URL")
	}
	inRange := func(vmid int) bool { return lowestVMID <= vmid && vmid <= highestVMID }
	checks.Require(inRange(c.Orders.VMIDFrom), "orders.vmid_from", "must be from %d to %d", lowestVMID, highestVMID)
	checks.Require(inRange(c.Orders.VMIDTo), "orders.vmid_to", "must be from %d to %d", lowestVMID, highestVMID)
	checks.Require(c.Orders.VMIDFrom <= c.Orders.VMIDTo, "orders.vmid_to", "must not be below orders.vmid_from")
	checks.Require(bridgeForm.MatchString(c.Orders.DefaultBridge), "orders.default_bridge", "%q is no name of a bridge", c.Orders.DefaultBridge)
}

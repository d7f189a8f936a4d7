package vncproxy

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"time"

	"gantry/internal/tlspin"
)

// Config is the console proxy's configuration. Start from DefaultConfig.
type Config struct {
	// Listen is "address:port" of the only listener that browsers need; port 0 takes a free one.
	Listen string `yaml:"listen" koanf:"listen"`
	// TLSCertificate and TLSKey are PEM files. Both empty: plain HTTP, or TLSSelfSigned.
	TLSCertificate string `yaml:"tls_certificate" koanf:"tls_certificate"`
	TLSKey         string `yaml:"tls_key" koanf:"tls_key"`
	// TLSSelfSigned serves HTTPS with a certificate that is made at first start and kept in DataDir.
	TLSSelfSigned bool   `yaml:"tls_self_signed" koanf:"tls_self_signed"`
	DataDir       string `yaml:"data_dir" koanf:"data_dir"`
	// PublicURL is what browsers open, where that differs from Listen (a reverse proxy in front). An https URL marks cookies Secure.
	PublicURL string `yaml:"public_url" koanf:"public_url"`
	// AllowedOrigins are further origins (scheme://host[:port]) whose pages may open consoles. The proxy's own always may.
	AllowedOrigins []string `yaml:"allowed_origins" koanf:"allowed_origins"`
	// TrustedProxies are the networks whose X-Forwarded-For is believed.
	TrustedProxies []string `yaml:"trusted_proxies" koanf:"trusted_proxies"`
	// MetricsListen is "address:port" of a second listener with /metrics; empty turns it off.
	MetricsListen string `yaml:"metrics_listen" koanf:"metrics_listen"`

	// Server is the broker's base URL, Secret what this proxy shows there. ServerPin is the SHA-256 of the broker's certificate
	// where it is self-signed.
	Server    string `yaml:"server" koanf:"server"`
	Secret    string `yaml:"secret" koanf:"secret" secret:"true"`
	ServerPin string `yaml:"server_pin" koanf:"server_pin"`

	// Limits on open consoles: of this proxy, of one virtual machine, of one client address.
	MaxSessions          int `yaml:"max_sessions" koanf:"max_sessions"`
	MaxSessionsPerVM     int `yaml:"max_sessions_per_vm" koanf:"max_sessions_per_vm"`
	MaxSessionsPerClient int `yaml:"max_sessions_per_client" koanf:"max_sessions_per_client"`

	// RedeemTimeout bounds the question to the broker, which asks the hypervisor for a ticket meanwhile.
	RedeemTimeout time.Duration `yaml:"redeem_timeout" koanf:"redeem_timeout"`
	// ConnectTimeout bounds dialling the target and its RFB opening, and again the browser's RFB opening.
	ConnectTimeout time.Duration `yaml:"connect_timeout" koanf:"connect_timeout"`
	// PasswordTimeout is how long somebody may take to type the password of a console that has one.
	PasswordTimeout time.Duration `yaml:"password_timeout" koanf:"password_timeout"`
	// IdleTimeout ends a console without a key press or pointer movement for so long.
	IdleTimeout time.Duration `yaml:"idle_timeout" koanf:"idle_timeout"`
	// StallTimeout ends a console whose browser or target takes no data for so long.
	StallTimeout time.Duration `yaml:"stall_timeout" koanf:"stall_timeout"`
	// PingInterval keeps middle boxes awake and finds dead peers.
	PingInterval time.Duration `yaml:"ping_interval" koanf:"ping_interval"`
	// CheckInterval is how often the broker is asked which consoles have to end.
	CheckInterval time.Duration `yaml:"check_interval" koanf:"check_interval"`
	// ShutdownTimeout is how long consoles get to say goodbye when the proxy stops.
	ShutdownTimeout time.Duration `yaml:"shutdown_timeout" koanf:"shutdown_timeout"`

	// Logger takes the proxy's log; nil means slog.Default().
	Logger *slog.Logger `yaml:"-" koanf:"-"`
}

// DefaultConfig is a proxy as it is shipped: plain HTTP on loopback, behind a TLS-terminating web server or for a demo.
func DefaultConfig() Config {
	return Config{
		Listen:               "127.0.0.1:6080",
		DataDir:              "/var/lib/gantry/vncproxy",
		Server:               "http://127.0.0.1:8080",
		MaxSessions:          5000,
		MaxSessionsPerVM:     4,
		MaxSessionsPerClient: 64,
		RedeemTimeout:        30 * time.Second,
		ConnectTimeout:       10 * time.Second,
		PasswordTimeout:      time.Minute,
		IdleTimeout:          30 * time.Minute,
		StallTimeout:         30 * time.Second,
		PingInterval:         30 * time.Second,
		CheckInterval:        10 * time.Second,
		ShutdownTimeout:      10 * time.Second,
	}
}

// Validate names every setting that cannot work.
func (c Config) Validate() error {
	var problems []error
	complain := func(bad bool, text string) {
		if bad {
			problems = append(problems, errors.New(text))
		}
	}
	complain(!isAddress(c.Listen), "listen: must be address:port")
	complain(c.MetricsListen != "" && !isAddress(c.MetricsListen), "metrics_listen: must be address:port or empty")
	complain((c.TLSCertificate == "") != (c.TLSKey == ""), "tls_certificate and tls_key: give both or none")
	complain(c.TLSSelfSigned && c.TLSCertificate != "", "tls_self_signed: can't be combined with tls_certificate")
	complain(c.TLSSelfSigned && c.DataDir == "", "data_dir: is needed by tls_self_signed")
	complain(c.PublicURL != "" && !isWebURL(c.PublicURL), "public_url: must be an http:// or https:// URL")
	complain(!isWebURL(c.Server), "server: must be an http:// or https:// URL")
	complain(c.Secret == "", "secret: must be set")
	for _, origin := range c.AllowedOrigins {
		complain(!isOrigin(origin), fmt.Sprintf("allowed_origins: %q must be scheme://host[:port]", origin))
	}
	for _, network := range c.TrustedProxies {
		_, err := netip.ParsePrefix(network)
		complain(err != nil, fmt.Sprintf("trusted_proxies: %q must be a network such as 10.0.0.0/8", network))
	}
	if c.ServerPin != "" {
		_, err := tlspin.Parse(c.ServerPin)
		complain(err != nil, "server_pin: must be a SHA-256 fingerprint in hexadecimal")
	}
	for _, limit := range []struct {
		name  string
		value int
	}{
		{"max_sessions", c.MaxSessions}, {"max_sessions_per_vm", c.MaxSessionsPerVM}, {"max_sessions_per_client", c.MaxSessionsPerClient},
	} {
		complain(limit.value < 1, limit.name+": must be at least 1")
	}
	for _, period := range []struct {
		name  string
		value time.Duration
	}{
		{"redeem_timeout", c.RedeemTimeout}, {"connect_timeout", c.ConnectTimeout}, {"password_timeout", c.PasswordTimeout}, {"idle_timeout", c.IdleTimeout},
		{"stall_timeout", c.StallTimeout}, {"ping_interval", c.PingInterval}, {"check_interval", c.CheckInterval},
		{"shutdown_timeout", c.ShutdownTimeout},
	} {
		complain(period.value <= 0, period.name+": must be positive")
	}
	return errors.Join(problems...)
}

func isAddress(text string) bool {
	_, _, err := net.SplitHostPort(text)
	return err == nil
}

func isWebURL(text string) bool {
	parsed, err := url.Parse(text)
	return err == nil && parsed.Host != "" && (parsed.Scheme == "http" || parsed.Scheme == "https")
}

func isOrigin(text string) bool {
	parsed, err := url.Parse(text)
	return err == nil && isWebURL(text) && text == parsed.Scheme+"://"+parsed.Host
}

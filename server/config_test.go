package server

import (
	"errors"
	"strings"
	"testing"

	"gantry/internal/config"
	"gantry/server/broker"
)

func TestDefaultConfigIsValid(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	if got, want := DefaultConfig().Rules(), broker.DefaultRules(); got != want {
		t.Errorf("rules %+v, want those of the domain %+v", got, want)
	}
}

func TestDSN(t *testing.T) {
	settings := DefaultConfig()
	settings.DataDir = "/data"
	if got := settings.DSN(); got != "sqlite:/data/gantry.db" {
		t.Errorf("without a DSN: %q", got)
	}
	settings.Database.DSN = "mysql://db/gantry"
	if got := settings.DSN(); got != "mysql://db/gantry" {
		t.Errorf("with a DSN: %q", got)
	}
}

func TestConfigValues(t *testing.T) {
	const (
		atLeast1 = "must be at least 1"
		vmid     = "must be from 100 to 899999999"
		dsn      = "must be sqlite:PATH or mysql://USER:PASSWORD@HOST:PORT/DATABASE"
		path     = "must be up to 64 letters, digits, - or _ and no path that the API uses"
	)
	for _, test := range []struct {
		settings string // key=value, blank-separated
		want     string // less the source; "" means valid
	}{
		{"listen=:8080 public_url=https://panel.example.com", ""},
		{"listen=8080", `listen: "8080" is not address:port`},
		{"listen=example.com:80", `listen: "example.com:80" does not start with an IP address`},
		{"tls_certificate=/c.pem tls_key=/k.pem", ""},
		{"tls_certificate=/c.pem", "tls_key: must be set, too, when tls_certificate is"},
		{"tls_key=/k.pem", "tls_certificate: must be set, too, when tls_key is"},
		{"tls_self_signed=true", ""},
		{"tls_self_signed=true tls_certificate=/c.pem tls_key=/k.pem", "tls_self_signed: can't be combined with tls_certificate"},
		{"tls_self_signed=1", `tls_self_signed: "1" is neither true nor false`},
		{"public_url=panel.example.com", `public_url: "panel.example.com" is not an http:// or https:// URL`},
		{"public_url=https://u:p@h", "public_url: must not hold a user name or password"},
		{"admin_path=Abc_-123", ""},
		{"admin_path=metrics", "admin_path: " + path},
		{"admin_path=/withslash", "admin_path: " + path},
		{"admin_path=" + strings.Repeat("a", 65), "admin_path: " + path},
		{"data_dir=var/gantry", `data_dir: "var/gantry" must be an absolute path`},
		{"trusted_proxies=10.0.0.0/8,fd00::/8", ""},
		{"trusted_proxies=10.0.0.1", `trusted_proxies: "10.0.0.1" must be a network such as 10.0.0.0/8`},
		{"metrics.listen=127.0.0.1:9108 metrics.enabled=false", ""},
		{"metrics.listen=on", `metrics.listen: "on" is not address:port`},
		{"language=zh", ""},
		{"language=de", `language: "de" must be en or zh`},
		{"log.level=loud", `log.level: "loud" must be debug, info, warn or error`},
		{"log.format=xml", `log.format: "xml" must be json or text`},
		{"database.dsn=sqlite:/var/lib/gantry.db", ""},
		{"database.dsn=mysql://gantry:pw@127.0.0.1:3306/gantry", ""},
		{"database.dsn=mysql:gantry:pw@unix(/run/mysqld/mysqld.sock)/gantry", ""},
		{"database.dsn=postgres://gantry:hunter2@db/gantry", "database.dsn: " + dsn},
		{"database.dsn=gantry:hunter2@tcp(db:3306)/gantry", "database.dsn: " + dsn},
		{"database.dsn=sqlite:", "database.dsn: " + dsn},
		{"database.dsn=mysql://", "database.dsn: " + dsn},
		{"admin.token_lifetime=59s", "admin.token_lifetime: must be at least 1m0s"},
		{"tasks.workers=0", "tasks.workers: " + atLeast1},
		{"tasks.per_node=-1", "tasks.per_node: " + atLeast1},
		{"tasks.per_shared_storage=0", "tasks.per_shared_storage: " + atLeast1},
		{"tasks.per_template=0", "tasks.per_template: " + atLeast1},
		{"tasks.per_template=two", `tasks.per_template: "two" is not a whole number`},
		{"fleet.poll_interval=10", `fleet.poll_interval: "10" is not a duration such as 10s, 5m or 24h`},
		{"fleet.poll_interval=10ms", "fleet.poll_interval: must be at least 1s"},
		{"fleet.discover_interval=0s", "fleet.discover_interval: must be at least 1s"},
		{"console.token_lifetime=0s", "console.token_lifetime: must be at least 1s"},
		{"console.session_lifetime=-1h", "console.session_lifetime: must be at least 1s"},
		{"console.proxy.secret=x", ""},
		{"console.proxy.url=", ""},
		{"console.proxy.secret=x console.proxy.url=console.example.com", `console.proxy.url: "console.example.com" is not an http:// or https:// URL`},
		{"console.proxy.secret=x console.proxy.name=", "console.proxy.name: must have 1 to 100 characters"},
		{"images.catalogue_url=https://images.example.com/list.json", ""},
		{"images.catalogue_url=/etc/list.json", "images.catalogue_url: must be an http:// or https:// URL"},
		{"orders.linux_disk_gb=0", "orders.linux_disk_gb: " + atLeast1},
		{"orders.windows_disk_gb=0", "orders.windows_disk_gb: " + atLeast1},
		{"orders.vmid_from=99", "orders.vmid_from: " + vmid},
		{"orders.vmid_to=900000000", "orders.vmid_to: " + vmid},
		{"orders.vmid_from=200 orders.vmid_to=199", "orders.vmid_to: must not be below orders.vmid_from"},
		{"orders.vmid_from=200 orders.vmid_to=200", ""},
		{"orders.vmid_quarantine=0s orders.default_lifetime=0s", ""},
		{"orders.vmid_quarantine=-1s", "orders.vmid_quarantine: must be at least 0s"},
		{"orders.default_lifetime=-1s", "orders.default_lifetime: must be at least 0s"},
		{"orders.default_bridge=vmbr0.100", ""},
		{"orders.default_bridge=vmbr0,tag=1", `orders.default_bridge: "vmbr0,tag=1" is no name of a bridge`},
		{"orders.default_bridge=", `orders.default_bridge: "" is no name of a bridge`},
	} {
		var flags []config.Flag
		for _, setting := range strings.Fields(test.settings) {
			flag, err := config.ParseSet(setting)
			if err != nil {
				t.Fatal(err)
			}
			flags = append(flags, flag)
		}
		_, err := config.Load(DefaultConfig(), config.Sources{Program: "server", Flags: flags})
		var problems *config.Problems
		switch {
		case err == nil && test.want != "":
			t.Errorf("%s: accepted, want %q", test.settings, test.want)
		case err != nil && (!errors.As(err, &problems) || strings.TrimPrefix(err.Error(), "--set: ") != test.want):
			t.Errorf("%s: %v, want %q", test.settings, err, test.want)
		}
	}
}

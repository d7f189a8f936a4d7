package lint

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// project loads compose.yaml as `docker compose` does, beside the secrets that its comment says to make.
func project(t *testing.T) *types.Project {
	t.Helper()
	dir := t.TempDir()
	content, err := os.ReadFile(root + "compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "compose.yaml")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	makeSecrets(t, filepath.Join(dir, "secrets"))
	options, err := cli.NewProjectOptions([]string{file}, cli.WithWorkingDirectory(dir), cli.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if loaded, err = loaded.WithServicesEnvironmentResolved(true); err != nil {
		t.Fatal(err)
	}
	return loaded
}

func makeSecrets(t *testing.T, folder string) {
	t.Helper()
	if out, err := exec.Command(root+"scripts/make-secrets.sh", folder).CombinedOutput(); err != nil {
		t.Fatalf("make-secrets.sh: %v %s", err, out)
	}
}

func TestCompose(t *testing.T) {
	loaded := project(t)
	for _, service := range loaded.Services {
		if err := pinned(service.Image); err != nil && service.Name == "mysql" {
			t.Errorf("%s: image %s %v", service.Name, service.Image, err)
		}
		for _, port := range service.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is open to the world without TLS", service.Name, port.Published)
			}
		}
		for name := range service.DependsOn {
			if service.DependsOn[name].Condition != types.ServiceConditionHealthy {
				t.Errorf("%s does not wait until %s is healthy", service.Name, name)
			}
		}
		if service.Name == "mysql" {
			continue
		}
		if !service.ReadOnly || len(service.CapDrop) != 1 || service.CapDrop[0] != "ALL" {
			t.Errorf("%s may do more than it has to", service.Name)
		}
		if service.Command[0] != service.Name {
			t.Errorf("%s runs %v", service.Name, service.Command)
		}
	}
	if test := loaded.Services["vncproxy"].HealthCheck.Test; strings.Join(test, " ") != "CMD /gantry vncproxy health" {
		t.Errorf("vncproxy is not asked for its own health: %v", test)
	}
	if test := loaded.Services["mysql"].HealthCheck; test == nil || len(test.Test) == 0 {
		t.Error("mysql has no health check")
	}
}

// Both sides of each password agree.
func TestComposeSecrets(t *testing.T) {
	services := project(t).Services
	value := func(service, name string) string {
		if found := services[service].Environment[name]; found != nil {
			return *found
		}
		return ""
	}
	password := value("mysql", "MYSQL_PASSWORD")
	if len(password) < 40 {
		t.Errorf("MySQL's password is %q", password)
	}
	want := "mysql://" + value("mysql", "MYSQL_USER") + ":" + password + "@mysql:3306/" + value("mysql", "MYSQL_DATABASE")
	if got := value("server", "GANTRY_SERVER_DATABASE_DSN"); got != want {
		t.Errorf("the server's DSN is %q, want %q", got, want)
	}
	secret := value("vncproxy", "GANTRY_VNCPROXY_SECRET")
	if len(secret) < 40 || secret == password {
		t.Errorf("the console proxy's secret is %q", secret)
	}
	if got := value("server", "GANTRY_SERVER_CONSOLE_PROXY_SECRET"); got != secret {
		t.Errorf("the server knows %q as the console proxy's secret %q", got, secret)
	}
}

func TestMakeSecretsKeepsWhatIsThere(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "secrets")
	makeSecrets(t, folder)
	before := read(t, folder)
	makeSecrets(t, folder)
	if after := read(t, folder); after != before {
		t.Error("a second run changed secrets")
	}
	if err := os.Remove(filepath.Join(folder, "mysql.env")); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(root+"scripts/make-secrets.sh", folder).CombinedOutput(); err == nil || !strings.Contains(string(out), "share passwords") {
		t.Errorf("part of the files: %v %s", err, out)
	}
}

func read(t *testing.T, folder string) string {
	t.Helper()
	var all strings.Builder
	for _, name := range []string{"mysql.env", "server.env", "vncproxy.env"} {
		path := filepath.Join(folder, name)
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v %v", name, info.Mode(), err)
		}
		all.Write(content)
	}
	return all.String()
}

package config

import (
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// program has a setting of each type that the loader knows.
type program struct {
	Listen   string        `yaml:"listen"`
	Workers  int           `yaml:"workers"`
	Port     uint16        `yaml:"port"`
	Ratio    float64       `yaml:"ratio"`
	Wait     time.Duration `yaml:"wait"`
	Verbose  bool          `yaml:"verbose"`
	Room     int64         `yaml:"room_bytes"`
	Folders  []string      `yaml:"folders"`
	Levels   []slog.Level  `yaml:"levels"`
	Level    slog.Level    `yaml:"level"`
	Database database      `yaml:"database"`
	Ignored  *slog.Logger  `yaml:"-"`
	embedded
}

type database struct {
	DSN   string `yaml:"dsn" secret:"true"`
	Size  int    `yaml:"size"`
	Codes []int  `yaml:"codes" secret:"true"`
}

type embedded struct {
	Motto string `yaml:"motto"`
}

func (p program) Validate() error {
	var checks Checks
	checks.Require(p.Workers >= 1, "workers", "must be at least %d", 1)
	checks.Check("listen", ListenAddress(p.Listen))
	checks.Nested("database", errors.Join(checkSize(p.Database.Size)))
	return checks.Err()
}

func checkSize(size int) error {
	if size < 0 {
		return errors.New("size: must not be negative")
	}
	return nil
}

func defaults() program {
	return program{
		Listen: "127.0.0.1:1", Workers: 4, Wait: time.Second, Room: 1 << 30,
		Folders: []string{"/a", "/b", "/c"}, Database: database{DSN: "default", Size: 3},
	}
}

// load puts the YAML into a file named test.yaml and takes "--key=value" for flags. The folder's name is cut out of errors.
func load(t *testing.T, yaml string, environment []string, flags ...string) (program, string) {
	t.Helper()
	dir := t.TempDir()
	sources := Sources{Program: "test", Environment: environment}
	if yaml != "" {
		sources.File = filepath.Join(dir, "test.yaml")
		if err := os.WriteFile(sources.File, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, flag := range flags {
		parsed, err := ParseSet(flag)
		if err != nil {
			t.Fatal(err)
		}
		sources.Flags = append(sources.Flags, parsed)
	}
	got, err := Load(defaults(), sources)
	if err == nil {
		return got, ""
	}
	var problems *Problems
	if !errors.As(err, &problems) || len(problems.List) == 0 {
		t.Fatalf("%v is no *Problems", err)
	}
	if !reflect.DeepEqual(got, program{}) {
		t.Errorf("settings in spite of an error: %+v", got)
	}
	return got, strings.ReplaceAll(err.Error(), dir+"/", "")
}

func TestLoadLayers(t *testing.T) {
	change := func(edit func(*program)) program {
		want := defaults()
		edit(&want)
		return want
	}
	for _, test := range []struct {
		name        string
		yaml        string
		environment []string
		flags       []string
		want        program
	}{
		{name: "defaults", want: defaults()},
		{name: "only comments", yaml: "# nothing\n", want: defaults()},
		{name: "empty document", yaml: "---\n", want: defaults()},
		{name: "section without lines", yaml: "database:\n  # dsn: x\nlisten:\n", want: defaults()},
		{name: "file", yaml: "workers: 9\ndatabase:\n  size: 7\n", want: change(func(p *program) { p.Workers = 9; p.Database.Size = 7 })},
		{name: "environment over file", yaml: "workers: 9\nwait: 3s\n", environment: []string{"GANTRY_TEST_WORKERS=10", "HOME=/root"},
			want: change(func(p *program) { p.Workers = 10; p.Wait = 3 * time.Second })},
		{name: "flag over environment", environment: []string{"GANTRY_TEST_WORKERS=10", "GANTRY_TEST_DATABASE_SIZE=1"}, flags: []string{"workers=11"},
			want: change(func(p *program) { p.Workers = 11; p.Database.Size = 1 })},
		{name: "last flag wins", flags: []string{"workers=11", "workers=12"}, want: change(func(p *program) { p.Workers = 12 })},
		{name: "scalars as written", yaml: "motto: 1.10\nworkers: 010\n", want: change(func(p *program) { p.Motto = "1.10"; p.Workers = 10 })},
		{name: "yes is text", yaml: "motto: yes\n", want: change(func(p *program) { p.Motto = "yes" })},
		{name: "quoted empty", yaml: "motto: \"\"\nlisten: \"[::1]:2\"\n", want: change(func(p *program) { p.Listen = "[::1]:2" })},
		{name: "every type", yaml: "port: 65535\nratio: 0.5\nwait: 1h30m\nverbose: true\nroom_bytes: 256GiB\nlevel: warn\nlevels: [debug, \"error\"]\n",
			want: change(func(p *program) {
				p.Port, p.Ratio, p.Wait, p.Verbose, p.Room, p.Level = 65535, 0.5, 90*time.Minute, true, 256<<30, slog.LevelWarn
				p.Levels = []slog.Level{slog.LevelDebug, slog.LevelError}
			})},
		{name: "a list replaces the default", yaml: "folders: [/x]\n", want: change(func(p *program) { p.Folders = []string{"/x"} })},
		{name: "a list by commas", environment: []string{"GANTRY_TEST_FOLDERS=/x, /y"}, want: change(func(p *program) { p.Folders = []string{"/x", "/y"} })},
		{name: "an empty list", flags: []string{"folders="}, want: change(func(p *program) { p.Folders = []string{} })},
		{name: "plain bytes", flags: []string{"room_bytes=1000"}, want: change(func(p *program) { p.Room = 1000 })},
		{name: "value with =", flags: []string{"motto=a=b"}, want: change(func(p *program) { p.Motto = "a=b" })},
		{name: "Kubernetes service links", environment: []string{
			"GANTRY_TEST_SERVICE_HOST=10.0.0.1", "GANTRY_TEST_SERVICE_PORT=80", "GANTRY_TEST_SERVICE_PORT_HTTP=80",
			"GANTRY_TEST_PORT_80_TCP=tcp://10.0.0.1:80", "GANTRY_TEST_PORT_80_TCP_ADDR=10.0.0.1",
		}, want: defaults()},
		{name: "the file's own variable", environment: []string{"GANTRY_TEST_CONFIG=/etc/x.yaml"}, want: defaults()},
		{name: "other programs", environment: []string{"GANTRY_TESTING=1", "GANTRY_SERVER_LISTEN=x"}, want: defaults()},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, problem := load(t, test.yaml, test.environment, test.flags...)
			if problem != "" {
				t.Fatal(problem)
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
		})
	}
}

func TestLoadProblems(t *testing.T) {
	for _, test := range []struct {
		name        string
		yaml        string
		environment []string
		flags       []string
		want        string
	}{
		{name: "unknown key", yaml: "# first\nlistn: x\n", want: "test.yaml:2: listn: unknown setting, did you mean listen?"},
		{name: "unknown key far off", yaml: "zebra_crossing: x\n", want: "test.yaml:1: zebra_crossing: unknown setting"},
		{name: "unknown nested key", yaml: "database:\n  sise: 3\n", want: "test.yaml:2: database.sise: unknown setting, did you mean database.size?"},
		{name: "key outside its section", yaml: "size: 3\n", want: "test.yaml:1: size: unknown setting, did you mean database.size?"},
		{name: "unknown key without value", yaml: "zebra:\n", want: "test.yaml:1: zebra: unknown setting"},
		{name: "unknown block", yaml: "zebra:\n  a: 1\n", want: "test.yaml:1: zebra: unknown setting"},
		{name: "ignored field", yaml: "ignored: x\n", want: "test.yaml:1: ignored: unknown setting"},
		{name: "section with a value", yaml: "database: 3\n", want: `test.yaml:1: database: must be a block of "key: value" lines`},
		{name: "section by flag", flags: []string{"database=3"}, want: "--set: database: is a section and has no value of its own"},
		{name: "block for a value", yaml: "listen:\n  port: 1\n", want: "test.yaml:2: listen: takes a value, not a block"},
		{name: "list for a value", yaml: "listen: [a]\n", want: "test.yaml:1: listen: takes one value, not a list"},
		{name: "list of blocks", yaml: "folders:\n  - path: /a\n", want: "test.yaml:2: folders: takes a list of plain values"},
		{name: "list as root", yaml: "- a\n", want: `test.yaml:1: must be a block of "key: value" lines`},
		{name: "alias", yaml: "listen: &a x\nmotto: *a\n", want: "test.yaml:2: motto: YAML aliases are not supported"},
		{name: "twice", yaml: "listen: a:1\nlisten: b:2\n", want: "test.yaml:2: listen: is set twice, also on line 1"},
		{name: "two documents", yaml: "workers: 1\n---\nworkers: 2\n", want: "test.yaml: holds more than one YAML document"},
		{name: "no YAML", yaml: "listen: [\n", want: "test.yaml: line 1: did not find expected node content"},
		{name: "number", yaml: "workers: four\n", want: `test.yaml:1: workers: "four" is not a whole number`},
		{name: "fraction", yaml: "workers: 2.5\n", want: `test.yaml:1: workers: "2.5" is not a whole number`},
		{name: "empty number", environment: []string{"GANTRY_TEST_WORKERS="}, want: `GANTRY_TEST_WORKERS: workers: "" is not a whole number`},
		{name: "hexadecimal", flags: []string{"workers=0x10"}, want: `--set: workers: "0x10" is not a whole number`},
		{name: "below zero", flags: []string{"port=-1"}, want: `--set: port: "-1" is not a whole number from 0 up`},
		{name: "too large", flags: []string{"port=65536"}, want: `--set: port: "65536" is not a whole number from 0 up`},
		{name: "no number", flags: []string{"ratio=NaN"}, want: `--set: ratio: "NaN" is not a number`},
		{name: "duration without unit", yaml: "wait: 10\n", want: `test.yaml:1: wait: "10" is not a duration such as 10s, 5m or 24h`},
		{name: "size", yaml: "room_bytes: 5 apples\n", want: `test.yaml:1: room_bytes: "5 apples" is not a size such as 512MiB or 256GiB`},
		{name: "size below zero", flags: []string{"room_bytes=-1"}, want: `--set: room_bytes: "-1" is not a size such as 512MiB or 256GiB`},
		{name: "size too large", flags: []string{"room_bytes=16EiB"}, want: `--set: room_bytes: "16EiB" is not a size such as 512MiB or 256GiB`},
		{name: "boolean", yaml: "verbose: yes\n", want: `test.yaml:1: verbose: "yes" is neither true nor false`},
		{name: "list item", flags: []string{"levels=info,nowhere"}, want: `--set: levels: "nowhere" is not valid here`},
		{name: "level", yaml: "level: loud\n", want: `test.yaml:1: level: "loud" is not valid here`},
		{name: "long value", flags: []string{"workers=" + strings.Repeat("9", 200)}, want: `--set: workers: "` + strings.Repeat("9", 80) + `…" is not a whole number`},
		{name: "secret value", flags: []string{"database.codes=12,S3CRET"}, want: "--set: database.codes: its value is not a whole number"},
		{name: "unknown variable", environment: []string{"GANTRY_TEST_WORKER=1"}, want: "GANTRY_TEST_WORKER: unknown environment variable, did you mean GANTRY_TEST_WORKERS?"},
		{name: "unknown variable far off", environment: []string{"GANTRY_TEST_ZEBRA_CROSSING=1"}, want: "GANTRY_TEST_ZEBRA_CROSSING: unknown environment variable"},
		{name: "unknown flag", flags: []string{"databse.size=1"}, want: "--set: databse.size: unknown setting, did you mean database.size?"},
		{name: "file for what is no secret", environment: []string{"GANTRY_TEST_LISTEN_FILE=/x"}, want: "GANTRY_TEST_LISTEN_FILE: unknown environment variable, did you mean GANTRY_TEST_LISTEN?"},
		{name: "secret file missing", environment: []string{"GANTRY_TEST_DATABASE_DSN_FILE=/no/such"}, want: "GANTRY_TEST_DATABASE_DSN_FILE: database.dsn_file: open /no/such: no such file or directory"},
		{name: "secret file empty", yaml: "database:\n  dsn_file: \"\"\n", want: "test.yaml:2: database.dsn_file: must be the path of a file"},
		{name: "secret twice", yaml: "database:\n  dsn: a\n  dsn_file: " + os.DevNull + "\n", want: "test.yaml:3: database.dsn: is set twice, also by test.yaml:2"},
		{name: "validation names the place", yaml: "\nworkers: 0\n", want: "test.yaml:2: workers: must be at least 1"},
		{name: "validation of a section", environment: []string{"GANTRY_TEST_DATABASE_SIZE=-1"}, want: "GANTRY_TEST_DATABASE_SIZE: database.size: must not be negative"},
		{name: "all at once", yaml: "workers: x\nlistn: y\n", environment: []string{"GANTRY_TEST_PORT=z"}, flags: []string{"wait=w"}, want: `test.yaml:1: workers: "x" is not a whole number
test.yaml:2: listn: unknown setting, did you mean listen?
GANTRY_TEST_PORT: port: "z" is not a whole number from 0 up
--set: wait: "w" is not a duration such as 10s, 5m or 24h`},
		{name: "all of validation", flags: []string{"workers=0", "listen=nowhere"}, want: `--set: workers: must be at least 1
--set: listen: "nowhere" is not address:port`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, got := load(t, test.yaml, test.environment, test.flags...); !sameLines(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

// sameLines leaves the order open.
func sameLines(got, want string) bool {
	count := map[string]int{}
	for line := range strings.Lines(got + "\n") {
		count[line]++
	}
	for line := range strings.Lines(want + "\n") {
		count[line]--
	}
	for _, left := range count {
		if left != 0 {
			return false
		}
	}
	return true
}

func TestSecretFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, test := range []struct{ content, want string }{
		{"hunter2", "hunter2"}, {"hunter2\n", "hunter2"}, {"hunter2\r\n", "hunter2"}, {" two\nlines\n\n", " two\nlines\n"}, {"", ""},
	} {
		path := write("secret", test.content)
		for _, source := range []string{"file", "environment", "flag"} {
			var got program
			var problem string
			switch source {
			case "file":
				got, problem = load(t, "database:\n  dsn_file: "+path+"\n", nil)
			case "environment":
				got, problem = load(t, "database:\n  dsn: other\n", []string{"GANTRY_TEST_DATABASE_DSN_FILE=" + path})
			case "flag":
				got, problem = load(t, "", []string{"GANTRY_TEST_DATABASE_DSN=other"}, "database.dsn_file="+path)
			}
			if problem != "" || got.Database.DSN != test.want {
				t.Errorf("%s with %q: %q %s, want %q", source, test.content, got.Database.DSN, problem, test.want)
			}
		}
	}
	large := write("large", strings.Repeat("x", maxSecretBytes+1))
	if _, problem := load(t, "", []string{"GANTRY_TEST_DATABASE_DSN_FILE=" + large}); !strings.HasSuffix(problem, "is larger than 64 KiB") {
		t.Errorf("large secret: %q", problem)
	}
}

func TestFileProblems(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(large, []byte(strings.Repeat("# x\n", maxFileBytes/4+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ path, want string }{
		{dir + "/absent.yaml", "open " + dir + "/absent.yaml: no such file or directory"},
		{dir, "read " + dir + ": is a directory"},
		{large, large + " is larger than 1024 KiB"},
	} {
		if _, err := Load(defaults(), Sources{Program: "test", File: test.path}); err == nil || err.Error() != test.want {
			t.Errorf("%s: %v, want %s", test.path, err, test.want)
		}
	}
}

func TestDefaultsStayUntouched(t *testing.T) {
	shipped := defaults()
	if _, err := Load(shipped, Sources{Program: "test", Flags: []Flag{{Key: "folders", Value: "/x,/y"}}}); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(shipped, defaults()) {
		t.Errorf("Load changed the defaults it was given: %+v", shipped.Folders)
	}
}

func TestUnloadableTypes(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{loadError[struct{ A int }](), "has no yaml tag"},
		{loadError[struct {
			A map[string]int `yaml:"a"`
		}](), "setting a has type map[string]int, which can't be loaded"},
		{loadError[struct {
			A []struct{} `yaml:"a"`
		}](), "which can't be loaded"},
		{loadError[struct {
			A []netip.Prefix `yaml:"a"`
		}](), "which can't be loaded"},
		{loadError[struct {
			A string `yaml:"b_c"`
			B struct {
				C string `yaml:"c"`
			} `yaml:"b"`
		}](), "have the same environment variable"},
		{loadError[int](), "settings must be a struct"},
	} {
		if test.err == nil || !strings.Contains(test.err.Error(), test.want) {
			t.Errorf("%v, want %q", test.err, test.want)
		}
	}
}

func loadError[T any]() error {
	var zero T
	_, err := Load(zero, Sources{})
	return err
}

func TestLocate(t *testing.T) {
	dir := t.TempDir()
	standard := filepath.Join(dir, "server.yaml")
	if err := os.WriteFile(standard, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	variable := []string{"GANTRY_SERVER_CONFIG=/from/variable.yaml"}
	for _, test := range []struct {
		program, flag string
		environment   []string
		want          string
	}{
		{"server", "/from/flag.yaml", variable, "/from/flag.yaml"},
		{"server", "", variable, "/from/variable.yaml"},
		{"server", "", []string{"GANTRY_SERVER_CONFIG="}, standard},
		{"server", "", nil, standard},
		{"vncproxy", "", variable, ""},
	} {
		got, err := Locate(test.program, test.flag, test.environment, dir)
		if err != nil || got != test.want {
			t.Errorf("%+v: %q %v", test, got, err)
		}
	}
}

func TestParseSet(t *testing.T) {
	for _, bad := range []string{"", "x", "=x"} {
		if _, err := ParseSet(bad); err == nil || !strings.Contains(err.Error(), "must be key=value") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzParseYAML(f *testing.F) {
	for _, seed := range []string{"workers: 1\n", "database:\n  dsn: x\n", "a: &a [*a]\n", "- x\n", "? [a]\n: b\n", "folders: [1, 2]\n", "\x00"} {
		f.Add([]byte(seed))
	}
	known, err := settingsOf(reflect.TypeFor[program]())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		entries, _ := parseYAML(content, "test.yaml", known)
		for _, each := range entries {
			set, ok := known[each.key]
			if !ok {
				continue // reported by add
			}
			if value, err := set.parse(each.value); err == nil && reflect.TypeOf(value) != set.kind {
				t.Fatalf("%s: %T instead of %s", each.key, value, set.kind)
			}
		}
	})
}

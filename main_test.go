package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asGantry makes the test binary behave as the program.
const asGantry = "GANTRY_MAIN_TEST_AS_PROGRAM"

// neverEnding makes it a program that does not heed the end of its context.
const neverEnding = "GANTRY_MAIN_TEST_NEVER_ENDING"

func TestMain(m *testing.M) {
	if os.Getenv(neverEnding) != "" {
		ctx := untilSignal(os.Stderr)
		fmt.Println("ready")
		<-ctx.Done()
		fmt.Println("asked to end")
		<-time.After(sameRequest) // the signals that came together have been dealt with
		fmt.Println("still there")
		select {}
	}
	if os.Getenv(asGantry) != "" {
		main()
	}
	os.Exit(m.Run())
}

// gantry makes a command that ends with the test at the latest. Its environment has nothing of the machine's but PATH.
func gantry(t *testing.T, environment []string, arguments ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	command := exec.CommandContext(ctx, self, arguments...)
	command.Env = append([]string{asGantry + "=1", "PATH=" + os.Getenv("PATH")}, environment...)
	command.Dir = t.TempDir()
	return command
}

func TestExitStatusAndMessage(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "vncproxy.yaml")
	if err := os.WriteFile(file, []byte("secret: hunter2\nidle_timeout: 5\nlisten_on: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name        string
		arguments   string
		environment []string
		status      int
		stdout      string // part of it
		stderr      string // all of it, without the folder
	}{
		{name: "no arguments", stdout: "Usage: gantry <command>"},
		{name: "help", arguments: "--help", stdout: "The console proxy"},
		{name: "help of a program", arguments: "vncproxy --help", stdout: "--set=KEY=VALUE"},
		{name: "version", arguments: "version", stdout: "gantry "},
		{name: "unknown command", arguments: "vncproxi", status: 2, stderr: "gantry: unexpected argument vncproxi, did you mean \"vncproxy\"?\n"},
		{name: "unknown flag", arguments: "version --jsn", status: 2, stderr: "gantry: unknown flag --jsn, did you mean \"--json\"?\n"},
		{name: "bad --set", arguments: "vncproxy --set listen", status: 2, stderr: "gantry vncproxy: --set \"listen\": must be key=value\n"},
		{name: "bad file", arguments: "vncproxy --config " + file, status: 2, stderr: "gantry vncproxy: vncproxy.yaml:2: idle_timeout: \"5\" is not a duration such as 10s, 5m or 24h\n" +
			"gantry vncproxy: vncproxy.yaml:3: listen_on: unknown setting, did you mean listen?\n"},
		{name: "file by variable", arguments: "vncproxy", environment: []string{"GANTRY_VNCPROXY_CONFIG=/no/such.yaml"}, status: 2,
			stderr: "gantry vncproxy: open /no/such.yaml: no such file or directory\n"},
		{name: "unknown variable", arguments: "vncproxy", environment: []string{"GANTRY_VNCPROXY_SECRETS=hunter2"}, status: 2,
			stderr: "gantry vncproxy: GANTRY_VNCPROXY_SECRETS: unknown environment variable, did you mean GANTRY_VNCPROXY_SECRET?\n"},
		{name: "validation", arguments: "controlled --data-dir var --log-level loud", status: 2,
			stderr: "gantry controlled: --data-dir: data_dir: must be an absolute path\n" +
				"gantry controlled: --log-level: log.level: \"loud\" must be debug, info, warn or error\n"},
		{name: "named flags", arguments: "lab --pve 7 --nodes 0 --latency fast", status: 2, stderr: "gantry lab: --latency: latency: \"fast\" is not a duration such as 10s, 5m or 24h\n"},
		{name: "missing secret", arguments: "vncproxy", status: 2, stderr: "gantry vncproxy: secret: must be set\n"},
		{name: "health of nothing", arguments: "vncproxy health --set secret=x --listen 127.0.0.1:1", status: 1,
			stderr: "gantry vncproxy: health check: dial tcp 127.0.0.1:1: connect: connection refused\n"},
		{name: "operation without a folder", arguments: "controlled run-operation", status: 2,
			stderr: "gantry: expected \"<dir>\"\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			command := gantry(t, test.environment, strings.Fields(test.arguments)...)
			var stdout, stderr bytes.Buffer
			command.Stdout, command.Stderr = &stdout, &stderr
			_ = command.Run() // the exit status is looked at below
			if got := command.ProcessState.ExitCode(); got != test.status {
				t.Errorf("exit status %d, want %d", got, test.status)
			}
			if !strings.Contains(stdout.String(), test.stdout) {
				t.Errorf("stdout %q lacks %q", stdout.String(), test.stdout)
			}
			if got := strings.ReplaceAll(stderr.String(), dir+"/", ""); got != test.stderr {
				t.Errorf("stderr\n%s\nwant\n%s", got, test.stderr)
			}
			if strings.Contains(stderr.String(), "hunter2") {
				t.Error("a secret was shown")
			}
		})
	}
}

func TestVersionJSON(t *testing.T) {
	out, err := gantry(t, nil, "version", "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var build struct{ Version, Go, System string }
	if err := json.Unmarshal(out, &build); err != nil || build.Version == "" || build.Go == "" || build.System == "" {
		t.Errorf("%s: %v", out, err)
	}
}

// running starts a program and waits for the log record that says where it listens.
func running(t *testing.T, message string, environment []string, arguments ...string) (command *exec.Cmd, address string) {
	t.Helper()
	command = gantry(t, environment, arguments...)
	stderr, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		var record struct{ Msg, Address, Program string }
		if err := json.Unmarshal(lines.Bytes(), &record); err != nil {
			t.Fatalf("log line %q: %v", lines.Text(), err)
		}
		if record.Msg == message {
			return command, record.Address
		}
	}
	t.Fatalf("%v ended without %q: %v", arguments, message, command.Wait())
	return nil, ""
}

func TestProgramsStopAtSignal(t *testing.T) {
	vncproxy := []string{"vncproxy", "--set", "secret=x", "--listen", "127.0.0.1:0"}
	controlled := []string{"controlled", "--listen", "127.0.0.1:0", "--data-dir", t.TempDir(), "--set", "image_dirs=" + t.TempDir()}
	server := []string{"server", "--listen", "127.0.0.1:0", "--data-dir", t.TempDir()}
	for _, test := range []struct {
		message   string
		arguments []string
		signal    syscall.Signal
	}{
		{"server ready", server, syscall.SIGTERM},
		{"server ready", server, syscall.SIGINT},
		{"console proxy ready", vncproxy, syscall.SIGTERM},
		{"console proxy ready", vncproxy, syscall.SIGINT},
		{"controlled listens", controlled, syscall.SIGTERM},
	} {
		command, _ := running(t, test.message, nil, test.arguments...)
		if err := command.Process.Signal(test.signal); err != nil {
			t.Fatal(err)
		}
		if err := command.Wait(); err != nil {
			t.Errorf("%s at %s: %v, want exit status 0", test.arguments[0], test.signal, err)
		}
	}
}

func TestHealth(t *testing.T) {
	for _, test := range []struct {
		program, message string
		environment      []string
	}{
		{"vncproxy", "console proxy ready", []string{"GANTRY_VNCPROXY_SECRET=x"}},
		{"vncproxy", "console proxy ready", []string{"GANTRY_VNCPROXY_SECRET=x", "GANTRY_VNCPROXY_TLS_SELF_SIGNED=true", "GANTRY_VNCPROXY_DATA_DIR=" + t.TempDir()}},
		{"server", "server ready", []string{"GANTRY_SERVER_DATA_DIR=" + t.TempDir()}},
		{"server", "server ready", []string{"GANTRY_SERVER_DATA_DIR=" + t.TempDir(), "GANTRY_SERVER_TLS_SELF_SIGNED=true"}},
	} {
		program, address := running(t, test.message, test.environment, test.program, "--listen", "127.0.0.1:0")
		if out, err := gantry(t, test.environment, test.program, "health", "--listen", address).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v %s", test.program, err, out)
		}
		if err := program.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := program.Wait(); err != nil {
			t.Errorf("%s: %v", test.program, err)
		}
	}
}

// The first signal asks for an end; one that comes with it is the same wish, a later one does not wait for the end.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	command := gantry(t, []string{neverEnding + "=1"})
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	command.Stderr = &stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	expect := func(want string) {
		t.Helper()
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("%q, want %q", lines.Text(), want)
		}
	}
	expect("ready")
	for range 2 {
		if err := command.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	expect("asked to end")
	expect("still there")
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = command.Wait() // the exit status is looked at below
	if got := command.ProcessState.ExitCode(); got != exitForced || !strings.Contains(stderr.String(), "second signal") {
		t.Errorf("exit status %d, stderr %q", got, stderr.String())
	}
}

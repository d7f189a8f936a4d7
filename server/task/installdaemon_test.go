package task_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"golang.org/x/crypto/ssh"

	"gantry/controlled"
	"gantry/internal/controlledclient"
	"gantry/internal/nodessh"
	"gantry/internal/sshtest"
	"gantry/internal/tlspin"
	"gantry/server/broker"
	"gantry/server/task"
)

// hostNode is a node whose SSH server is real, whose systemctl is a script that notes what it is told, and whose root is a folder.
type hostNode struct {
	root   string
	ssh    *sshtest.Server
	layout task.Installation
	port   int
}

func newHostNode(t *testing.T, rig *rig) *hostNode {
	t.Helper()
	root := t.TempDir()
	bin := filepath.Join(root, "bin")
	check(t, os.Mkdir(bin, 0o755))
	script := "#!/bin/sh\necho \"$@\" >>" + root + "/systemctl\n[ ! -e " + root + "/broken ] || { echo 'Job failed' >&2; exit 1; }\n"
	check(t, os.WriteFile(filepath.Join(bin, "systemctl"), []byte(script), 0o755))
	h := &hostNode{root: root, ssh: sshtest.Start(t, sshtest.Options{Programs: bin}), port: freePort(t)}
	program := filepath.Join(root, "program")
	check(t, os.WriteFile(program, []byte("this server's program"), 0o755))
	h.layout = task.Installation{
		Program: program, ProgramPath: filepath.Join(root, "usr/local/sbin/gantry"), ConfigPath: filepath.Join(root, "etc/gantry/controlled.yaml"),
		UnitPath: filepath.Join(root, "etc/systemd/system/gantry-controlled.service"), DataDir: filepath.Join(root, "var/lib/gantry/controlled"),
		Listen: "127.0.0.1",
	}
	rig.workflows.Installation = h.layout
	node, err := rig.store.FindNode(t.Context(), rig.node)
	check(t, err)
	node.SSHPort, node.SSHUsername, node.SSHPassword = h.ssh.Port, h.ssh.User, h.ssh.PrivateKey
	check(t, rig.store.UpdateNode(t.Context(), node))
	return h
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// daemon runs the real daemon by the settings that the install wrote, as systemd would.
func (h *hostNode) daemon(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(h.layout.ConfigPath)
	check(t, err)
	config := controlled.DefaultConfig()
	check(t, yaml.Unmarshal(text, &config))
	config.ImageDirs, config.Logger = []string{filepath.Join(h.root, "images")}, slog.New(slog.DiscardHandler)
	ctx, stop := context.WithCancel(context.Background())
	server, err := controlled.Start(ctx, config)
	check(t, err)
	t.Cleanup(func() {
		stop()
		check(t, server.Wait())
	})
}

func (h *hostNode) install(t *testing.T, r *rig, request broker.InstallDaemonRequest) *broker.Task {
	t.Helper()
	request.NodeID, request.Host, request.Port = r.node, h.ssh.Host, h.port
	queued, err := r.broker.InstallDaemon(t.Context(), request, broker.Actor{Name: "test"})
	check(t, err)
	return queued
}

// told are the lines that systemctl was told.
func (h *hostNode) told(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(h.root, "systemctl"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(text)
}

func content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(text)
}

func TestTheDaemonIsInstalledOverSSH(t *testing.T) {
	r := newRig(t)
	h := newHostNode(t, r)
	queued := h.install(t, r, broker.InstallDaemonRequest{HostKey: nodessh.Fingerprint(h.ssh.HostKey)})
	if _, err := r.broker.InstallDaemon(t.Context(), broker.InstallDaemonRequest{NodeID: r.node}, broker.Actor{}); !broker.Is(err, broker.Conflict) {
		t.Errorf("a second install at once: %v", err)
	}
	r.await(queued.ID, "waiting for the daemon", func(changed *broker.Task) bool { return changed.StepName == "meet" })
	h.daemon(t)
	r.awaitState(queued.ID, broker.TaskDone)
	node, err := r.store.FindNode(t.Context(), r.node)
	check(t, err)
	if node.SSHHostKey != h.ssh.HostKey || node.Daemon.URL != fmt.Sprintf("https://127.0.0.1:%d", h.port) || node.Daemon.Status == nil {
		t.Errorf("node %+v", node)
	}
	pin, err := tlspin.Parse(node.Daemon.TLSPin)
	check(t, err)
	client, err := controlledclient.New(node.Daemon.URL, node.Daemon.Secret, pin)
	check(t, err)
	defer client.Close()
	if status, err := client.Status(t.Context()); err != nil || status.Status != "running" {
		t.Errorf("the daemon: %+v, %v", status, err)
	}
	if content(t, h.layout.ProgramPath) != "this server's program" || !strings.Contains(content(t, h.layout.UnitPath), "ExecStart="+h.layout.ProgramPath+" controlled --config "+h.layout.ConfigPath) {
		t.Errorf("unit %s", content(t, h.layout.UnitPath))
	}
	if got := h.told(t); got != "daemon-reload\nenable gantry-controlled.service\nrestart gantry-controlled.service\n" {
		t.Errorf("systemctl was told %q", got)
	}
	info, err := os.Stat(h.layout.ProgramPath)
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("program %v, %v", info, err)
	}
}

func TestAnUpgradeKeepsSettingsAndLeavesNothingBehind(t *testing.T) {
	r := newRig(t)
	h := newHostNode(t, r)
	for path, text := range map[string]string{
		h.layout.ProgramPath: "an older program", h.layout.UnitPath: "the operator's unit",
		h.layout.ConfigPath: fmt.Sprintf("# mine\nlisten: 127.0.0.1:%d\ndata_dir: %s\n", h.port, h.layout.DataDir),
	} {
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		check(t, os.WriteFile(path, []byte(text), 0o755))
	}
	h.daemon(t)
	r.awaitState(h.install(t, r, broker.InstallDaemonRequest{}).ID, broker.TaskDone)
	if content(t, h.layout.ProgramPath) != "this server's program" || content(t, h.layout.UnitPath) != "the operator's unit" || !strings.HasPrefix(content(t, h.layout.ConfigPath), "# mine") {
		t.Error("settings were written over, or the program was not")
	}
	if left, err := filepath.Glob(h.layout.ProgramPath + ".*"); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAnInstallThatFailsLeavesTheNodeAsItWas(t *testing.T) {
	for name, before := range map[string]string{"nothing was there": "", "an older daemon was there": "an older program"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			h := newHostNode(t, r)
			if before != "" {
				check(t, os.MkdirAll(filepath.Dir(h.layout.ProgramPath), 0o755))
				check(t, os.WriteFile(h.layout.ProgramPath, []byte(before), 0o755))
			}
			check(t, os.WriteFile(filepath.Join(h.root, "broken"), nil, 0o644))
			queued := h.install(t, r, broker.InstallDaemonRequest{})
			// systemctl works again when the install is taken back.
			r.await(queued.ID, "undoing", func(changed *broker.Task) bool { return changed.Undoing })
			check(t, os.Remove(filepath.Join(h.root, "broken")))
			final := r.await(queued.ID, "final", func(changed *broker.Task) bool { return changed.State.Final() })
			if !strings.Contains(final.Error, "Job failed") {
				t.Errorf("%s: %s", final.State, final.Error)
			}
			if final.State == broker.TaskStuck { // the step was undone before systemctl worked again
				check(t, r.store.RetryTask(t.Context(), final.ID, final.Deadline, final.UpdatedAt))
				r.engine.Wake()
				r.awaitState(final.ID, broker.TaskUndone)
			}
			if content(t, h.layout.ProgramPath) != before || content(t, h.layout.ConfigPath) != "" || content(t, h.layout.UnitPath) != "" {
				t.Errorf("program %q, settings %q, unit %q", content(t, h.layout.ProgramPath), content(t, h.layout.ConfigPath), content(t, h.layout.UnitPath))
			}
			if node, err := r.store.FindNode(t.Context(), r.node); err != nil || node.Daemon.URL != "" {
				t.Errorf("node %+v, %v", node, err)
			}
		})
	}
}

func TestANodeThatShowsAnotherHostKeyGetsNoCredential(t *testing.T) {
	_, other := sshtest.Key(t)
	r := newRig(t)
	h := newHostNode(t, r)
	for name, row := range map[string]struct {
		record, password string
		request          broker.InstallDaemonRequest
		want             string
	}{
		"another key on record":   {record: authorized(other), password: h.ssh.PrivateKey, want: "on record is"},
		"another key asked for":   {password: h.ssh.PrivateKey, request: broker.InstallDaemonRequest{HostKey: nodessh.Fingerprint(authorized(other))}, want: "not SHA256:"},
		"a key that is not known": {password: h.ssh.StrangerKey, want: "refuses user or password"},
		"a password":              {password: "wrong", want: "refuses user or password"},
	} {
		node, err := r.store.FindNode(t.Context(), r.node)
		check(t, err)
		node.SSHHostKey, node.SSHPassword = row.record, row.password
		check(t, r.store.UpdateNode(t.Context(), node))
		undone := r.awaitState(h.install(t, r, row.request).ID, broker.TaskUndone)
		if !strings.Contains(undone.Error, row.want) || strings.Contains(undone.Error, "BEGIN") {
			t.Errorf("%s: %s", name, undone.Error)
		}
		if node, err = r.store.FindNode(t.Context(), r.node); err != nil || node.SSHHostKey != row.record {
			t.Errorf("%s: the key on record became %q", name, node.SSHHostKey)
		}
	}
	if h.told(t) != "" || content(t, h.layout.ProgramPath) != "" {
		t.Error("something was done")
	}
}

func authorized(key ssh.PublicKey) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

func TestInstallsThatAreRefusedAtOnce(t *testing.T) {
	r := newRig(t)
	for field, request := range map[string]broker.InstallDaemonRequest{
		"hostKey": {HostKey: "SHA256:short"}, "host": {Host: "a host/name"}, "port": {Port: 70000}, "nodeId": {},
	} {
		request.NodeID = r.node // which has no SSH user
		if _, err := r.broker.InstallDaemon(t.Context(), request, broker.Actor{}); fieldOf(err) != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

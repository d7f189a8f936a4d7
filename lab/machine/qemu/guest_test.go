package qemu

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"gantry/internal/qemutest"
	"gantry/lab/machine"
)

const gibibyte = 1 << 30

// TestGuest follows one real guest from its image to its end.
func TestGuest(t *testing.T) {
	t.Parallel()
	image := qemutest.CloudImage(t)
	backend := newBackend(t, "")
	ctx := t.Context()
	folder := t.TempDir()
	bridge, gateway, address := testNetwork(t)

	disk, seed := filepath.Join(folder, "vm-101-disk-0.qcow2"), filepath.Join(folder, "vm-101-cloudinit.iso")
	if err := backend.ImportVolume(ctx, image, disk, "qcow2", nil); err != nil {
		t.Fatal(err)
	}
	if err := backend.ResizeVolume(ctx, disk, "qcow2", gibibyte); err != nil {
		t.Fatal(err)
	}
	hash := "$5$gantrysalt$9gPJrJHyF/N8sDb.Mb4OI3oRMhUkjZFfKzIW1kbLVnC"
	if err := backend.WriteCloudInit(ctx, seed, cloudInit("web-101", "alice", hash, gateway.String(), address.String())); err != nil {
		t.Fatal(err)
	}
	spec := bareSpec(t, 101)
	spec.KVM, spec.MemoryMB, spec.Serial, spec.Agent = true, 256, true, true
	spec.UUID = "4c2a1f5e-0b7d-4f7e-9a63-2f1f0d4f5b11"
	spec.Disks = []machine.Disk{
		{Key: "scsi0", Path: disk, Format: "qcow2", ReadBytesPerSecond: 500 << 20},
		{Key: "ide2", Path: seed, CDROM: true},
	}
	spec.NICs = []machine.NIC{{Key: "net0", Model: "virtio", MAC: "BC:24:11:00:01:01", Bridge: bridge, Tap: "gt101i0", Rate: 50}}
	spec.Boot = []string{"scsi0", "net0"}
	guest := start(t, backend, spec)
	log := filepath.Join(spec.RunDir, serialLog)

	ready := qemutest.WaitReady(t, log, 1)
	for field, want := range map[string]string{
		"image": "gantry", "hostname": "web-101", "address": address.String() + "/24", "gateway": gateway.String(),
		"dns": "9.9.9.9", "mac": "bc:24:11:00:01:01", "user": "alice", "password-hash": hash, "boots": "1",
		"disk-size": strconv.Itoa(gibibyte), "uuid": spec.UUID, "cpus": "1",
	} {
		if ready[field] != want {
			t.Errorf("ready line says %s=%q, want %q", field, ready[field], want)
		}
	}
	if bridge != "" {
		qemutest.Eventually(t, 20*time.Second, "answer to a ping", func() bool { return pings(t, address) })
	}
	checkVNC(t, guest)
	checkStats(t, guest, bridge != "")

	// Agent: the password arrives in /etc/shadow.
	if _, err := guest.Agent(ctx, "guest-ping", nil); err != nil {
		t.Errorf("agent ping: %v", err)
	}
	password := map[string]any{"username": "alice", "password": base64.StdEncoding.EncodeToString([]byte("Second:Word 2")), "crypted": false}
	if _, err := guest.Agent(ctx, "guest-set-user-password", password); err != nil {
		t.Fatalf("agent set password: %v", err)
	}
	if line := inGuest(t, guest, "grep", "^alice:", "/etc/shadow"); !strings.HasPrefix(line, "alice:$6$") {
		t.Errorf("shadow line after the change: %q", line)
	}
	logIn(t, guest, "alice", "Second:Word 2")
	var refused *QMPError
	if _, err := guest.Agent(ctx, "guest-nonsense", nil); !errors.As(err, &refused) || refused.Class != "CommandNotFound" {
		t.Errorf("unknown agent command: %v", err)
	}

	checkPause(t, guest)

	// A larger disk is seen by qemu-img, by the guest at once, and is never made smaller.
	if err := backend.ResizeVolume(ctx, disk, "qcow2", 2*gibibyte); err != nil {
		t.Fatal(err)
	}
	if info, err := backend.VolumeInfo(ctx, disk); err != nil || info.VirtualSize != 2*gibibyte {
		t.Errorf("volume info %+v, %v", info, err)
	}
	qemutest.Eventually(t, 20*time.Second, "larger disk in the guest", func() bool {
		return strings.TrimSpace(inGuest(t, guest, "cat", "/sys/class/block/sda/size")) == strconv.Itoa(2*gibibyte/512)
	})
	if err := guest.ResizeDisk(ctx, "scsi0", gibibyte); !errors.Is(err, ErrShrink) {
		t.Errorf("shrinking: %v", err)
	}

	// Another lab takes over while the first still watches; then the first goes away.
	second := newBackend(t, "")
	attached, err := second.Attach(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	if attached.PID() != guest.PID() {
		t.Errorf("attached to pid %d, want %d", attached.PID(), guest.PID())
	}
	if err := backend.Close(); err != nil {
		t.Error(err)
	}

	// Reset: the same disk boots again, root grown to the disk's end, the password of the agent still there.
	if err := attached.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	again := qemutest.WaitReady(t, log, 2)
	if again["boots"] != "2" || again["boot-id"] == ready["boot-id"] || again["disk-size"] != strconv.Itoa(2*gibibyte) || again["password-hash"] == hash {
		t.Errorf("after the reset: %v", again)
	}
	if err := attached.Powerdown(ctx); err != nil {
		t.Fatal(err)
	}
	waitDone(t, attached)
	for name, call := range map[string]func() error{
		"Reset":     func() error { return attached.Reset(ctx) },
		"Powerdown": func() error { return attached.Powerdown(ctx) },
		"VNC":       func() error { _, err := attached.VNC(ctx); return err },
		"Stats":     func() error { _, err := attached.Stats(ctx); return err },
		"Agent":     func() error { _, err := attached.Agent(ctx, "guest-ping", nil); return err },
	} {
		if err := call(); !errors.Is(err, machine.ErrNotRunning) {
			t.Errorf("%s after the end: %v", name, err)
		}
	}
	if err := attached.Kill(ctx); err != nil {
		t.Errorf("Kill after the end: %v", err)
	}
	if _, err := second.Attach(ctx, spec); !errors.Is(err, machine.ErrNotRunning) {
		t.Errorf("Attach after the end: %v", err)
	}
}

// TestGuestWithOtherData boots another image from another bus, with network-config version 2 and passwords in plain text.
func TestGuestWithOtherData(t *testing.T) {
	t.Parallel()
	image := qemutest.CloudImageTagged(t, "other")
	backend := newBackend(t, filepath.Dir(image))
	folder := t.TempDir()
	disk, data, seed := filepath.Join(folder, "disk.qcow2"), filepath.Join(folder, "data.raw"), filepath.Join(folder, "seed.iso")
	if err := backend.CloneVolume(t.Context(), image, disk, "qcow2", true); err != nil {
		t.Fatal(err)
	}
	if err := backend.CreateVolume(t.Context(), data, "raw", 32<<20); err != nil {
		t.Fatal(err)
	}
	if err := backend.WriteCloudInit(t.Context(), seed, machine.CloudInit{
		MetaData: "instance-id: i-1\nlocal-hostname: db-102\n",
		UserData: "#cloud-config\nchpasswd:\n  list: |\n    debian:plain: text\n    operator:$6$salt$hash\nssh_authorized_keys:\n- ssh-ed25519 AAAA a@b\n- ssh-rsa BBBB\n",
		NetworkConfig: "version: 2\nethernets:\n  id0:\n    match: {macaddress: 'BC:24:11:00:02:01'}\n    set-name: wan0\n" +
			"    addresses: [192.0.2.10/27, \"2001:db8::10/64\"]\n    routes:\n      - to: default\n        via: 192.0.2.30\n" +
			"    nameservers:\n      addresses: [192.0.2.53, 192.0.2.54]\n  eth1:\n    dhcp4: true # user mode\n",
	}); err != nil {
		t.Fatal(err)
	}
	spec := bareSpec(t, 102)
	spec.MemoryMB, spec.Cores, spec.Serial = 256, 2, true
	spec.Disks = []machine.Disk{
		{Key: "virtio0", Path: disk, Format: "qcow2"}, {Key: "scsi1", Path: data, Format: "raw"}, {Key: "ide2", Path: seed, CDROM: true},
	}
	spec.NICs = []machine.NIC{{Key: "net0", MAC: "BC:24:11:00:02:01"}, {Key: "net1", MAC: "BC:24:11:00:02:02"}}
	spec.Boot = []string{"ide2", "virtio0"}
	guest := start(t, backend, spec)
	ready := qemutest.WaitReady(t, filepath.Join(spec.RunDir, serialLog), 1)
	for field, want := range map[string]string{
		"image": "other", "hostname": "db-102", "user": "debian", "ssh-keys": "2", "gateway": "192.0.2.30", "instance-id": "i-1",
		"disks": "sda:33554432,vda:67108864", "disk-size": "67108864", "cpus": "2",
	} {
		if ready[field] != want {
			t.Errorf("ready line says %s=%q, want %q", field, ready[field], want)
		}
	}
	for _, want := range []string{"192.0.2.10/27", "2001:db8::10/64", "10.0.2.15/24"} {
		if !strings.Contains(ready["address"], want) {
			t.Errorf("addresses %s lack %s", ready["address"], want)
		}
	}
	logIn(t, guest, "debian", "plain: text")
}

// cloudInit is what PVE writes for a guest.
func cloudInit(name, user, hash, gateway, address string) machine.CloudInit {
	return machine.CloudInit{
		MetaData: "instance-id: 5f1c" + name + "\n",
		UserData: fmt.Sprintf("#cloud-config\nhostname: %s\nmanage_etc_hosts: true\nfqdn: %s.example.com\nuser: %s\npassword: %s\n"+
			"chpasswd:\n  expire: False\nusers:\n  - default\npackage_upgrade: true\n", name, name, user, hash),
		NetworkConfig: fmt.Sprintf("version: 1\nconfig:\n    - type: physical\n      name: eth0\n      mac_address: 'bc:24:11:00:01:01'\n"+
			"      subnets:\n      - type: static\n        address: '%s'\n        netmask: '255.255.255.0'\n        gateway: '%s'\n"+
			"    - type: nameserver\n      address:\n      - '9.9.9.9'\n", address, gateway),
	}
}

func checkVNC(t *testing.T, guest machine.Process) {
	t.Helper()
	screen, err := guest.VNC(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = screen.Close() }()
	if err := screen.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	greeting := make([]byte, 12)
	if _, err := io.ReadFull(screen, greeting); err != nil || string(greeting) != "RFB 003.008\n" {
		t.Errorf("VNC greeting %q, %v", greeting, err)
	}
}

func checkStats(t *testing.T, guest machine.Process, hasTap bool) {
	t.Helper()
	stats, err := guest.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	age := time.Since(stats.Started)
	if age < 0 || age > time.Hour || stats.DiskReadBytes < 10<<20 || stats.DiskWrittenBytes == 0 || stats.MemoryBytes < 32<<20 || stats.MemoryBytes > 256<<20 {
		t.Errorf("stats %+v", stats)
	}
	counters, found := stats.NICs["gt101i0"]
	if found != hasTap || hasTap && (counters.In == 0 || counters.Out == 0) {
		t.Errorf("NIC counters %+v", stats.NICs)
	}
}

func checkPause(t *testing.T, guest *Process) {
	t.Helper()
	status := func() string {
		answer, err := guest.execute(t.Context(), "query-status", nil)
		if err != nil {
			t.Fatal(err)
		}
		var status struct{ Status string }
		if err := json.Unmarshal(answer, &status); err != nil {
			t.Fatal(err)
		}
		return status.Status
	}
	for _, step := range []struct {
		want string
		call func() error
	}{
		{"paused", func() error { return guest.Pause(t.Context()) }},
		{"running", func() error { return guest.Resume(t.Context()) }},
	} {
		if err := step.call(); err != nil {
			t.Fatal(err)
		}
		if got := status(); got != step.want {
			t.Errorf("status %q, want %q", got, step.want)
		}
	}
}

// inGuest runs a program in the guest through the agent and returns what it printed.
func inGuest(t *testing.T, guest machine.Process, argv ...string) string {
	t.Helper()
	answer, err := guest.Agent(t.Context(), "guest-exec", map[string]any{"path": argv[0], "arg": argv[1:], "capture-output": true})
	if err != nil {
		t.Fatal(err)
	}
	var started struct{ PID int }
	if err := json.Unmarshal(answer, &started); err != nil {
		t.Fatal(err)
	}
	var result struct {
		Exited bool
		Out    []byte `json:"out-data"`
	}
	qemutest.Eventually(t, 20*time.Second, "end of "+argv[0], func() bool {
		answer, err := guest.Agent(t.Context(), "guest-exec-status", map[string]any{"pid": started.PID})
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(answer, &result); err != nil {
			t.Fatal(err)
		}
		return result.Exited
	})
	return string(result.Out)
}

// logIn types a name and password at the serial port's login and waits for the shell's prompt.
func logIn(t *testing.T, guest *Process, user, password string) {
	t.Helper()
	port, err := guest.Serial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = port.Close() }()
	if err := port.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ send, wait string }{
		{"\n", "login: "}, {user + "\n", "assword: "}, {password + "\n", user + "@"},
	} {
		if _, err := io.WriteString(port, step.send); err != nil {
			t.Fatal(err)
		}
		var seen strings.Builder
		buffer := make([]byte, 1)
		for !strings.HasSuffix(seen.String(), step.wait) {
			if _, err := port.Read(buffer); err != nil {
				t.Fatalf("waiting for %q, saw %q: %v", step.wait, seen.String(), err)
			}
			seen.Write(buffer)
		}
	}
}

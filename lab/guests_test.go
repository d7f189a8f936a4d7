package lab_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"gantry/lab"
	"gantry/lab/fault"
	"gantry/lab/machine"
	"gantry/lab/machine/memory"
)

func TestLimitsReachTheBackend(t *testing.T) {
	var mu sync.Mutex
	var started machine.Spec
	c := newClient(t, startLab(t, lab.Config{Backend: memory.New(memory.Options{Started: func(spec machine.Spec) {
		mu.Lock()
		defer mu.Unlock()
		started = spec
	}})}))
	c.must(c.task("POST", "/nodes/pve1/qemu", "vmid", "100", "cores", "2", "sockets", "1", "memory", "1024", "cpu", "x86-64-v2-AES",
		"scsi0", "local:1,mbps_rd=10,mbps_wr=2.5,iops_rd=300,iops_wr_max=900", "net0", "virtio,bridge=vmbr0,rate=12.5",
		"smbios1", "uuid=46955131-c413-4f1f-9d66-98f25916fa3b,manufacturer=R2FudHJ5LCBJbmM=,base64=1"), "OK")
	c.must(c.task("POST", "/nodes/pve1/qemu/100/status/start"), "OK")
	mu.Lock()
	defer mu.Unlock()
	disk, nic := started.Disks[0], started.NICs[0]
	for _, fact := range []struct {
		what      string
		got, want any
	}{
		{"read bytes", disk.ReadBytesPerSecond, int64(10 << 20)},
		{"write bytes", disk.WriteBytesPerSecond, int64(5 << 19)},
		{"read operations", disk.ReadOpsPerSecond, int64(300)},
		{"write operations, peak", disk.WriteOpsPerSecondMax, int64(900)},
		{"rate", nic.Rate, 12.5},
		{"tap", nic.Tap, "tap100i0"},
		{"bridge", nic.Bridge, "vmbr0"},
		{"memory", started.MemoryMB, 1024},
		{"cores", started.Cores, 2},
		{"cpu", started.CPU, "x86-64-v2-AES"},
		{"uuid", started.UUID, "46955131-c413-4f1f-9d66-98f25916fa3b"},
		{"smbios", strings.Join(started.SMBIOS, " "), "type=1,manufacturer=Gantry,, Inc"},
		{"boot order", strings.Join(started.Boot, " "), "scsi0 net0"},
	} {
		if fact.got != fact.want {
			t.Errorf("%s: %v, want %v", fact.what, fact.got, fact.want)
		}
	}
}

func TestCloudInitDrive(t *testing.T) {
	running := startLab(t, lab.Config{})
	c := newClient(t, running)
	c.must(c.task("POST", "/nodes/pve1/qemu", "vmid", "100", "name", "web01", "ide2", "local:cloudinit", "net0", "virtio=BC:24:11:00:00:01,bridge=vmbr0",
		"ciuser", "joe", "cipassword", "secret", "ipconfig0", "ip=10.0.0.2/24,gw=10.0.0.1,ip6=2001:db8::2/64,gw6=2001:db8::1",
		"nameserver", "9.9.9.9 1.1.1.1", "searchdomain", "example.com", "sshkeys", "ssh-ed25519%20AAAA%20joe%0Assh-ed25519%20BBBB%20ann"), "OK")
	c.must(c.task("POST", "/nodes/pve1/qemu/100/status/start"), "OK")
	folder, err := running.StorageFolder("pve1", "local", "images")
	if err != nil {
		t.Fatal(err)
	}
	data, err := memory.ReadCloudInit(filepath.Join(folder, "100", "vm-100-cloudinit.qcow2"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"hostname: web01\n", "fqdn: web01.example.com\n", "user: joe\n", "password: $5$", "  - ssh-ed25519 AAAA joe\n  - ssh-ed25519 BBBB ann\n"} {
		if !strings.Contains(data.UserData, line) {
			t.Errorf("user-data lacks %q:\n%s", line, data.UserData)
		}
	}
	if strings.Contains(data.UserData, "secret") {
		t.Errorf("the password is in clear:\n%s", data.UserData)
	}
	want := `version: 1
config:
    - type: physical
      name: eth0
      mac_address: 'bc:24:11:00:00:01'
      subnets:
      - type: static
        address: '10.0.0.2'
        netmask: '255.255.255.0'
        gateway: '10.0.0.1'
      - type: static6
        address: '2001:db8::2/64'
        gateway: '2001:db8::1'
    - type: nameserver
      address:
      - '9.9.9.9'
      - '1.1.1.1'
      search:
      - 'example.com'
`
	if data.NetworkConfig != want {
		t.Errorf("network-config:\n%s\nwant:\n%s", data.NetworkConfig, want)
	}
	if !strings.HasPrefix(data.MetaData, "instance-id: ") {
		t.Errorf("meta-data: %q", data.MetaData)
	}
	if dump := c.ok("GET", "/nodes/pve1/qemu/100/cloudinit/dump", "type", "user"); dump != data.UserData {
		t.Errorf("dump differs:\n%v", dump)
	}
}

func TestPendingChangesWaitForTheStop(t *testing.T) {
	c := newClient(t, startLab(t, lab.Config{}))
	c.must(c.task("POST", "/nodes/pve1/qemu", "vmid", "100", "cores", "1", "memory", "256"), "OK")
	c.must(c.task("POST", "/nodes/pve1/qemu/100/status/start"), "OK")
	c.ok("PUT", "/nodes/pve1/qemu/100/config", "cores", "2", "memory", "512", "name", "now", "delete", "vmgenid")
	show := func(query ...string) map[string]any {
		conf, _ := c.ok("GET", "/nodes/pve1/qemu/100/config", query...).(map[string]any)
		return conf
	}
	if conf := show(); conf["cores"] != 2.0 || conf["memory"] != "512" || conf["name"] != "now" {
		t.Errorf("with pending changes: %v", conf)
	}
	if conf := show("current", "1"); conf["cores"] != 1.0 || conf["memory"] != "256" || conf["name"] != "now" || conf["vmgenid"] == nil {
		t.Errorf("current: %v", conf)
	}
	rows := map[string]map[string]any{}
	for _, row := range c.ok("GET", "/nodes/pve1/qemu/100/pending").([]any) {
		row := row.(map[string]any)
		rows[row["key"].(string)] = row
	}
	if rows["cores"]["value"] != 1.0 || rows["cores"]["pending"] != 2.0 || rows["vmgenid"]["delete"] != 1.0 {
		t.Errorf("pending: %v %v", rows["cores"], rows["vmgenid"])
	}
	c.ok("PUT", "/nodes/pve1/qemu/100/config", "revert", "memory")
	c.must(c.task("POST", "/nodes/pve1/qemu/100/status/stop"), "OK")
	if conf := show("current", "1"); conf["cores"] != 2.0 || conf["memory"] != "256" || conf["vmgenid"] != nil {
		t.Errorf("after the stop: %v", conf)
	}
}

// A task that fails between writing a change and applying it leaves the change pending, as PVE does, for the next change or start. No
// volume is forgotten.
func TestChangesThatWereWrittenButNotApplied(t *testing.T) {
	running := startLab(t, lab.Config{})
	c := newClient(t, running)
	c.must(c.task("POST", "/nodes/pve1/qemu", "vmid", "100", "scsi0", "data:1"), "OK")
	volume := func(number int) string { return fmt.Sprintf("data:100/vm-100-disk-%d.raw", number) }
	for _, fact := range []struct {
		scsi0, end  string
		now, coming string   // scsi0 in force, and with pending changes
		unused      []string // sorted
	}{
		{"data:1", "no luck", volume(0), volume(1), nil},
		{"data:1", "no luck", volume(0), volume(2), []string{volume(1)}},
		{volume(1), "no luck", volume(0), volume(1), []string{volume(2)}},
		{volume(0), "OK", volume(0), volume(0), []string{volume(1), volume(2)}},
		{volume(2), "no luck", volume(0), volume(2), []string{volume(1)}},
		{volume(2), "OK", volume(2), volume(2), []string{volume(0), volume(1)}},
	} {
		if fact.end != "OK" {
			running.Faults().AddTask(fault.TaskRule{Type: "qmconfig", Times: 1, Step: "apply", Error: fact.end})
		}
		c.must(c.task("POST", "/nodes/pve1/qemu/100/config", "scsi0", fact.scsi0), fact.end)
		now, _ := c.ok("GET", "/nodes/pve1/qemu/100/config", "current", "1").(map[string]any)
		coming, _ := c.ok("GET", "/nodes/pve1/qemu/100/config").(map[string]any)
		var unused []string
		for key, value := range now {
			if text, _ := value.(string); strings.HasPrefix(key, "unused") {
				unused = append(unused, text)
			}
		}
		slices.Sort(unused)
		file := func(conf map[string]any) string {
			text, _ := conf["scsi0"].(string)
			name, _, _ := strings.Cut(text, ",")
			return name
		}
		if file(now) != fact.now || file(coming) != fact.coming || !slices.Equal(unused, fact.unused) {
			t.Errorf("after scsi0=%s: it is %s, to come is %s, unused are %v; want %s, %s, %v",
				fact.scsi0, file(now), file(coming), unused, fact.now, fact.coming, fact.unused)
		}
	}
}

func TestHibernateAndReboot(t *testing.T) {
	c := newClient(t, startLab(t, lab.Config{NoCleanupLock: true}))
	c.must(c.task("POST", "/nodes/pve1/qemu", "vmid", "100", "scsi0", "local:1"), "OK")
	status := func() map[string]any {
		row, _ := c.ok("GET", "/nodes/pve1/qemu/100/status/current").(map[string]any)
		return row
	}
	c.must(c.task("POST", "/nodes/pve1/qemu/100/status/start"), "OK")
	c.must(c.task("POST", "/nodes/pve1/qemu/100/status/suspend"), "OK")
	if row := status(); row["status"] != "running" || row["qmpstatus"] != "paused" {
		t.Errorf("suspended: %v %v", row["status"], row["qmpstatus"])
	}
	c.must(c.task("POST", "/nodes/pve1/qemu/100/status/resume"), "OK")
	c.must(c.task("POST", "/nodes/pve1/qemu/100/status/suspend", "todisk", "1"), "OK")
	if row := status(); row["status"] != "stopped" || row["lock"] != "suspended" {
		t.Errorf("hibernated: %v %v", row["status"], row["lock"])
	}
	c.must(c.task("POST", "/nodes/pve1/qemu/100/status/start"), "OK")
	if row := status(); row["status"] != "running" || row["lock"] != nil {
		t.Errorf("resumed: %v %v", row["status"], row["lock"])
	}
	first := status()["pid"]
	c.must(c.task("POST", "/nodes/pve1/qemu/100/status/reboot"), "OK")
	if row := status(); row["pid"] == first {
		t.Errorf("the process that the reboot ended is still shown: %v", row)
	}
	var starts []any
	for len(starts) < 3 { // the third start is qmeventd's; the test's own deadline bounds the wait
		starts, _ = c.ok("GET", "/nodes/pve1/tasks", "typefilter", "qmstart", "vmid", "100").([]any)
		if t.Context().Err() != nil {
			t.Fatal("the guest was not started again")
		}
	}
	if user := starts[0].(map[string]any); user["user"] != "root@pam" || user["tokenid"] != nil {
		t.Errorf("the start after a reboot is by %v", user)
	}
	if row := status(); row["status"] != "running" || row["pid"] == first {
		t.Errorf("after the reboot: %v", row)
	}
}

func TestQM(t *testing.T) {
	running := startLab(t, lab.Config{})
	c := newClient(t, running)
	c.must(c.task("POST", "/nodes/pve1/qemu", "vmid", "100", "agent", "1"), "OK")
	image := filepath.Join(t.TempDir(), "disk.raw")
	if err := os.WriteFile(image, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	qm := func(input string, args ...string) (int, string, string) {
		var out, problems bytes.Buffer
		code := lab.RunQM(context.Background(), running.AdminSocket(), "pve1", args, strings.NewReader(input), &out, &problems)
		return code, out.String(), problems.String()
	}
	code, out, problems := qm("", "importdisk", "100", image, "local", "--format", "qcow2")
	for _, line := range []string{"importing disk '" + image + "' to VM 100 ...\n", "transferred 2.0 MiB of 2.0 MiB (100.00%)\n",
		"Successfully imported disk as 'unused0:local:100/vm-100-disk-0.qcow2'\n"} {
		if code != 0 || !strings.Contains(out, line) {
			t.Errorf("importdisk ended %d without %q:\n%s%s", code, line, out, problems)
		}
	}
	if conf := c.ok("GET", "/nodes/pve1/qemu/100/config").(map[string]any); conf["unused0"] != "local:100/vm-100-disk-0.qcow2" {
		t.Errorf("config: %v", conf)
	}
	c.must(c.task("POST", "/nodes/pve1/qemu/100/status/start"), "OK")
	for _, fact := range []struct {
		input string
		args  []string
		code  int
		text  string
	}{
		{"", []string{"status", "100"}, 0, "status: running\n"},
		{"", []string{"unlock", "100"}, 0, ""},
		{"longenough\n", []string{"guest", "passwd", "100", "root"}, 0, ""},
		{"", []string{"status", "999"}, 255, "Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist\n"},
		{"", []string{"importdisk", "100", "/none.raw", "local"}, 255, "failed to stat '/none.raw'\n"},
		{"", []string{"importdisk", "100", image, "nope"}, 255, "storage 'nope' does not exist\n"},
		{"", []string{"frobnicate"}, 255, "ERROR: unknown command 'qm frobnicate'\n"},
	} {
		code, out, problems := qm(fact.input, fact.args...)
		text := out
		if fact.code != 0 {
			text = problems
		}
		if code != fact.code || text != fact.text {
			t.Errorf("qm %v: %d %q %q, want %d %q", fact.args, code, out, problems, fact.code, fact.text)
		}
	}
}

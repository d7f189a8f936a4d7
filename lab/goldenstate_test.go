package lab_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gantry/lab/guestconf"
	"gantry/lab/machine"
	"gantry/lab/machine/memory"
)

// goldenGuests behave as the recorded ones: 522 has no ACPI, the agent of 110 needs a while after each start.
func goldenGuests() memory.Options {
	agent := &recordedAgent{}
	return memory.Options{
		IgnorePowerdown: func(spec machine.Spec) bool { return spec.VMID == 522 },
		Started:         func(machine.Spec) { agent.calls = 0 },
		Agent:           agent.answer,
	}
}

// recordedAgent is the agent of the recorded guest, as far as the transcripts show it.
type recordedAgent struct {
	calls int
	files map[string]string
	pids  map[int]map[string]any
	next  int
}

func (a *recordedAgent) answer(spec machine.Spec, command string, arguments any) ([]byte, error) {
	if a.calls++; a.calls <= 2 {
		return nil, machine.ErrNoAgent
	}
	given := map[string]any{}
	text, err := json.Marshal(arguments)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &given); err != nil {
		return nil, err
	}
	answer, err := a.value(spec, command, given)
	if err != nil {
		return nil, err
	}
	return json.Marshal(answer)
}

func (a *recordedAgent) value(spec machine.Spec, command string, given map[string]any) (any, error) {
	switch command {
	case "guest-ping":
		return map[string]any{}, nil
	case "guest-get-host-name":
		return map[string]string{"host-name": spec.Name}, nil
	case "guest-get-users":
		return []any{}, nil
	case "guest-get-osinfo":
		return map[string]string{"pretty-name": "Lab Linux", "kernel-release": "6.1.0-56-cloud-amd64", "machine": "x86_64", "id": "lab",
			"kernel-version": "#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-16)", "name": "Lab", "version-id": "1"}, nil
	case "guest-set-user-password":
		return nil, errors.New("cannot find 'passwd' program in PATH")
	case "guest-exec":
		return a.exec(given), nil
	case "guest-exec-status":
		pid, _ := given["pid"].(float64)
		return a.pids[int(pid)], nil
	case "guest-file-open":
		path, _ := given["path"].(string)
		if _, there := a.files[path]; !there && given["mode"] == "r" {
			return nil, errors.New("failed to open file '" + path + "' (mode: 'r'): No such file or directory")
		}
		return 1, nil
	case "guest-file-write":
		text, _ := given["buf-b64"].(string)
		a.files = map[string]string{"/tmp/x": text}
		return map[string]any{"count": 3}, nil
	case "guest-file-read":
		return map[string]any{"buf-b64": a.files["/tmp/x"], "count": 3, "eof": true}, nil
	case "guest-file-close":
		return map[string]any{}, nil
	}
	return nil, errors.New("The command " + command + " has not been found")
}

// exec numbers the processes as the recorded guest did.
func (a *recordedAgent) exec(given map[string]any) any {
	if a.pids == nil {
		a.pids, a.next = map[int]map[string]any{}, 145
	}
	a.next += 2
	encode := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	status := map[string]any{"exited": false}
	switch given["path"] {
	case "sh":
		status = map[string]any{"exited": true, "exitcode": 3, "out-data": encode("out\n"), "err-data": encode("err\n")}
	case "sleep":
		if arguments, _ := given["arg"].([]any); len(arguments) == 1 && arguments[0] == "30" {
			a.next = 157 // two calls between that are not replayed took a number
		}
	case "cat":
		status = map[string]any{"exited": true, "exitcode": 0, "out-data": given["input-data"]}
	}
	a.pids[a.next] = status
	return map[string]int{"pid": a.next}
}

// file puts a file of a size into a folder of local.
func (r *replay) file(content, name string, size int64) {
	folder, err := r.lab.StorageFolder("pve1", "local", content)
	if err != nil {
		r.t.Fatal(err)
	}
	path := filepath.Join(folder, name)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		r.t.Fatal(err)
	}
}

// standTemplate makes what each recording began with.
func (r *replay) standTemplate() {
	r.file("import", "lab-linux.qcow2", 19726336)
	r.file("import", "disk.raw", 48<<20)
	r.file("iso", "tiny.iso", 358400)
	r.must(r.task("POST", "/nodes/pve1/qemu", "vmid", "9000", "name", "tmpl", "memory", "256", "scsihw", "virtio-scsi-pci", "ostype", "l26", "kvm", "0",
		"scsi0", "local:0,import-from=local:import/disk.raw,format=qcow2", "ide2", "local:cloudinit", "net0", "virtio,bridge=vmbr0", "agent", "1",
		"serial0", "socket"), "OK")
	r.must(r.task("POST", "/nodes/pve1/qemu/9000/template"), "OK")
	folder, err := r.lab.StorageFolder("pve1", "local", "import")
	if err != nil {
		r.t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(folder, "disk.raw")); err != nil {
		r.t.Fatal(err)
	}
	if r.version == "8.4" {
		r.ok("DELETE", "/storage/data")
	}
	r.lab.Faults().RefreshStatus()
}

// standGuests makes the guests that the first file speaks of.
func (r *replay) standGuests() {
	r.standTemplate()
	if r.version == "8.4" {
		r.file("import", "cloud.qcow2", 196616)
	}
	r.must(r.task("POST", "/nodes/pve1/qemu", "vmid", "100", "name", "vm100", "memory", "256", "cores", "1", "scsihw", "virtio-scsi-pci", "ostype", "l26",
		"kvm", "0", "agent", "1", "vga", "std", "tags", "b;a", "description", "hello\nworld", "scsi0", "local:1,format=qcow2", "scsi1", "local:1,format=raw",
		"net0", "virtio,bridge=vmbr0", "net1", "e1000,bridge=vmbr0"), "OK")
	if r.version == "8.4" {
		r.must(r.task("PUT", "/nodes/pve1/qemu/100/resize", "disk", "scsi0", "size", "2G"), "OK")
		r.edit(100, func(conf *guestconf.Config) { conf.Values["parent"] = "s1" })
	}
	r.must(r.task("POST", "/nodes/pve1/qemu", "vmid", "101", "name", "kvmtest", "memory", "128", "scsi0", "local:1", "scsihw", "virtio-scsi-pci"), "OK")
	r.must(r.task("POST", "/nodes/pve1/qemu/101/template"), "OK")
	r.must(r.task("POST", "/nodes/pve1/qemu/101/clone", "newid", "103", "name", "linked"), "OK")
	r.must(r.task("POST", "/nodes/pve1/qemu/9000/clone", "newid", "110", "name", "web01", "full", "1"), "OK")
	options := []string{"ciuser", "joe", "cipassword", "secret99", "ipconfig0", "ip=10.99.99.50/24,gw=10.99.99.1"}
	if r.version == "8.4" {
		options = append(options, "sshkeys", "ssh-ed25519%20AAAAC3NzaC1lZDI1NTE5AAAAIG4i9p2Zr0ZrQ0o8yqj9r4Qm1N0Qb0d3a0yB9u4m1s2x%20joe")
	}
	r.ok("PUT", "/nodes/pve1/qemu/110/config", options...)
	r.must(r.task("POST", "/nodes/pve1/qemu/110/status/start"), "OK")
	r.lab.Faults().RefreshStatus()
}

// createAtOnce sends the same creation several times at once: one must win, the others get the error of a taken VMID.
func (r *replay) createAtOnce(vmid, times int) {
	answers := make(chan reply, times)
	for range times {
		go func() {
			answer, err := r.try("POST", fmt.Sprintf("/api2/json/nodes/pve1/qemu?vmid=%d", vmid), "", nil)
			if err != nil {
				answer.Reason = err.Error()
			}
			answers <- answer
		}()
	}
	won := 0
	for range times {
		answer := <-answers
		switch {
		case answer.Status == 200:
			won++
			upid, _ := answer.Data.(string)
			r.must(r.wait(upid), "OK")
		case answer.Reason != fmt.Sprintf("unable to create VM %d - VM %d already exists on node 'pve1'", vmid, vmid):
			r.t.Errorf("a creation that lost: %d %s", answer.Status, answer.Reason)
		}
	}
	if won != 1 {
		r.t.Errorf("%d of %d creations of one VMID won", won, times)
	}
}

func (r *replay) edit(vmid int, edit func(*guestconf.Config)) {
	guest, err := r.lab.Cluster().Guest("pve1", vmid)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := guest.Edit(func(conf *guestconf.Config) error { edit(conf); return nil }); err != nil {
		r.t.Fatal(err)
	}
}

// arrange brings about what lies between two blocks: locks that the recorder wrote into the configuration, nodes that it took down, the
// status daemon's rounds.
func (r *replay) arrange(want block) {
	switch want.Label {
	case "start locked":
		r.edit(522, func(conf *guestconf.Config) { conf.Values["lock"] = "backup" })
	case "skiplock admin":
		r.edit(522, func(conf *guestconf.Config) { delete(conf.Values, "lock") })
	case "tasks":
		r.createAtOnce(333, 4)
	case "stop while shutting", "stop task": // the recorder was slower than the shutdown
		for deadline := time.Now().Add(5 * time.Second); !r.lab.Cluster().ConfigLocked(522) && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond) // between polls; nothing is asserted on time
		}
	}
	if strings.HasPrefix(want.Path, "/cluster/resources") && want.Label != "resources" || want.Section == "POOLS" && want.Method == "GET" {
		r.lab.Faults().RefreshStatus()
	}
	if want.Section == "OFFLINE NODE" {
		r.lab.Faults().NodeDown("pve2", "")
		r.lab.Faults().NodeDown("pve3", "Connection refused")
	}
}

// notReplayed lists the blocks that cannot be equal here, with the reason.
func notReplayed(version string, want block) (string, bool) {
	reason, listed := map[string]string{
		"504 status":              "a race on the recorded node: QEMU was seen while its start failed",
		"exec string w/ spaces":   "PVE's bug (596 after \"Wide character\") comes from QGA's UTF-8 quotes in a real guest",
		"exec missing bin":        "the same bug",
		"fsinfo":                  "the recorded guest's file systems",
		"info":                    "the recorded guest agent's list of commands",
		"ceph":                    "Ceph is not simulated",
		"metrics":                 "metric servers are not simulated",
		"sdn vnets":               "the schema extract has no SDN",
		"vzdump":                  "backups are not simulated",
		"vzdump none":             "backups are not simulated",
		"lxc create bad":          "containers are not simulated",
		"lxc create missing tmpl": "containers are not simulated",
	}[want.Label]
	if !listed && version == "9.2" {
		reason, listed = map[string]string{
			"limited resources": "recorded before the status daemon's first round: the node is unknown",
			"limited nodes":     "the same",
			"trailing slash":    "the same",
			"double slash":      "the same",
			"time":              "the recorded host has no timedatectl",
		}[want.Label]
	}
	return reason, listed
}

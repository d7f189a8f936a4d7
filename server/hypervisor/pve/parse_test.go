package pve

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

func TestUPIDs(t *testing.T) {
	for text, good := range map[string]bool{
		"UPID:pve1:00000103:000450DE:6B01F6C6:qmstart:110:root@pam!lab:":            true,
		"UPID:pve1:00000103:0123450DE:6B01F6C6:qmstart:110:root@pam:":               true,
		"UPID:pve1:00000103:000450DE:6B01F6C6:imgcopy::root@pam:":                   true,
		"UPID:pve1:00000103:000450DE:6B01F6C6:qmmove:522-scsi0>503-scsi3:root@pam:": true,
		"UPID:pve1:00000103:000450DE:6B01F6C6:qmstart:110:root@pam":                 false,
		"UPID:pve1:00000103:000450DE:6B01F6C6:qmstart:110":                          false,
		"UPID:../x:00000103:000450DE:6B01F6C6:qmstart:110:root@pam:":                false,
		"UPID:pve1:103:000450DE:6B01F6C6:qmstart:110:root@pam:":                     false,
		"UPID:pve1:0000010G:000450DE:6B01F6C6:qmstart:110:root@pam:":                false,
		"UPID:pve1:00000103:000450DE:6B01F6C6:qmstart:a/b:root@pam:":                false,
		"UPID": false, "": false, ":::::::::": false,
	} {
		if _, err := parseUPID(text); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
	task, err := parseUPID("UPID:pve1:00000103:000450DE:6B01F6C6:qmstart:110:root@pam!lab:")
	if err != nil || task.node != "pve1" || task.kind != "qmstart" || task.id != "110" || task.user != "root@pam!lab" ||
		task.started.Unix() != 0x6B01F6C6 || task.pstart != 0x450DE {
		t.Errorf("task is %+v, %v", task, err)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{
		"2G": 2 << 30, "48M": 48 << 20, "1536M": 1536 << 20, "4K": 4 << 10, "1T": 1 << 40, "1610612736": 1610612736, "1.5G": 3 << 29,
		"": 0, "G": 0, "x": 0, "-1G": 0, "9999999999999999T": 0, "NaN": 0, "1e400G": 0,
	} {
		if got := parseSize(text); got != want {
			t.Errorf("%q is %d, want %d", text, got, want)
		}
	}
	for bytes, want := range map[int64]string{2 << 30: "2G", 3 << 29: "1536M", 48 << 20: "48M", 1 << 10: "1K", 1: "1K", 2<<30 + 1: "2097153K"} {
		if got := resizeSize(bytes); got != want || parseSize(got) < bytes {
			t.Errorf("%d is %q, want %q", bytes, got, want)
		}
	}
	for bytes, want := range map[int64]string{2 << 30: "2", 3 << 29: "1.5", 1 << 20: "0.0009765625"} {
		if got := newVolumeSize(bytes); got != want {
			t.Errorf("%d is %q, want %q", bytes, got, want)
		}
	}
}

func TestPropertyStrings(t *testing.T) {
	drive := parseProperties("data:100/vm-100-disk-0.qcow2,discard=on,size=2G")
	if drive.get("") != "data:100/vm-100-disk-0.qcow2" || drive.get("size") != "2G" || drive.get("x") != "" {
		t.Errorf("parsed as %q", drive)
	}
	if got := drive.with("discard", "").with("size", "3G").with("ssd", "1").String(); got != "data:100/vm-100-disk-0.qcow2,size=3G,ssd=1" {
		t.Errorf("changed to %q", got)
	}
}

func TestCPULimits(t *testing.T) {
	for _, fact := range []struct {
		percent int64
		cpus    int
		want    string
		err     broker.Kind
	}{
		{broker.Unlimited, 4, "", ""}, {100, 4, "4", ""}, {50, 3, "1.5", ""}, {33, 1, "0.33", ""}, {1, 1, "0.01", ""}, {250, 2, "2", ""},
		{100, 128, "128", ""}, {100, 129, "", broker.Invalid}, {50, 256, "128", ""},
	} {
		got, err := cpuLimit(fact.percent, fact.cpus)
		if got != fact.want || broker.KindOf(err) != fact.err {
			t.Errorf("%d %% of %d is %q, %v", fact.percent, fact.cpus, got, err)
		}
		if fact.percent <= 100 && err == nil && limitPercent(got, fact.cpus) != fact.percent {
			t.Errorf("%q of %d is %d %%, was %d %%", got, fact.cpus, limitPercent(got, fact.cpus), fact.percent)
		}
	}
}

func TestGuestConfigs(t *testing.T) {
	var config guestConfig
	text := `{"cores":2,"sockets":"1","memory":"512","onboot":1,"scsi10":"data:vm-1-disk-2,size=1G","scsi2":"data:vm-1-disk-1,size=1536M",
		"virtio0":"file=local:1/x.raw,size=4M","ide2":"local:1/vm-1-cloudinit.qcow2,media=cdrom,size=4M","ide3":"none,media=cdrom","efidisk0":"local:1/e.raw,size=4M",
		"scsihw":"virtio-scsi-single","unused10":"data:vm-1-disk-9","unused2":"data:vm-1-disk-8","smbios1":"base64=1,uuid=ABCDEF00-0000-4000-8000-000000000001"}`
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		t.Fatal(err)
	}
	want := []hypervisor.GuestDisk{{Key: "scsi2", Volume: "data:vm-1-disk-1", SizeBytes: 1536 << 20}, {Key: "scsi10", Volume: "data:vm-1-disk-2", SizeBytes: 1 << 30}, {Key: "virtio0", Volume: "local:1/x.raw", SizeBytes: 4 << 20}}
	if got := config.disks(); !slices.Equal(got, want) {
		t.Errorf("disks are %+v", got)
	}
	if got := config.detachedVolumes(); !slices.Equal(got, []string{"data:vm-1-disk-8", "data:vm-1-disk-9"}) {
		t.Errorf("detached are %v", got)
	}
	if config.owner(100) != "abcdef00-0000-4000-8000-000000000001" || config.integer("cores", 0) != 2 || config.integer("sockets", 0) != 1 || config.integer("x", 7) != 7 {
		t.Errorf("owner %s, cores %d, sockets %d", config.owner(100), config.integer("cores", 0), config.integer("sockets", 0))
	}
}

func TestSpecsThatPVECantTake(t *testing.T) {
	parameters, err := createParameters(hypervisor.GuestSpec{Ref: testRef, Sockets: 1, Cores: 1, Limits: hypervisor.Limits{CPUPercent: broker.Unlimited}, Arch: "x86_64", HideHypervisor: true})
	if err != nil || parameters["arch"] != nil || parameters["cpu"] != "kvm64,hidden=1" {
		t.Errorf("parameters are %v, %v", parameters, err)
	}
	parameters, err = createParameters(hypervisor.GuestSpec{Ref: testRef, Sockets: 1, Cores: 1, Limits: hypervisor.Limits{CPUPercent: broker.Unlimited}, Arch: "aarch64", OSFamily: "windows", CloudInit: &hypervisor.CloudInit{}})
	if err != nil || parameters["arch"] != "aarch64" || parameters["ostype"] != "win10" || parameters["citype"] != "configdrive2" || parameters["cpu"] != nil {
		t.Errorf("parameters are %v, %v", parameters, err)
	}
}

func FuzzUPID(f *testing.F) {
	f.Add("UPID:pve1:00000103:000450DE:6B01F6C6:qmstart:110:root@pam!lab:")
	f.Add("UPID:::::::::")
	f.Fuzz(func(t *testing.T, text string) {
		task, err := parseUPID(text)
		if err != nil {
			if !isField(err, "operation") {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if path := task.path("/status"); strings.Count(path, "/") != 5 || strings.ContainsAny(path, "?# ") {
			t.Errorf("%q leads to %q", text, path)
		}
	})
}

func FuzzProperties(f *testing.F) {
	f.Add("virtio=BC:24:11:00:00:01,bridge=vmbr0", "rate", "12.5")
	f.Add("local:1,,=,a=b=c", "", "x")
	f.Fuzz(func(t *testing.T, text, key, value string) {
		parsed := parseProperties(text)
		again := parseProperties(parsed.String())
		if !slices.Equal(parsed, again) {
			t.Errorf("%q is %q, then %q", text, parsed, again)
		}
		if value != "" && parsed.with(key, value).get(key) != value {
			t.Errorf("%q: setting %q to %q gives %q", text, key, value, parsed.with(key, value).get(key))
		}
		if parsed.with(key, "").get(key) != "" {
			t.Errorf("%q: %q stays", text, key)
		}
	})
}

func FuzzAnswers(f *testing.F) {
	f.Add(500, "VM is locked (backup)", []byte(`{"data":null,"message":"VM is locked (backup)\n"}`))
	f.Add(400, "Parameter verification failed.", []byte(`{"errors":{"x":1,"":null}}`))
	f.Add(200, "", []byte(`{"data":[{"type":"qemu","vmid":1,"cpu":"x"}]}`))
	f.Add(200, "", []byte(`{"data":{"scsi0":"a,size=1G","unused0":1,"smbios1":["uuid"]}}`))
	f.Fuzz(func(t *testing.T, status int, reason string, body []byte) {
		err := failedReply("POST", status, reason, body)
		if detail := broker.DetailOf(err); broker.KindOf(err) == broker.Internal || len(detail) > 4*maxErrorText || strings.ContainsAny(detail, "\n\r\x00") {
			t.Errorf("%d %q %q: %v", status, reason, body, err)
		}
		if rows, err := decodeResources(slices.Clone(body)); err == nil {
			for i := range rows {
				_ = rows[i].summary()
			}
		}
		var answer struct{ Data guestConfig }
		if json.Unmarshal(body, &answer) == nil {
			for _, disk := range answer.Data.disks() {
				if disk.SizeBytes < 0 || disk.Key == "" {
					t.Errorf("disk %+v of %q", disk, body)
				}
			}
			_ = answer.Data.detachedVolumes()
			_ = answer.Data.owner(100)
		}
		if lines, err := logLines(body); err == nil {
			if share := lastPercent(lines); share < -1 || share > 1 || math.IsNaN(share) {
				t.Errorf("progress is %v", share)
			}
		}
	})
}

package lab_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"gantry/lab"
)

// putImage places a raw image of one megabyte into the import folder of local.
func putImage(t testing.TB, running *lab.Lab, name string) {
	t.Helper()
	folder, err := running.StorageFolder("pve1", "local", "import")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, name), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestGuestLifecycle(t *testing.T) {
	for _, version := range []string{"8", "9"} {
		t.Run(version, func(t *testing.T) {
			running := startLab(t, lab.Config{Version: version})
			putImage(t, running, "base.raw")
			c := newClient(t, running)
			upid, _ := c.ok("POST", "/nodes/pve1/qemu", "vmid", "100", "name", "web01", "memory", "256", "scsihw", "virtio-scsi-pci",
				"scsi0", "local:0,import-from=local:import/base.raw,iops_rd=100", "ide2", "local:cloudinit", "net0", "virtio,bridge=vmbr0",
				"ipconfig0", "ip=10.0.0.2/24,gw=10.0.0.1", "ciuser", "joe", "cipassword", "secret", "agent", "1").(string)
			c.must(c.wait(upid), "OK")
			conf, _ := c.ok("GET", "/nodes/pve1/qemu/100/config").(map[string]any)
			for key, want := range map[string]any{"name": "web01", "memory": "256", "agent": "1", "cipassword": "**********",
				"scsi0": "local:100/vm-100-disk-0.raw,iops_rd=100,size=1M", "boot": "order=scsi0;ide2;net0"} {
				if conf[key] != want {
					t.Errorf("config %s = %v, want %v", key, conf[key], want)
				}
			}
			if _, locked := conf["lock"]; locked {
				t.Errorf("the lock is still there: %v", conf)
			}
			c.must(c.task("PUT", "/nodes/pve1/qemu/100/resize", "disk", "scsi0", "size", "+1G"), "OK")
			c.must(c.task("POST", "/nodes/pve1/qemu/100/status/start"), "OK")
			status, _ := c.ok("GET", "/nodes/pve1/qemu/100/status/current").(map[string]any)
			if status["status"] != "running" || status["pid"] == nil {
				t.Errorf("status after start: %v", status)
			}
			if answer := c.call("DELETE", "/nodes/pve1/qemu/100"); answer.Reason != "VM 100 is running - destroy failed" {
				t.Errorf("delete of a running guest: %d %s", answer.Status, answer.Reason)
			}
			c.must(c.task("POST", "/nodes/pve1/qemu/100/status/shutdown"), "OK")
			c.must(c.task("DELETE", "/nodes/pve1/qemu/100"), "OK")
			rows, _ := c.ok("GET", "/nodes/pve1/storage/local/content", "content", "images").([]any)
			if len(rows) != 0 {
				t.Errorf("volumes left behind: %v", rows)
			}
		})
	}
}

func TestDownloadURL(t *testing.T) {
	image := make([]byte, 3<<20)
	sum := sha256.Sum256(image)
	source := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/a.qcow2" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(image)
	}))
	defer source.Close()
	c := newClient(t, startLab(t, lab.Config{}))
	download := func(params ...string) string {
		return c.task("POST", "/nodes/pve1/storage/local/download-url", append([]string{"content", "import", "filename", "x.qcow2"}, params...)...)
	}
	c.must(download("url", source.URL+"/none"), "download failed: exit code 8")
	wrong := hex.EncodeToString(make([]byte, 32))
	c.must(download("url", source.URL+"/a.qcow2", "checksum-algorithm", "sha256", "checksum", wrong),
		"checksum mismatch: got '"+hex.EncodeToString(sum[:])+"' != expect '"+wrong+"'")
	c.must(download("url", source.URL+"/a.qcow2", "checksum-algorithm", "sha256", "checksum", hex.EncodeToString(sum[:])), "OK")
	c.must(download("url", source.URL+"/a.qcow2"), "refusing to override existing file '/var/lib/vz/import/x.qcow2'")
	rows, _ := c.ok("GET", "/nodes/pve1/storage/local/content", "content", "import").([]any)
	if len(rows) != 1 || rows[0].(map[string]any)["volid"] != "local:import/x.qcow2" {
		t.Errorf("content: %v", rows)
	}
	for _, fact := range []struct{ storage, file, reason, problem string }{
		{"local", "x.img", "Parameter verification failed.", "invalid filename or wrong extension"},
		{"data", "x.qcow2", "storage 'data' is not configured for content-type 'import'", ""},
	} {
		answer := c.call("POST", "/nodes/pve1/storage/"+fact.storage+"/download-url", "content", "import", "filename", fact.file, "url", source.URL)
		if answer.Reason != fact.reason || answer.Errors["filename"] != fact.problem {
			t.Errorf("%s on %s: %s %v", fact.file, fact.storage, answer.Reason, answer.Errors)
		}
	}
}

package libvirt

import (
	"encoding/json"
	"net/netip"
	"os"
	"strings"
	"testing"

	"gantry/internal/libvirttest"
	"gantry/internal/qemutest"
	"gantry/server/broker"
	"gantry/server/hypervisor"
)

const cloudImage = "cloud.qcow2"

// A real Linux boots from an image that was fetched and learns from its cloud-init drive who it is; its hardware is what was ordered, and
// a running guest takes new limits.
func TestCloudImageBoots(t *testing.T) {
	t.Parallel()
	qemutest.Require(t)
	content, err := os.ReadFile(qemutest.CloudImage(t))
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, local(), "")
	t.Cleanup(func() { _ = d.Close() })
	operation, err := d.FetchImage(t.Context(), node(t, d), hypervisor.ImageFetch{
		FileName: cloudImage, URL: serve(t, map[string][]byte{cloudImage: content}) + cloudImage, Checksum: sumOf(content),
	})
	await(t, d, operation, err)
	image, err := d.FindImage(t.Context(), node(t, d), cloudImage)
	if err != nil {
		t.Fatal(err)
	}
	spec := small(t, d, 8500)
	spec.Name, spec.MemoryMB, spec.Cores = "web.example.org", 256, 1
	spec.Disks[0].SizeBytes, spec.Disks[0].ImportFrom = 0, image.Volume
	spec.Disks = append(spec.Disks, hypervisor.DiskSpec{Key: "scsi1", Storage: libvirttest.Pool, SizeBytes: 64 << 20, IO: hypervisor.UnlimitedIO()})
	spec.CloudInitStorage = libvirttest.Pool
	spec.CloudInit = &hypervisor.CloudInit{
		User: "alice", Password: "p'w\"d: #é", SSHKeys: []string{"ssh-ed25519 AAAAC3Nz alice@here: # x"}, Nameserver: "192.0.2.53",
		Addresses: []broker.VMAddress{{IP: netip.MustParseAddr("192.0.2.10"), Prefix: 24, Gateway: netip.MustParseAddr("192.0.2.1")}},
	}
	spec.Hardware.SMBIOS = []broker.SMBIOSModel{{Type: 1, Fields: map[string]string{"manufacturer": "Acme, Inc.", "product": "Server <1>", "serial": "S 1"}}}
	operation, err = d.CreateGuest(t.Context(), spec)
	await(t, d, operation, err)
	t.Cleanup(func() { remove(t, d, spec.Ref) })
	operation, err = d.ResizeDisk(t.Context(), spec.Ref, hypervisor.SystemDisk, 3<<30)
	await(t, d, operation, err)
	operation, err = d.Power(t.Context(), spec.Ref, hypervisor.Start, hypervisor.PowerOptions{})
	await(t, d, operation, err)
	ready := qemutest.WaitReady(t, host.Path(serialLog(spec.Ref.ID)), 1)
	for field, want := range map[string]string{
		"hostname": "web", "address": "192.0.2.10/24", "gateway": "192.0.2.1", "dns": "192.0.2.53", "mac": spec.NICs[0].MAC, "user": "alice",
		"ssh-keys": "1", "disk-size": "3221225472", "cpus": "1", "uuid": spec.Ref.Owner,
	} {
		if got := strings.ToLower(ready[field]); got != want {
			t.Errorf("the guest's %s is %q, want %q", field, got, want)
		}
	}
	if hash := ready["password-hash"]; !strings.HasPrefix(hash, "$6$") || len(hash) < 100 {
		t.Errorf("the guest's password hash is %q", hash)
	}
	arguments := host.Run(t, "cat", "/run/libvirt/qemu/"+domainName(spec.Ref.ID)+".pid")
	arguments = host.Run(t, "cat", "/proc/"+strings.TrimSpace(arguments)+"/cmdline")
	for _, want := range []string{"manufacturer=Acme,, Inc.", "product=Server <1>", "serial=S 1"} {
		if !strings.Contains(arguments, want) {
			t.Errorf("QEMU is not told %q", want)
		}
	}
	checkLiveLimits(t, d, spec.Ref)
	checkFilter(t, spec.NICs[0].MAC)
	operation, err = d.Configure(t.Context(), spec.Ref, hypervisor.GuestChange{Name: new("renamed.example.org")})
	await(t, d, operation, err)
	operation, err = d.Power(t.Context(), spec.Ref, hypervisor.Shutdown, hypervisor.PowerOptions{})
	await(t, d, operation, err)
	g, err := d.load(t.Context(), spec.Ref.ID)
	if err != nil {
		t.Fatal(err)
	}
	data, _, ours, err := d.currentSeed(t.Context(), g)
	if err != nil || !ours || data.Name != "renamed.example.org" || data.User != "alice" || data.Hash != ready["password-hash"] {
		t.Errorf("after a change of name the cloud-init drive says %+v, %t, %v", data, ours, err)
	}
	if len(g.record.Volumes) != 3 {
		t.Errorf("volumes are %+v, want two disks and the new drive", g.record.Volumes)
	}
}

// checkLiveLimits asks QEMU itself.
func checkLiveLimits(t *testing.T, d *driver, ref hypervisor.GuestRef) {
	t.Helper()
	limits := hypervisor.UnlimitedIO()
	limits.ReadMBps, limits.ReadMBpsMax, limits.WriteIOPS = 7, 9, 300
	operation, err := d.Configure(t.Context(), ref, hypervisor.GuestChange{SystemDiskIO: &limits})
	await(t, d, operation, err)
	var answer struct {
		Return []struct {
			Inserted struct {
				BpsRead    int64 `json:"bps_rd"`
				BpsReadMax int64 `json:"bps_rd_max"`
				OpsWrite   int64 `json:"iops_wr"`
			} `json:"inserted"`
		} `json:"return"`
	}
	text := host.Run(t, "virsh", "qemu-monitor-command", domainName(ref.ID), `{"execute":"query-block"}`)
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	for _, device := range answer.Return {
		if each := device.Inserted; each.BpsRead == 7<<20 && each.BpsReadMax == 9<<20 && each.OpsWrite == 300 {
			return
		}
	}
	t.Errorf("QEMU's limits are %s", text)
}

// checkFilter asks the kernel whether frames with another sender's MAC are dropped.
func checkFilter(t *testing.T, mac string) {
	t.Helper()
	if rules := host.Run(t, "ebtables", "-t", "nat", "-L"); !strings.Contains(rules, mac) || !strings.Contains(rules, "192.0.2.10") {
		t.Errorf("no rule for the guest's addresses in:\n%s", rules)
	}
}

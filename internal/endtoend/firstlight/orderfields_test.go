package firstlight

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"gantry/internal/qemutest"
	"gantry/internal/tlspin"
)

// TestEveryOrderedFieldReachesTheHypervisor orders once with every field and once with none that is optional, and reads the
// configurations back from the hypervisor itself.
func TestEveryOrderedFieldReachesTheHypervisor(t *testing.T) {
	binary := buildGantry(t)
	for _, version := range []string{"8", "9"} {
		t.Run("PVE "+version, func(t *testing.T) {
			demo := startDemo(t, binary, t.TempDir(), "--qemu=off", "--order=false", "--pve="+version)
			full := demo.order(t, map[string]any{
				"nodeid": demo.report.NodeID, "hostname": "full-order", "sockets": 2, "cores": 3, "memory": 1024, "cpu": "host",
				"nested": true, "cpuUnits": 50, "storage": "data", "systemDiskSize": 3, "os": fmt.Sprint(demo.report.OSID),
				"osType": "linux", "bandwidth": 80, "mbpsRd": 30, "mbpsWr": 20, "iopsRd": 300, "iopsWr": 200, "mbpsRdMax": 60,
				"dataDisk": map[string]any{"1": 2, "2": "local:1"}, "ipConfig": map[string]string{"1": "", "2": ""},
				"onBoot": 1, "username": "joe", "password": "secret-word", "dns1": "9.9.9.9", "flowLimit": 10, "acpi": "1", "kvm": true,
			})
			least := demo.order(t, map[string]any{"nodeid": demo.report.NodeID, "os": fmt.Sprint(demo.report.OSID)})
			for _, fact := range []struct{ key, want string }{
				{"name", "full-order"}, {"sockets", "2"}, {"cores", "3"}, {"memory", "1024"}, {"cpulimit", "3"}, {"onboot", "1"},
				{"ciuser", "joe"}, {"nameserver", "9.9.9.9"}, {"ostype", "l26"}, {"cpu", "host"}, {"agent", "1"},
				{"scsi0", "data:"}, {"scsi0", "size=3G"}, {"scsi0", "mbps_rd=30"}, {"scsi0", "mbps_rd_max=60"}, {"scsi0", "mbps_wr=20"},
				{"scsi0", "iops_rd=300"}, {"scsi0", "iops_wr=200"}, {"scsi1", "data:"}, {"scsi1", "size=2G"}, {"scsi2", "local:"},
				{"scsi2", "size=1G"}, {"net0", "rate=10"}, {"net0", "bridge=vmbr0"}, {"smbios1", "uuid="}, {"boot", "scsi0"},
				{"ipconfig0", "gw="}, {"ide2", "cloudinit"},
			} {
				if got := fmt.Sprint(full[fact.key]); !strings.Contains(got, fact.want) {
					t.Errorf("everything ordered: %s is %q, want %q in it", fact.key, got, fact.want)
				}
			}
			for _, fact := range []struct{ key, never string }{{"net0", "rate="}, {"scsi0", "mbps"}, {"scsi0", "iops"}} {
				if got := fmt.Sprint(least[fact.key]); strings.Contains(got, fact.never) {
					t.Errorf("nothing but the least ordered: %s is %q, limits were not ordered", fact.key, got)
				}
			}
			for key, want := range map[string]string{"memory": "512", "cores": "1", "cpulimit": "<nil>", "scsi1": "<nil>"} {
				if got := fmt.Sprint(least[key]); got != want {
					t.Errorf("nothing but the least ordered: %s is %q, want %q", key, got, want)
				}
			}
		})
	}
}

// order places an order, waits for its end and gives the guest's configuration as the hypervisor has it.
func (d *demo) order(t *testing.T, body map[string]any) map[string]any {
	t.Helper()
	var ordered struct {
		VMID   int
		TaskID int64
	}
	read(t, d.billing("POST", "cerateVM", body), &ordered)
	var task struct{ State, Error string }
	qemutest.Eventually(t, time.Minute, "the order to end", func() bool {
		read(t, d.billing("GET", fmt.Sprintf("getTask?id=%d", ordered.TaskID), nil), &task)
		return task.State == "done" || task.State == "undone" || task.State == "stuck"
	})
	if task.State != "done" {
		t.Fatalf("the order is %s: %s", task.State, task.Error)
	}
	var config struct{ Data map[string]any }
	if err := json.Unmarshal(d.lab(t, fmt.Sprintf("/nodes/pve1/qemu/%d/config", ordered.VMID)), &config); err != nil {
		t.Fatal(err)
	}
	return config.Data
}

// lab asks the simulated cluster itself.
func (d *demo) lab(t *testing.T, path string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	pin, err := tlspin.Fetch(ctx, strings.TrimPrefix(d.report.Lab, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.report.Lab+"/api2/json"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "PVEAPIToken="+d.report.LabToken)
	transport := &http.Transport{TLSClientConfig: tlspin.Pinned(pin)}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		t.Fatalf("the lab answers %s: %s", response.Status, text)
	}
	return text
}

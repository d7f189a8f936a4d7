package firstlight

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gantry/internal/browsertest"
	"gantry/internal/qemutest"
)

// bootPatience is how long a guest's screen may stay dark on a busy machine.
const bootPatience = time.Minute

// TestAnOrderBecomesARunningMachineWithAConsole is the whole story in one run; its parts build on one another.
func TestAnOrderBecomesARunningMachineWithAConsole(t *testing.T) {
	binary := buildGantry(t)
	for _, hypervisor := range []struct {
		name  string
		flags []string
	}{
		{"Proxmox VE", nil},
		{"libvirt", []string{"--hypervisor=libvirt", "--libvirtd=own"}},
	} {
		t.Run(hypervisor.name, func(t *testing.T) { firstLight(t, binary, hypervisor.flags...) })
	}
}

func firstLight(t *testing.T, binary string, flags ...string) {
	image, other := qemutest.CloudImage(t), qemutest.CloudImageTagged(t, "other")
	dataDir := shortFolder(t)
	demo := startDemo(t, binary, dataDir, append(flags, "--qemu=on", "--image", image)...)
	vm := demo.report.DemoVM

	t.Run("the guest got hostname, address and password through cloud-init", func(t *testing.T) {
		ready := qemutest.WaitReady(t, demo.host.serialLog(vm.VMID), 1)
		for _, fact := range []struct{ field, want string }{
			{"image", "gantry"}, {"hostname", "demo-vm"}, {"address", vm.IP + "/24"}, {"user", "root"}, {"boots", "1"},
			{"disk-size", fmt.Sprint(1 << 30)},
		} {
			if ready[fact.field] != fact.want {
				t.Errorf("%s is %q, want %q", fact.field, ready[fact.field], fact.want)
			}
		}
		if !logsIn(t, demo, "root", "gantry-demo") {
			t.Error("the ordered password does not open the guest")
		}
	})
	if os.Geteuid() == 0 {
		t.Run("the guest answers ping", func(t *testing.T) {
			if output, err := exec.Command("ping", "-c", "1", "-W", "5", vm.IP).CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, output)
			}
		})
	}
	t.Run("its screen opens in a browser, once", func(t *testing.T) { consoleOpensOnce(t, demo) })
	t.Run("a reinstall replaces the system and keeps name and address", func(t *testing.T) { reinstall(t, demo, other) })
	t.Run("power buttons do what they say", func(t *testing.T) {
		for _, button := range []struct {
			action string
			status int
		}{{"stop", 1}, {"start", 0}, {"shutdown", 1}, {"start", 0}, {"pause", 4}, {"unpause", 0}} {
			demo.billing("PUT", fmt.Sprintf("power/%d/%s", vm.HostID, button.action), nil)
			demo.finished("power")
			if status := demo.machine().VMHost.Status; status != button.status {
				t.Errorf("after %s the status is %d, want %d", button.action, status, button.status)
			}
		}
	})
	t.Run("delete gives everything back", func(t *testing.T) { deleteEverything(t, demo) })
	t.Run("the demo ends with everything it started", func(t *testing.T) {
		var kept struct{ Bridge string }
		text, err := os.ReadFile(filepath.Join(dataDir, "demo.json"))
		if err != nil {
			t.Fatal(err)
		}
		read(t, text, &kept)
		demo.stop()
		if left := leftovers(dataDir, kept.Bridge); len(left) > 0 {
			t.Errorf("left over: %s", strings.Join(left, "; "))
		}
	})
}

// logsIn tries a password at the guest's serial login prompt.
func logsIn(t *testing.T, demo *demo, user, password string) bool {
	t.Helper()
	port := demo.host.serialPort(t, demo.report.DemoVM.VMID)
	defer port.Close()
	seen := func(mark string) func() bool {
		return func() bool {
			text, err := os.ReadFile(demo.host.serialLog(demo.report.DemoVM.VMID))
			return err == nil && strings.Contains(string(text), mark)
		}
	}
	say := func(line string) {
		if _, err := port.Write([]byte(line + "\n")); err != nil {
			t.Fatal(err)
		}
	}
	qemutest.Eventually(t, time.Minute, "login prompt", seen("login: "))
	say(user)
	qemutest.Eventually(t, time.Minute, "password prompt", seen("Password: "))
	say(password)
	say("echo uid-is-$(id -u)")
	logged := false
	qemutest.Eventually(t, time.Minute, "answer to the login", func() bool {
		logged = seen("uid-is-0")()
		return logged || seen("Login incorrect")()
	})
	say("exit")
	return logged
}

func consoleOpensOnce(t *testing.T, demo *demo) {
	page := browsertest.Start(t).Open(demo.report.DemoVM.Console, browsertest.Desktop)
	page.Wait(`document.body.dataset.state === "connected"`)
	qemutest.Eventually(t, bootPatience, "a picture on the screen", func() bool { return !browsertest.Blank(page.Screenshot()) })
	page.SaveScreenshot("first-light-console")
	if problems := page.Problems(); len(problems) > 0 {
		t.Errorf("the browser complains: %s", strings.Join(problems, "; "))
	}
	stranger := browsertest.Start(t).Open(demo.report.DemoVM.Console, browsertest.Desktop)
	stranger.Wait(`document.body.dataset.state === "disconnected"`)
}

func reinstall(t *testing.T, demo *demo, image string) {
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, image) }))
	defer mirror.Close()
	demo.panel("POST", "/insertOs", map[string]any{
		"name": "Other-Linux", "fileName": "other-linux.qcow2", "type": "linux", "osType": "other", "downType": 0,
		"url": mirror.URL + "/other-linux.qcow2", "cloud": 1,
	})
	var images struct {
		Records []struct {
			ID       int64
			FileName string
		}
	}
	read(t, demo.panel("GET", "/selectOsByPage?page=1&size=50", nil), &images)
	for _, each := range images.Records {
		if each.FileName == "other-linux.qcow2" {
			demo.panel("POST", "/downloadOs", map[string]int64{"osId": each.ID, "nodeId": demo.report.NodeID})
		}
	}
	demo.finished("download-image")
	demo.billing("PUT", "reinstall", map[string]any{
		"hostId": demo.report.DemoVM.HostID, "os": "Other-Linux", "newPassword": "fresh-word-7", "resetDataDisk": false,
	})
	demo.finished("reinstall")
	ready := map[string]string{}
	qemutest.Eventually(t, 2*time.Minute, "the new system", func() bool {
		ready = qemutest.WaitReady(t, demo.host.serialLog(demo.report.DemoVM.VMID), 1)
		return ready["image"] == "other"
	})
	for _, fact := range []struct{ field, want string }{
		{"hostname", "demo-vm"}, {"address", demo.report.DemoVM.IP + "/24"}, {"boots", "1"},
	} {
		if ready[fact.field] != fact.want {
			t.Errorf("%s is %q, want %q", fact.field, ready[fact.field], fact.want)
		}
	}
	info := demo.machine()
	if info.VMHost.Password != "fresh-word-7" || info.VMHost.OS != "other-linux.qcow2" || info.VMHost.Status != 0 {
		t.Errorf("the record says %+v", info.VMHost)
	}
	if !logsIn(t, demo, "root", "fresh-word-7") {
		t.Error("the new password does not open the guest")
	}
	if disks := demo.host.disks(t); len(disks) != 1 {
		t.Errorf("one system disk is left, the old one is gone: %v", disks)
	}
}

func deleteEverything(t *testing.T, demo *demo) {
	demo.billing("DELETE", fmt.Sprintf("forceDelete/%d", demo.report.DemoVM.HostID), nil)
	demo.finished("delete")
	key := demo.billingPath("getVmInfo?hostId=" + fmt.Sprint(demo.report.DemoVM.HostID))
	if reply := demo.send("GET", key, basic(demo), nil); reply.Code != 1016 {
		t.Errorf("the deleted machine answers %d %s", reply.Code, reply.Message)
	}
	var pools struct {
		Records []struct{ Used, Available int64 }
	}
	read(t, demo.panel("GET", "/selectIpPoolList?page=1&size=10", nil), &pools)
	if pools.Records[0].Used != 0 || pools.Records[0].Available != 253 {
		t.Errorf("addresses: %+v", pools.Records[0])
	}
	if left := demo.host.left(t); len(left) != 0 {
		t.Errorf("left on the hypervisor: %v", left)
	}
}

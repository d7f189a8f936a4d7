package lab_test

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"gantry/lab"
	"gantry/lab/fault"
)

// childVariable tells the test binary to be a lab on that data directory until it is killed.
const childVariable = "GANTRY_LAB_TEST_CHILD"

func TestMain(m *testing.M) {
	if folder := os.Getenv(childVariable); folder != "" {
		beChild(folder)
		return
	}
	os.Exit(m.Run())
}

func beChild(folder string) {
	running, err := lab.Start(context.Background(), lab.Config{DataDir: folder, StatusInterval: -1})
	if err != nil {
		_, _ = os.Stdout.WriteString("error: " + err.Error() + "\n")
		return
	}
	// Creations of 101 stand still at their first disk.
	running.Faults().AddTask(fault.TaskRule{Type: "qmcreate", ID: "101", Step: "disk", Delay: time.Hour})
	_, secret := running.RootToken()
	pin := running.Fingerprint()
	text, _ := json.Marshal([]string{running.URL(), secret, hex.EncodeToString(pin[:])})
	_, _ = os.Stdout.WriteString(string(text) + "\n")
	select {}
}

func startChild(t *testing.T, folder string) (process *exec.Cmd, c *client) {
	t.Helper()
	process = exec.Command(os.Args[0])
	process.Env = append(os.Environ(), childVariable+"="+folder)
	output, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = process.Process.Kill(); _ = process.Wait() })
	line, err := bufio.NewReader(output).ReadString('\n')
	var hello []string
	if err != nil || json.Unmarshal([]byte(line), &hello) != nil || len(hello) != 3 {
		t.Fatalf("the lab did not start: %q %v", line, err)
	}
	raw, err := hex.DecodeString(hello[2])
	if err != nil || len(raw) != 32 {
		t.Fatalf("the lab's fingerprint: %q", hello[2])
	}
	return process, &client{t: t, base: hello[0], token: "root@pam!lab=" + hello[1], web: webClient(t, [32]byte(raw))}
}

// A lab that was killed and started again has the same guests, volumes, tasks, tokens and certificate; what was cut off shows as on a node
// that lost power.
func TestKilledLabComesBack(t *testing.T) {
	folder := t.TempDir()
	process, c := startChild(t, folder)
	c.must(c.task("POST", "/nodes/pve1/qemu", "vmid", "100", "name", "kept", "scsi0", "local:1", "memory", "256"), "OK")
	started, _ := c.ok("POST", "/nodes/pve1/qemu/100/status/start").(string)
	c.must(c.wait(started), "OK")
	created, _ := c.ok("POST", "/nodes/pve1/qemu", "vmid", "101", "scsi0", "local:1").(string)
	before, _ := c.ok("GET", "/nodes/pve1/qemu/100/config").(map[string]any)
	content := c.ok("GET", "/nodes/pve1/storage/local/content", "vmid", "100")
	fingerprint := c.ok("GET", "/nodes").([]any)[0].(map[string]any)["ssl_fingerprint"]
	if err := process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = process.Wait()

	again := startLab(t, lab.Config{DataDir: folder})
	after := newClient(t, again)
	if id, kept := again.RootToken(); id+"="+kept != c.token {
		t.Errorf("the token changed: %s", id)
	}
	if again.FingerprintText() != fingerprint {
		t.Errorf("the certificate changed: %s, was %s", again.FingerprintText(), fingerprint)
	}
	if now := after.ok("GET", "/nodes/pve1/qemu/100/config"); !reflect.DeepEqual(now, any(before)) {
		t.Errorf("configuration\n%v\nwas\n%v", now, before)
	}
	if now := after.ok("GET", "/nodes/pve1/storage/local/content", "vmid", "100"); !reflect.DeepEqual(now, content) {
		t.Errorf("volumes\n%v\nwere\n%v", now, content)
	}
	if status := after.ok("GET", "/nodes/pve1/qemu/100/status/current").(map[string]any); status["status"] != "running" {
		t.Errorf("the guest did not outlive the lab: %v", status)
	}
	after.must(after.wait(started), "OK")
	if half := after.ok("GET", "/nodes/pve1/qemu/101/config").(map[string]any); half["lock"] != "create" || half["smbios1"] != nil {
		t.Errorf("the guest whose creation was cut off: %v", half)
	}
	if exit := after.wait(created); exit != "unable to read tail (got 0 bytes)" && exit != "unexpected status" {
		t.Errorf("the task that was cut off ended %q", exit)
	}
	if exit := after.task("POST", "/nodes/pve1/qemu/101/status/start"); exit != "VM is locked (create)" {
		t.Errorf("start of the half guest: %q", exit)
	}
	if _, err := lab.Start(context.Background(), lab.Config{DataDir: folder}); err == nil || !strings.Contains(err.Error(), "another lab runs") {
		t.Errorf("a second lab on the same data: %v", err)
	}
}

package pve_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gantry/internal/qemutest"
	"gantry/internal/tlspin"
	"gantry/lab"
	"gantry/lab/machine/qemu"
	"gantry/server/broker"
	"gantry/server/hypervisor"
)

const marked = "8c2f4e4e-0000-4000-8000-000000000001"

// hostile is a value that must arrive in the guest as it is: nothing in it may end an option, a word or an argument.
const hostile = `A,B=C 'D' "E" \F $(G);H -uuid I\`

// TestAGuestShowsItsModels goes all the way: driver, PVE's API, the split of args, a real QEMU, and what the system inside reads of its
// SMBIOS tables and its processor.
func TestAGuestShowsItsModels(t *testing.T) {
	image := qemutest.CloudImage(t)
	backend, err := qemu.New(qemu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	config := lab.Config{
		DataDir: t.TempDir(), Nodes: []string{"pve1"}, Backend: backend, TimeScale: 0.01, UnauthorizedDelay: -1, StatusInterval: -1, RootPassword: "root password",
	}
	c := &cluster{config: config}
	c.open(t)
	t.Cleanup(func() {
		if err := errors.Join(c.Close(), backend.StopGuests(context.Background())); err != nil {
			t.Error(err)
		}
	})
	content, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	folder, err := c.StorageFolder("pve1", "local", "import")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "gantry.qcow2"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	d := c.byPassword(t, "root password")
	volume, err := d.FindImage(t.Context(), "pve1", "gantry.qcow2")
	if err != nil {
		t.Fatal(err)
	}
	spec := hypervisor.GuestSpec{
		Ref: hypervisor.GuestRef{ID: 100, Node: "pve1", Owner: marked}, Name: "models", Sockets: 1, Cores: 2, CPUType: "max", HideHypervisor: true,
		MemoryMB: 256, ACPI: true, OSFamily: "linux", GuestAgent: true, Limits: hypervisor.Limits{CPUPercent: broker.Unlimited},
		Disks: []hypervisor.DiskSpec{{Key: hypervisor.SystemDisk, Storage: "data", ImportFrom: volume.Volume, IO: hypervisor.UnlimitedIO()}},
		Hardware: broker.GuestHardware{
			CPU: &broker.CPUModel{
				Name: "Gantry CPU @ 4.2 GHz", Family: new(6), Model: new(97), Stepping: new(2), Level: "0xD", XLevel: "0x80000008", Vendor: "GenuineIntel", L3Cache: new(true),
			},
			SMBIOS: []broker.SMBIOSModel{
				{Type: 0, Fields: map[string]string{"vendor": "American Megatrends", "version": hostile, "date": "01/02/2024", "release": "5.17"}},
				{Type: 1, Fields: map[string]string{"manufacturer": "ASUS, Inc.", "product": hostile, "serial": "SN-1", "family": "ROG"}},
				{Type: 2, Fields: map[string]string{"manufacturer": "ASUSTeK", "product": "B650 'E'"}},
				{Type: 3, Fields: map[string]string{"manufacturer": "Chassis & Co", "serial": `C"1"`}},
			},
		},
	}
	run(t, d, func() (hypervisor.Operation, error) { return d.CreateGuest(t.Context(), spec) })
	run(t, d, func() (hypervisor.Operation, error) {
		return d.Power(t.Context(), spec.Ref, hypervisor.Start, hypervisor.PowerOptions{})
	})
	inside := agentOf(t, c)
	inside.awaitAgent()
	for file, want := range map[string]string{
		"bios_vendor": "American Megatrends", "bios_version": hostile, "bios_date": "01/02/2024", "sys_vendor": "ASUS, Inc.", "product_name": hostile,
		"product_serial": "SN-1", "product_family": "ROG", "product_uuid": marked, "board_vendor": "ASUSTeK", "board_name": "B650 'E'",
		"chassis_vendor": "Chassis & Co", "chassis_serial": `C"1"`,
	} {
		if got := strings.TrimSuffix(inside.read("/sys/class/dmi/id/"+file), "\n"); strings.TrimSpace(got) != strings.TrimSpace(want) {
			t.Errorf("%s is %q, want %q", file, got, want)
		}
	}
	processor := inside.read("/proc/cpuinfo")
	for name, want := range map[string]string{"vendor_id": "GenuineIntel", "cpu family": "6", "model": "97", "model name": "Gantry CPU @ 4.2 GHz", "stepping": "2", "cpuid level": "13"} {
		if got := cpuField(processor, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if flags := " " + cpuField(processor, "flags") + " "; strings.Contains(flags, " hypervisor ") {
		t.Error("the guest sees that it is virtual")
	}
}

func cpuField(cpuinfo, name string) string {
	for line := range strings.Lines(cpuinfo) {
		if key, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// run begins an operation and waits until it ended well.
func run(t *testing.T, d hypervisor.Driver, begin func() (hypervisor.Operation, error)) {
	t.Helper()
	operation, err := begin()
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, d, operation)
}

func waitFor(t *testing.T, d hypervisor.Driver, operation hypervisor.Operation) {
	t.Helper()
	if operation.Done() {
		return
	}
	qemutest.Eventually(t, 2*time.Minute, "end of "+operation.ID, func() bool {
		state, err := d.OperationState(t.Context(), operation)
		if err == nil {
			err = state.Err
		}
		if err != nil {
			t.Fatal(err)
		}
		return state.Finished
	})
}

// agent reads files in a guest through PVE's agent calls.
type agent struct {
	t      *testing.T
	client *http.Client
	base   string
	header string
}

func agentOf(t *testing.T, c *cluster) agent {
	t.Helper()
	pin, err := tlspin.Parse(c.pin())
	if err != nil {
		t.Fatal(err)
	}
	secure := tlspin.Pinned(pin)
	id, secret := c.RootToken()
	return agent{
		t: t, client: &http.Client{Transport: &http.Transport{TLSClientConfig: secure}, Timeout: 30 * time.Second},
		base: c.URL() + "/api2/json/nodes/pve1/qemu/100/agent/", header: fmt.Sprintf("PVEAPIToken=%s=%s", id, secret),
	}
}

func (a agent) call(method, path string) (int, []byte) {
	a.t.Helper()
	request, err := http.NewRequestWithContext(a.t.Context(), method, a.base+path, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	request.Header.Set("Authorization", a.header)
	reply, err := a.client.Do(request)
	if err != nil {
		a.t.Fatal(err)
	}
	defer reply.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(reply.Body); err != nil {
		a.t.Fatal(err)
	}
	return reply.StatusCode, body.Bytes()
}

func (a agent) awaitAgent() {
	a.t.Helper()
	qemutest.Eventually(a.t, 2*time.Minute, "answer of the guest's agent", func() bool {
		status, _ := a.call(http.MethodPost, "ping")
		return status == http.StatusOK
	})
}

func (a agent) read(file string) string {
	a.t.Helper()
	status, body := a.call(http.MethodGet, "file-read?file="+url.QueryEscape(file))
	var answer struct {
		Data struct{ Content string }
	}
	if err := json.Unmarshal(body, &answer); err != nil || status != http.StatusOK {
		a.t.Fatalf("%s: %d %s", file, status, body)
	}
	return answer.Data.Content
}

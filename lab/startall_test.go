package lab_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gantry/lab"
	"gantry/lab/machine"
	"gantry/lab/machine/memory"
)

// haltedBackend says of every guest that ran when its lab ended that it was stopped with the lab.
type haltedBackend struct{ *memory.Backend }

func (b haltedBackend) Attach(ctx context.Context, spec machine.Spec) (machine.Process, error) {
	process, err := b.Backend.Attach(ctx, spec)
	if err != nil {
		return nil, err
	}
	return nil, errors.Join(machine.ErrHalted, process.Kill(ctx))
}

// After its guests were stopped with the lab, the next lab boots as a node does; after any other end it finds its guests as they are.
func TestGuestsStartWithTheirNode(t *testing.T) {
	folder := t.TempDir()
	first := startLab(t, lab.Config{DataDir: folder})
	c := newClient(t, first)
	for _, guest := range []struct {
		vmid    string
		running bool
		options []string
	}{
		{"100", true, []string{"onboot", "1"}},
		{"101", true, nil},
		{"102", false, []string{"onboot", "1"}},
		{"103", true, []string{"onboot", "1", "startup", "order=2"}},
		{"104", true, []string{"onboot", "1", "startup", "order=1,up=5"}},
		{"105", true, []string{"onboot", "1", "startup", "order=3", "net0", "virtio,bridge=gone"}},
	} {
		c.must(c.task("POST", "/nodes/pve1/qemu", append(guest.options, "vmid", guest.vmid)...), "OK")
		if guest.vmid == "105" {
			runs := filepath.Join(folder, "nodes", "pve1", "run", "105")
			if err := os.MkdirAll(runs, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(runs, "memory.running"), []byte("{}"), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if guest.running {
			c.must(c.task("POST", "/nodes/pve1/qemu/"+guest.vmid+"/status/start"), "OK")
		}
	}
	root := c.login("root@pam", first.RootPassword())
	root.ok("PUT", "/nodes/pve1/qemu/100/config", "lock", "backup")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}

	// An ordinary end: the guests ran on.
	second := startLab(t, lab.Config{DataDir: folder})
	c = newClient(t, second)
	if tasks, _ := c.ok("GET", "/nodes/pve1/tasks", "typefilter", "startall").([]any); len(tasks) > 0 {
		t.Errorf("guests that run on are started: %v", tasks)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}

	third := startLab(t, lab.Config{DataDir: folder, Backend: haltedBackend{memory.New(memory.Options{})}})
	c = newClient(t, third)
	tasks, _ := c.ok("GET", "/nodes/pve1/tasks", "typefilter", "startall", "source", "all").([]any)
	if len(tasks) != 1 {
		t.Fatalf("%d tasks startall, want 1", len(tasks))
	}
	task, _ := tasks[0].(map[string]any)
	if task["user"] != "root@pam" || task["id"] != "" {
		t.Errorf("task %v", task)
	}
	c.must(c.wait(task["upid"].(string)), "OK")
	want := []string{"removed left over backup lock from '100'!", "Starting VM 104", "Waiting for 5 seconds (startup delay)", "Starting VM 103",
		"Starting VM 105", "Starting VM 105 failed: bridge 'gone' does not exist", "Starting VM 100", "TASK OK"}
	if log := c.log(task["upid"].(string)); !slices.Equal(log, want) {
		t.Errorf("log\n%s\nwant\n%s", strings.Join(log, "\n"), strings.Join(want, "\n"))
	}
	for vmid, want := range map[string]string{"100": "running", "101": "stopped", "102": "stopped", "103": "running", "104": "running", "105": "stopped"} {
		status, _ := c.ok("GET", "/nodes/pve1/qemu/"+vmid+"/status/current").(map[string]any)
		if status["status"] != want {
			t.Errorf("guest %s is %v, want %s", vmid, status["status"], want)
		}
	}
}

package crash

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"gantry/lab/fault"
	"gantry/server/broker"
	"gantry/server/task"
)

// order is something that is ordered again and again, each time with another disturbance.
type order struct {
	name, kind string
	// prepare makes what the order needs; place sends it, and gives the machine that it is about, 0 = none.
	prepare func(i *installation, t *testing.T)
	place   func(i *installation, t *testing.T) (vm int64)
	// cleanUp is called when all was verified.
	cleanUp func(i *installation, t *testing.T)
	// failing is the task of the hypervisor whose failure makes the broker take everything back.
	failing string
	// again is what may be asked for once more after a kill at that border, because doing it twice does no harm.
	again map[place]string
}

var orders = []order{
	{name: "create", kind: broker.CreateKind, failing: "qmstart",
		place: func(i *installation, t *testing.T) int64 { return i.create(t) }},
	{name: "reinstall", kind: broker.ReinstallKind, failing: "qmstart",
		prepare: func(i *installation, t *testing.T) { i.haveMachine(t, broker.VMRunning) },
		place: func(i *installation, t *testing.T) int64 {
			check(t, i.billing.ams("PUT", i.api+"/reinstall", map[string]any{"hostId": i.machine, "os": imageFile, "newPassword": "another-1"}, nil))
			return i.machine
		},
		again: map[place]string{
			{Step: "configure", Moment: task.BeforeCommit, Undo: true, Time: 1}: "POST /nodes/pve1/qemu/ID/config",
		}},
	power("start", "start", broker.VMStopped, "qmstart"),
	power("stop", "stop", broker.VMRunning, "qmshutdown"),
	power("reboot", "reboot", broker.VMRunning, "qmreboot"),
	power("suspend", "suspend", broker.VMRunning, "qmsuspend"),
	{name: "download", kind: broker.DownloadImageKind, failing: "download",
		prepare: func(i *installation, t *testing.T) {
			i.counted++
			i.fresh = i.addImage(t, fmt.Sprintf("image-%d.qcow2", i.counted))
		},
		place: func(i *installation, t *testing.T) int64 {
			i.download(t, i.fresh)
			return 0
		}},
	{name: "delete image", kind: broker.DeleteImageKind, failing: "imgdel",
		again: map[place]string{
			{Step: "remove", Moment: task.BeforeCommit, Time: 1}: "DELETE /nodes/pve1/storage/local/content/VOLUME",
		},
		prepare: func(i *installation, t *testing.T) {
			i.counted++
			i.fresh = i.addImage(t, fmt.Sprintf("image-%d.qcow2", i.counted))
			i.download(t, i.fresh)
			i.finish(t)
		},
		place: func(i *installation, t *testing.T) int64 {
			check(t, i.panel.ams("DELETE", fmt.Sprintf("%s/deleteOs?osId=%d", i.adminPath, i.fresh), nil, nil))
			return 0
		}},
	{name: "recycle", kind: broker.RecycleKind, failing: "qmshutdown",
		prepare: func(i *installation, t *testing.T) { i.haveMachine(t, broker.VMRunning) },
		place: func(i *installation, t *testing.T) int64 {
			check(t, i.billing.ams("DELETE", fmt.Sprintf("%s/delete/%d", i.api, i.machine), nil, nil))
			return i.machine
		},
		cleanUp: func(i *installation, t *testing.T) {
			vm, err := i.store.FindVM(t.Context(), i.machine)
			check(t, err)
			if vm.RecycledAt != nil {
				if !vm.DestroyAt.After(*vm.RecycledAt) {
					t.Errorf("machine %d is to be destroyed at once", vm.ID)
				}
				i.destroy(t, i.machine)
				i.finish(t)
			}
		}},
	{name: "resize", kind: broker.ResizeKind, failing: "qmstart",
		prepare: func(i *installation, t *testing.T) { i.haveMachine(t, broker.VMRunning) },
		place: func(i *installation, t *testing.T) int64 {
			vm, err := i.store.FindVM(t.Context(), i.machine)
			check(t, err)
			check(t, i.billing.ams("PUT", i.api+"/updateVm", map[string]any{
				"hostId": i.machine, "memory": 512 + 256 - vm.Spec.MemoryMB%512, "systemDiskSize": vm.Spec.SystemDiskGB + 1, "restart": true,
			}, nil))
			return i.machine
		},
		again: map[place]string{
			{Step: "configure", Moment: task.BeforeCommit, Undo: true, Time: 1}: "POST /nodes/pve1/qemu/ID/config",
		}},
	{name: "reset password", kind: broker.PasswordKind, failing: "qmstart",
		prepare: func(i *installation, t *testing.T) { i.haveMachine(t, broker.VMRunning) },
		place: func(i *installation, t *testing.T) int64 {
			check(t, i.billing.ams("PUT", i.api+"/updateVmConfig/restPassword", map[string]any{"hostId": i.machine, "newPassword": "another-2"}, nil))
			return i.machine
		},
		again: map[place]string{
			{Step: "configure", Moment: task.BeforeCommit, Undo: true, Time: 1}: "POST /nodes/pve1/qemu/ID/config",
		}},
	{name: "delete", kind: broker.DeleteKind, failing: "qmdestroy",
		prepare: func(i *installation, t *testing.T) { i.haveMachine(t, broker.VMRunning) },
		place: func(i *installation, t *testing.T) int64 {
			i.destroy(t, i.machine)
			return i.machine
		}},
}

// twice tells whether a request that was not answered may be sent once more, although it was carried out.
func (o order) twice(request string, undo bool) bool {
	if o.kind == broker.DeleteImageKind {
		return true // a file that is gone is gone
	}
	for at, again := range o.again {
		if undo && at.Undo && again == request {
			return true
		}
	}
	return false
}

func power(name, button string, before broker.VMStatus, failing string) order {
	return order{name: name, kind: broker.PowerKind, failing: failing,
		prepare: func(i *installation, t *testing.T) { i.haveMachine(t, before) },
		place: func(i *installation, t *testing.T) int64 {
			i.press(t, button)
			return i.machine
		}}
}

// destroy deletes a machine, in the recycle bin or not, without another stay there.
func (i *installation) destroy(t *testing.T, vm int64) {
	t.Helper()
	check(t, i.billing.ams("DELETE", fmt.Sprintf("%s/forceDelete/%d", i.api, vm), nil, nil))
}

func (i *installation) press(t *testing.T, button string) {
	t.Helper()
	check(t, i.billing.ams("PUT", fmt.Sprintf("%s/power/%d/%s", i.api, i.machine, button), nil, nil))
}

// create orders a machine with a data disk and returns its id.
func (i *installation) create(t *testing.T) int64 {
	t.Helper()
	i.counted++
	var reply struct{ HostID int64 }
	ordering := i.billing.with("Idempotency-Key", fmt.Sprintf("order-%d", i.counted))
	whenOnline(t, func() error {
		return ordering.ams("POST", i.api+"/cerateVM", i.ordered, &reply)
	})
	return reply.HostID
}

// whenOnline repeats what is refused because the node is offline: a poll that began during the trial before may have ended now only.
func whenOnline(t *testing.T, ask func() error) {
	t.Helper()
	eventually(t, "the node is online again", func() error {
		err := ask()
		if err != nil && !strings.Contains(err.Error(), "it is offline") {
			t.Fatal(err)
		}
		return err
	})
}

// haveMachine brings i.machine into a state; it orders one when there is none.
func (i *installation) haveMachine(t *testing.T, wanted broker.VMStatus) {
	t.Helper()
	vms, _, err := i.store.ListVMs(t.Context(), broker.VMFilter{}, everything)
	check(t, err)
	at := slices.IndexFunc(vms, func(vm broker.VM) bool { return vm.ID == i.machine })
	if at < 0 {
		i.machine = i.create(t)
		i.finish(t)
	}
	vm, err := i.store.FindVM(t.Context(), i.machine)
	check(t, err)
	switch {
	case vm.Status == wanted:
		return
	case wanted == broker.VMRunning:
		i.press(t, "start")
	default:
		i.press(t, "shutdown")
	}
	i.finish(t)
}

// finish lets a task that nothing disturbs come to its end.
func (i *installation) finish(t *testing.T) {
	t.Helper()
	if made, _ := i.follow(t, undisturbed); made.State != broker.TaskDone {
		t.Fatalf("a %s without disturbance is %s: %s", made.Kind, made.State, made.Error)
	}
}

// changes are the requests that change something since the journal was emptied, without VMIDs and volumes, sorted.
func (i *installation) changes(t *testing.T) []string {
	t.Helper()
	var requests []fault.Request
	check(t, i.faults.control("GET", "/requests", nil, &requests))
	var changes []string
	for _, request := range requests {
		if request.Method == "GET" || strings.HasPrefix(request.Path, "/access/") {
			continue
		}
		parts := strings.Split(request.Path, "/")
		for at, part := range parts {
			if at > 0 && parts[at-1] == "qemu" && part != "" {
				parts[at] = "ID"
			}
			if at > 0 && parts[at-1] == "content" {
				parts = append(parts[:at], "VOLUME")
				break
			}
		}
		changes = append(changes, request.Method+" "+strings.Join(parts, "/"))
	}
	slices.Sort(changes)
	return changes
}

func (i *installation) forget(t *testing.T) {
	t.Helper()
	check(t, i.faults.control("DELETE", "/requests", nil, nil))
}

// failNext makes the next task of a type fail.
func (i *installation) failNext(t *testing.T, kind string) {
	t.Helper()
	check(t, i.faults.control("POST", "/rules/task", fault.TaskRule{Type: kind, Times: 1, Error: "no luck"}, nil))
}

func (i *installation) noFaults(t *testing.T) {
	t.Helper()
	check(t, i.faults.control("DELETE", "/rules/", nil, nil))
}

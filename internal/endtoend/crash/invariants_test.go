package crash

import (
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gantry/server/broker"
)

// everything is one page that holds all rows.
var everything = broker.Page{Number: 1, Size: 10_000}

// guest is a machine as the hypervisor tells it.
type guest struct {
	owner, lock string
	running     bool
	volumes     map[string]string // key in the configuration → volume
}

// guests reads the configuration of each machine on all nodes, live.
func (i *installation) guests(t *testing.T) map[int]guest {
	t.Helper()
	if i.libvirt != nil {
		return i.domains(t)
	}
	all := map[int]guest{}
	for _, node := range []string{nodeName, otherNode} {
		var rows []struct {
			VMID   int    `json:"vmid"`
			Status string `json:"status"`
		}
		check(t, i.hypervisor.pve("GET", "/nodes/"+node+"/qemu", nil, &rows))
		for _, row := range rows {
			if _, twice := all[row.VMID]; twice {
				t.Errorf("machine %d is on two nodes", row.VMID)
			}
			var config map[string]any
			check(t, i.hypervisor.pve("GET", fmt.Sprintf("/nodes/%s/qemu/%d/config", node, row.VMID), nil, &config))
			found := guest{running: row.Status == "running", volumes: map[string]string{}}
			for key, value := range config {
				text, _ := value.(string)
				switch {
				case key == "lock":
					found.lock = text
				case key == "smbios1":
					_, uuid, _ := strings.Cut(text, "uuid=")
					found.owner, _, _ = strings.Cut(uuid, ",")
				case key == "vmstate", strings.HasPrefix(key, "scsi"), strings.HasPrefix(key, "ide"), strings.HasPrefix(key, "unused"):
					if volume, _, _ := strings.Cut(text, ","); strings.Contains(volume, ":") {
						found.volumes[key] = volume
					}
				}
			}
			all[row.VMID] = found
		}
	}
	return all
}

// volumes lists all volumes of machines that lie on the nodes' disks, whether a configuration names them or not.
func (i *installation) volumes(t *testing.T) []string {
	t.Helper()
	if i.libvirt != nil {
		return i.poolVolumes(t)
	}
	var found []string
	for _, node := range []string{nodeName, otherNode} {
		for _, storage := range []string{"local", "data"} {
			root := i.path("lab", "nodes", node, "storage", storage, "images")
			err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
				if err != nil || entry.IsDir() {
					return nil // a folder that is not there yet, or no more
				}
				name, err := filepath.Rel(root, path)
				found = append(found, storage+":"+name)
				return err
			})
			check(t, err)
		}
	}
	slices.Sort(found)
	return found
}

// verify holds the broker's records and the hypervisor against each other: nothing is lost, nothing is there twice, nothing is
// left. No task may be at work.
func (i *installation) verify(t *testing.T) {
	t.Helper()
	vms, _, err := i.store.ListVMs(t.Context(), broker.VMFilter{}, everything)
	check(t, err)
	recycled, _, err := i.store.ListVMs(t.Context(), broker.VMFilter{Recycled: true}, everything)
	check(t, err)
	vms = append(vms, recycled...)
	i.verifyRecords(t, vms)
	i.verifyGuests(t, vms)
}

// complain fails the test, but only once for one problem: what an earlier disturbance broke is not the next one's fault.
func (i *installation) complain(t *testing.T, format string, values ...any) {
	t.Helper()
	text := fmt.Sprintf(format, values...)
	if !i.complaints[text] {
		i.complaints[text] = true
		t.Error(text)
	}
}

func (i *installation) verifyRecords(t *testing.T, vms []broker.VM) {
	t.Helper()
	addresses, vmids := map[string]string{}, map[string]string{}
	alive := map[string]bool{}
	for _, vm := range vms {
		id := strconv.FormatInt(vm.ID, 10)
		alive[id] = true
		if vm.TaskID != nil || vm.Status.Transitional() {
			i.complain(t, "machine %d has status %d and task %v, but no task is at work", vm.ID, vm.Status, vm.TaskID)
		}
		if vm.PendingPassword != "" {
			i.complain(t, "machine %d still waits for a password", vm.ID)
		}
		if len(vm.Spec.Addresses) != 1 {
			i.complain(t, "machine %d has %d addresses", vm.ID, len(vm.Spec.Addresses))
			continue
		}
		addresses[vm.Spec.Addresses[0].IP.String()] = id
		vmids[strconv.Itoa(vm.VMID)] = id
	}
	i.same(t, "addresses in use, with their machines", i.pairs(t, "SELECT ip, vm_id FROM addresses WHERE vm_id IS NOT NULL OR state = "+fmt.Sprint(int(broker.AddressUsed))), addresses)
	i.same(t, "VMIDs in use, with their machines", i.pairs(t, "SELECT vmid, vm_id FROM vmids WHERE vm_id IS NOT NULL"), vmids)
	for name, query := range map[string]string{
		"tasks that hold a place in the limits": "SELECT name, task_id FROM task_slots",
		"tasks that are not ended":              "SELECT id, state FROM tasks WHERE state NOT IN ('done', 'undone')",
		"ended tasks with a lease":              "SELECT id, lease_owner FROM tasks WHERE lease_owner <> ''",
		"failed tasks without a reason":         "SELECT id, state FROM tasks WHERE state = 'undone' AND error = ''",
	} {
		i.same(t, name, i.pairs(t, query), nil)
	}
	for order, vm := range i.pairs(t, "SELECT idempotency_key, vm_id FROM orders") {
		if !alive[vm] {
			i.complain(t, "%s still stands for machine %s, which is gone", order, vm)
		}
	}
}

func (i *installation) verifyGuests(t *testing.T, vms []broker.VM) {
	t.Helper()
	guests := i.guests(t)
	expected := map[int]broker.VM{}
	for _, vm := range vms {
		expected[vm.VMID] = vm
	}
	var referenced []string
	for vmid, guest := range guests {
		for key, volume := range guest.volumes {
			referenced = append(referenced, volume)
			if strings.HasPrefix(key, "unused") {
				i.complain(t, "guest %d has the volume %s left", vmid, volume)
			}
		}
		if vmid == foreignGuest {
			continue
		}
		vm, known := expected[vmid]
		switch {
		case !known:
			i.complain(t, "guest %d is nobody's: %+v", vmid, guest)
			continue
		case guest.owner != vm.Owner:
			i.complain(t, "guest %d has owner %q, not %q", vmid, guest.owner, vm.Owner)
		case guest.lock != "" && (guest.lock != "suspended" || vm.Status != broker.VMSuspended):
			i.complain(t, "guest %d is locked: %s", vmid, guest.lock)
		case guest.running != (vm.Status == broker.VMRunning):
			i.complain(t, "guest %d runs: %t, but its machine %d has status %d", vmid, guest.running, vm.ID, vm.Status)
		}
		keys := slices.DeleteFunc(slices.Sorted(maps.Keys(guest.volumes)), func(key string) bool {
			return key == "vmstate" && vm.Status == broker.VMSuspended
		})
		if want := []string{"ide2", "scsi0", "scsi1"}; !slices.Equal(keys, want) {
			i.complain(t, "guest %d has disks %q, not %q", vmid, guest.volumes, want)
		}
		if vm.SystemVolume != "" && vm.SystemVolume != guest.volumes["scsi0"] {
			i.complain(t, "guest %d boots from %s, recorded is %s", vmid, guest.volumes["scsi0"], vm.SystemVolume)
		}
	}
	for vmid, vm := range expected {
		if _, there := guests[vmid]; !there {
			i.complain(t, "machine %d has no guest %d", vm.ID, vmid)
		}
	}
	if _, there := guests[foreignGuest]; !there {
		i.complain(t, "somebody else's guest is gone")
	}
	lying := i.volumes(t)
	for _, volume := range lying {
		if !slices.Contains(referenced, volume) && !(i.powerCuts && ofOneOf(expected, volume)) {
			i.complain(t, "volume %s is no guest's", volume)
		}
	}
	for number, volume := range referenced {
		if !slices.Contains(lying, volume) || slices.Contains(referenced[:number], volume) {
			i.complain(t, "volume %s is missing, or the disk of two guests", volume)
		}
	}
}

// ofOneOf tells whether the name of a volume has the VMID of one of the machines. A node that loses power between making a volume and
// writing the configuration leaves such a one. It goes with its machine.
func ofOneOf(machines map[int]broker.VM, volume string) bool {
	_, name, _ := strings.Cut(volume, ":")
	id, _, _ := strings.Cut(name, "/")
	vmid, err := strconv.Atoi(id)
	_, known := machines[vmid]
	return err == nil && known
}

// pairs reads a query's two columns.
func (i *installation) pairs(t *testing.T, query string) map[string]string {
	t.Helper()
	rows, err := i.database.QueryContext(t.Context(), query)
	check(t, err)
	defer rows.Close()
	pairs := map[string]string{}
	for rows.Next() {
		var name, value string
		check(t, rows.Scan(&name, &value))
		if before, twice := pairs[name]; twice {
			value = before + "," + value
		}
		pairs[name] = value
	}
	check(t, rows.Err())
	return pairs
}

// same compares two maps entry by entry.
func (i *installation) same(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for key, value := range got {
		if want[key] != value {
			i.complain(t, "%s: %s is with %q, should be with %q", what, key, value, want[key])
		}
	}
	for key, value := range want {
		if _, there := got[key]; !there {
			i.complain(t, "%s: %s is missing, should be with %q", what, key, value)
		}
	}
}

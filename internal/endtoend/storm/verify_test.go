package storm

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gantry/server/broker"
)

// everything is one page that holds all rows.
var everything = broker.Page{Number: 1, Size: 10 * orders}

// guest is what the lab has, as far as it is compared.
type guest struct {
	node, owner, mac, address string
	running                   bool
}

// verify holds broker and lab against each other: they agree exactly, nothing is there twice, nothing is left over. It gives the
// machines.
func (s *scene) verify(t *testing.T) []broker.VM {
	t.Helper()
	vms, total, err := s.store.ListVMs(t.Context(), broker.VMFilter{}, everything)
	check(t, err)
	if total != int64(len(vms)) {
		t.Fatalf("%d of %d machines read", len(vms), total)
	}
	want, addresses, vmids := map[int]guest{}, map[string]string{}, map[string]string{}
	for _, vm := range vms {
		if vm.TaskID != nil || vm.Status != broker.VMRunning {
			t.Errorf("machine %d has status %d and task %v, but no task is at work", vm.ID, vm.Status, vm.TaskID)
		}
		if len(vm.Spec.Addresses) != 1 {
			t.Fatalf("machine %d has %d addresses", vm.ID, len(vm.Spec.Addresses))
		}
		address, id := vm.Spec.Addresses[0].IP.String(), strconv.FormatInt(vm.ID, 10)
		twice(t, "address", address, addresses[address], id)
		twice(t, "VMID", strconv.Itoa(vm.VMID), vmids[strconv.Itoa(vm.VMID)], id)
		addresses[address], vmids[strconv.Itoa(vm.VMID)] = id, id
		want[vm.VMID] = guest{
			node: s.nodeName(vm.NodeID), owner: vm.Owner, mac: strings.ToUpper(vm.Spec.MAC), address: address, running: true,
		}
	}
	s.verifyLab(t, want)
	same(t, "addresses in use, with their machines", s.pairs(t,
		"SELECT ip, vm_id FROM addresses WHERE vm_id IS NOT NULL OR state = "+strconv.Itoa(int(broker.AddressUsed))), addresses)
	same(t, "VMIDs in use, with their machines", s.pairs(t, "SELECT vmid, vm_id FROM vmids WHERE vm_id IS NOT NULL"), vmids)
	for what, query := range map[string]string{
		"tasks that are neither done nor undone":   "SELECT id, CONCAT(state, ': ', note, ' ', error) FROM tasks WHERE state NOT IN ('done', 'undone')",
		"tasks that hold a place in the limits":    "SELECT task_id, name FROM task_slots",
		"tasks with a lease":                       "SELECT id, lease_owner FROM tasks WHERE lease_owner <> ''",
		"tasks undone without a reason":            "SELECT id, state FROM tasks WHERE state = 'undone' AND error = ''",
		"orders that stand for no machine":         "SELECT idempotency_key, vm_id FROM orders WHERE vm_id NOT IN (SELECT id FROM vms WHERE deleted_at = 0)",
		"machines that stand for no order":         "SELECT id, name FROM vms WHERE deleted_at = 0 AND id NOT IN (SELECT vm_id FROM orders)",
		"taken back orders whose machine is there": "SELECT tasks.id, vms.id FROM tasks JOIN vms ON vms.id = tasks.vm_id WHERE tasks.kind = 'create' AND tasks.state = 'undone' AND vms.deleted_at = 0",
	} {
		same(t, what, s.pairs(t, query), nil)
	}
	return vms
}

func twice(t *testing.T, what, value, before, now string) {
	t.Helper()
	if before != "" {
		t.Errorf("%s %s belongs to the machines %s and %s", what, value, before, now)
	}
}

func (s *scene) nodeName(id int64) string { return nodeName(slices.Index(s.nodeIDs, id)) }

// verifyLab compares guests and volumes. Foreign guests must all be there, untouched.
func (s *scene) verifyLab(t *testing.T, want map[int]guest) {
	t.Helper()
	there, macs, foreign := map[int]guest{}, map[string]string{}, map[int]bool{}
	var named []string
	for _, each := range s.lab.Cluster().Guests("") {
		values := each.Config().Values
		for key, value := range values {
			volume, _, _ := strings.Cut(value, ",")
			if strings.HasPrefix(key, "unused") {
				t.Errorf("guest %d has %s left", each.VMID, volume)
			}
			if disk := strings.HasPrefix(key, "scsi") || strings.HasPrefix(key, "ide"); disk && strings.Contains(volume, ":") {
				named = append(named, each.Node+" "+volume)
			}
		}
		if s.foreign[each.VMID] {
			foreign[each.VMID] = values["name"] == "foreign" && values["tags"] == ""
			continue
		}
		found := guest{node: each.Node, running: each.Running()}
		_, uuid, _ := strings.Cut(values["smbios1"], "uuid=")
		found.owner, _, _ = strings.Cut(uuid, ",")
		_, mac, _ := strings.Cut(values["net0"], "virtio=")
		found.mac, _, _ = strings.Cut(mac, ",")
		_, address, _ := strings.Cut(values["ipconfig0"], "ip=")
		found.address, _, _ = strings.Cut(address, "/")
		there[each.VMID] = found
		twice(t, "MAC address", found.mac, macs[found.mac], strconv.Itoa(each.VMID))
		macs[found.mac] = strconv.Itoa(each.VMID)
	}
	same(t, "guests", there, want)
	for vmid := range s.foreign {
		if !foreign[vmid] {
			t.Errorf("the foreign guest %d was touched", vmid)
		}
	}
	slices.Sort(named)
	if volumes := s.volumes(t); !slices.Equal(volumes, named) {
		t.Errorf("%d volumes are there, guests have %d; not both have %q", len(volumes), len(named), difference(volumes, named))
	}
}

// volumes lists all disk images of the lab, whether a guest names them or not.
func (s *scene) volumes(t *testing.T) (volumes []string) {
	t.Helper()
	for number := range nodes {
		for _, storage := range []string{"local", "data"} {
			definition, err := s.lab.Cluster().StorageOnNode(storage, nodeName(number))
			check(t, err)
			rows, err := s.lab.Cluster().Content(t.Context(), nodeName(number), definition, "images", 0)
			check(t, err)
			for _, row := range rows {
				volumes = append(volumes, nodeName(number)+" "+row.VolID)
			}
		}
	}
	slices.Sort(volumes)
	return volumes
}

// difference are the strings that are in one of two lists only, at most a few.
func difference(a, b []string) (only []string) {
	counts := map[string]int{}
	for _, text := range a {
		counts[text]++
	}
	for _, text := range b {
		counts[text]--
	}
	for text, count := range counts {
		if count != 0 && len(only) < 10 {
			only = append(only, text)
		}
	}
	return only
}

// same compares, and tells a few differences only: there may be a thousand.
func same[Key comparable, Value comparable](t *testing.T, what string, got, want map[Key]Value) {
	t.Helper()
	if maps.Equal(got, want) {
		return
	}
	var lines []string
	for key, value := range got {
		if wanted, known := want[key]; !known || wanted != value {
			lines = append(lines, fmt.Sprintf("%v: got %+v, want %+v (%t)", key, value, wanted, known))
		}
	}
	for key, value := range want {
		if _, known := got[key]; !known {
			lines = append(lines, fmt.Sprintf("%v: missing, want %+v", key, value))
		}
	}
	t.Errorf("%s: %d, should be %d; %d differences, such as\n%s", what, len(got), len(want), len(lines),
		strings.Join(lines[:min(len(lines), 5)], "\n"))
}

// pairs reads a query's two columns.
func (s *scene) pairs(t *testing.T, query string) map[string]string {
	t.Helper()
	rows, err := s.database.QueryContext(t.Context(), query)
	check(t, err)
	defer rows.Close()
	pairs := map[string]string{}
	for rows.Next() {
		var name, value string
		check(t, rows.Scan(&name, &value))
		if before, known := pairs[name]; known {
			value = before + "," + value
		}
		pairs[name] = value
	}
	check(t, rows.Err())
	return pairs
}

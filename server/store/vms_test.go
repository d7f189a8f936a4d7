package store_test

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"gantry/server/broker"
	"gantry/server/store"
)

func TestVMs(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		cluster, node := place(t, s)
		task, expires := int64(5), start.Add(time.Hour)
		vm := &broker.VM{
			ClusterID: cluster.ID, NodeID: node.ID, Kind: "pve", VMID: 100, Name: "Web-1", Owner: "8c2f", Tenant: 3,
			Status: broker.VMCreating, TaskID: &task, ImageID: 9, Username: "root", Password: "pässword", SystemVolume: "local:1",
			ExpiresAt: &expires, CreatedAt: start, LastError: "none",
			Spec: broker.VMSpec{
				Cores: 4, CPUPercent: broker.Unlimited, MAC: "BC:24:11:00:00:01", DataDisks: []broker.DataDisk{{Number: 1, SizeGB: 2}},
				IO: broker.IOLimits{ReadIOPS: 100}, ImageName: "Debian 中文",
				Addresses: []broker.VMAddress{{AddressID: 1, IP: netip.MustParseAddr("10.0.0.2"), Prefix: 24, Gateway: netip.MustParseAddr("10.0.0.1")}},
			},
		}
		check(t, s.InsertVM(ctx, vm))
		find := map[string]func() (*broker.VM, error){
			"by id":   func() (*broker.VM, error) { return s.FindVM(ctx, vm.ID) },
			"by VMID": func() (*broker.VM, error) { return s.FindVMByVMID(ctx, cluster.ID, vm.VMID) },
			"locked": func() (found *broker.VM, err error) {
				err = s.Transact(ctx, func(tx broker.Tx) error { found, err = tx.LockVM(ctx, vm.ID); return err })
				return found, err
			},
			"listed": func() (*broker.VM, error) {
				list, _, err := s.ListVMs(ctx, broker.VMFilter{}, broker.Page{Number: 1, Size: 1})
				return &list[0], err
			},
		}
		equal := func(when string) {
			t.Helper()
			for how, find := range find {
				if found, err := find(); err != nil || !reflect.DeepEqual(found, vm) {
					t.Errorf("%s, %s: %v\ngot  %+v\nwant %+v", when, how, err, found, vm)
				}
			}
		}
		equal("as inserted")
		seen := start
		observed := broker.Observed{At: &seen, Power: "running", Node: "pve1", CPU: 0.25, Memory: 1 << 30, Uptime: 9, NetIn: 1, NetOut: 2, Drift: "moved"}
		check(t, s.SaveObservations(ctx, cluster.ID, []broker.VMObservation{{VM: vm.ID, Observed: observed}}))
		vm.VMID, vm.Status, vm.TaskID, vm.Name, vm.Password, vm.StartedOnce, vm.ExpiresAt = 101, broker.VMRunning, nil, "web-2", "new", true, nil
		vm.Spec.MemoryMB = 2048
		check(t, s.UpdateVM(ctx, vm)) // does not know the observation, and leaves it
		vm.Observed = observed
		equal("as updated")

		check(t, s.MarkVMDeleted(ctx, vm.ID, start))
		check(t, s.MarkVMDeleted(ctx, vm.ID, start.Add(time.Hour)))
		for how, find := range find {
			if how != "listed" {
				_, err := find()
				refused(t, err, broker.NotFound, "a deleted VM "+how)
			}
		}
		if list, total, err := s.ListVMs(ctx, broker.VMFilter{}, broker.Page{Number: 1, Size: 1}); len(list) != 0 || total != 0 || err != nil {
			t.Errorf("a deleted VM is listed: %v", list)
		}
		refused(t, s.UpdateVM(ctx, vm), broker.Conflict, "changing a deleted VM")
		refused(t, s.UpdateVM(ctx, &broker.VM{ID: 999, Name: "x"}), broker.NotFound, "changing an unknown VM")
		refused(t, s.UpdateVM(ctx, &broker.VM{Name: "x"}), broker.NotFound, "changing VM 0")
		refused(t, s.MarkVMDeleted(ctx, 999, start), broker.NotFound, "deleting an unknown VM")
		again := *vm
		again.Owner = "another"
		check(t, s.InsertVM(ctx, &again)) // name, VMID and MAC are free again
		if again.ID == vm.ID {
			t.Error("the deleted VM's id was given out again")
		}
	})
}

func TestWhatVMsCannotShare(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		cluster, node := place(t, s)
		first := newVM(cluster.ID, node.ID)
		first.VMID, first.Spec.MAC = 100, "bc:24:11:00:00:01"
		check(t, s.InsertVM(ctx, first))
		second := addVM(t, s, cluster.ID, node.ID)
		for what, row := range map[string]struct {
			change func(vm *broker.VM)
			field  string
		}{
			"name":               {func(vm *broker.VM) { vm.Name = first.Name }, "hostname"},
			"name in upper case": {func(vm *broker.VM) { vm.Name = strings.ToUpper(first.Name) }, "hostname"},
			"VMID":               {func(vm *broker.VM) { vm.VMID = 100 }, "vmid"},
			"MAC":                {func(vm *broker.VM) { vm.Spec.MAC = "BC:24:11:00:00:01" }, "mac"},
			"owner mark":         {func(vm *broker.VM) { vm.Owner = first.Owner }, ""},
		} {
			inserted, updated := newVM(cluster.ID, node.ID), *second
			row.change(inserted)
			row.change(&updated)
			for how, err := range map[string]error{"insert": s.InsertVM(ctx, inserted), "update": s.UpdateVM(ctx, &updated)} {
				refused(t, err, broker.Exists, how+" with the same "+what)
				var known *broker.Error
				if !errors.As(err, &known) || known.Field != row.field {
					t.Errorf("%s with the same %s: the error names field %q, not %q", how, what, known.Field, row.field)
				}
			}
		}
		elsewhere := newVM(addCluster(t, s, 100, 200).ID, node.ID)
		elsewhere.VMID = 100
		check(t, s.InsertVM(ctx, elsewhere))
		unmarked, another := newVM(cluster.ID, node.ID), newVM(cluster.ID, node.ID)
		unmarked.Owner, another.Owner = "", ""
		check(t, s.InsertVM(ctx, unmarked))
		check(t, s.InsertVM(ctx, another))
	})
}

// TestObservationAgainstNewStatus: what a task has just set, an inventory that is older or hardly newer does not take back.
func TestObservationAgainstNewStatus(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		cluster, node := place(t, s)
		for _, test := range []struct {
			after time.Duration
			want  broker.VMStatus
		}{{-time.Hour, broker.VMStopped}, {broker.StatusGrace - time.Second, broker.VMStopped}, {broker.StatusGrace, broker.VMRunning}} {
			vm := newVM(cluster.ID, node.ID)
			vm.Status, vm.StatusAt = broker.VMStopped, start
			check(t, s.InsertVM(t.Context(), vm))
			at, running := start.Add(test.after), broker.VMRunning
			check(t, s.SaveObservations(t.Context(), cluster.ID, []broker.VMObservation{
				{VM: vm.ID, Observed: broker.Observed{At: &at, Power: "running"}, Status: &running},
			}))
			found, err := s.FindVM(t.Context(), vm.ID)
			check(t, err)
			if found.Status != test.want || found.Observed.Power != "running" {
				t.Errorf("%s after it was set: status %d, power %q; want status %d", test.after, found.Status, found.Observed.Power, test.want)
			}
		}
	})
}

func TestObservations(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		cluster, node := place(t, s)
		target := addNode(t, s, cluster.ID)
		stranger := addVM(t, s, addCluster(t, s, 1, 9).ID, node.ID)
		var vms []*broker.VM
		for range 450 { // more than one transaction's worth
			vms = append(vms, addVM(t, s, cluster.ID, node.ID))
		}
		task := int64(1)
		busy, moved, deleted := vms[0], vms[1], vms[2]
		busy.TaskID = &task
		check(t, s.UpdateVM(ctx, busy))
		check(t, s.MarkVMDeleted(ctx, deleted.ID, start))
		running := broker.VMRunning
		var observations []broker.VMObservation
		for i, vm := range append(slices.Clone(vms), stranger, &broker.VM{ID: 99999}) {
			observation := broker.VMObservation{VM: vm.ID, Observed: broker.Observed{Power: "running", Uptime: int64(i)}}
			if i%2 == 0 {
				observation.Status = &running
			}
			if vm == moved {
				observation.NodeID = target.ID
			}
			observations = append(observations, observation)
		}
		slices.Reverse(observations)
		check(t, s.SaveObservations(ctx, cluster.ID, observations))
		check(t, s.SaveObservations(ctx, cluster.ID, nil))
		for i, vm := range vms {
			if vm == deleted {
				continue
			}
			found, err := s.FindVM(ctx, vm.ID)
			check(t, err)
			wantStatus, wantNode := broker.VMCreating, node.ID
			if i%2 == 0 && vm != busy {
				wantStatus = broker.VMRunning
			}
			if vm == moved {
				wantNode = target.ID
			}
			if found.Observed.Uptime != int64(i) || found.Status != wantStatus || found.NodeID != wantNode {
				t.Fatalf("VM %d: uptime %d, status %d on node %d", i, found.Observed.Uptime, found.Status, found.NodeID)
			}
		}
		if found, err := s.FindVM(ctx, stranger.ID); err != nil || found.Observed.Power != "" {
			t.Errorf("a VM of another cluster was written: %+v, %v", found.Observed, err)
		}
		short, err := s.ListClusterVMs(ctx, cluster.ID)
		check(t, err)
		if len(short) != 449 || short[0].ID != busy.ID || *short[0].TaskID != 1 || short[0].Owner != busy.Owner ||
			short[0].Observed.Power != "running" || short[1].NodeID != target.ID {
			t.Errorf("poller's list: %d, %+v", len(short), short[0])
		}
	})
}

func TestVMLists(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		cluster, node := place(t, s)
		other := addNode(t, s, cluster.ID)
		pool := addPool(t, s, node.ID, 20)
		for i, row := range []struct {
			name   string
			vmid   int
			status broker.VMStatus
			node   int64
			tenant int64
		}{
			{"web-1", 100, broker.VMRunning, node.ID, 1}, {"WEB-2", 110, broker.VMStopped, node.ID, 1},
			{"db-1", 1100, broker.VMRunning, other.ID, 1}, {"10gbit", 999999999, broker.VMRunning, other.ID, 2}, {"web%", 0, broker.VMFailed, node.ID, 2},
		} {
			vm := newVM(cluster.ID, row.node)
			vm.Name, vm.VMID, vm.Status, vm.Tenant = row.name, row.vmid, row.status, row.tenant
			check(t, s.InsertVM(ctx, vm))
			if i == 2 { // db-1 holds the pool's first address
				_, err := s.ReserveAddresses(ctx, node.ID, pool.ID, 4, 1, vm.ID)
				check(t, err)
			}
		}
		address := pool.Gateway.Next().String()
		running, one := broker.VMRunning, int64(1)
		for what, row := range map[string]struct {
			filter broker.VMFilter
			want   string
		}{
			"newest first":          {broker.VMFilter{}, "web% 10gbit db-1 WEB-2 web-1"},
			"oldest first":          {broker.VMFilter{OldestFirst: true}, "web-1 WEB-2 db-1 10gbit web%"},
			"by name":               {broker.VMFilter{ByName: true, OldestFirst: true}, "10gbit db-1 web% web-1 WEB-2"},
			"status":                {broker.VMFilter{Status: &running}, "10gbit db-1 web-1"},
			"node":                  {broker.VMFilter{NodeID: other.ID}, "10gbit db-1"},
			"tenant":                {broker.VMFilter{Tenant: &one}, "db-1 WEB-2 web-1"},
			"all of them":           {broker.VMFilter{Tenant: &one, Status: &running, NodeID: node.ID}, "web-1"},
			"name":                  {broker.VMFilter{Search: "web-"}, "WEB-2 web-1"},
			"name in another case":  {broker.VMFilter{Search: "Web-2"}, "WEB-2"},
			"no pattern":            {broker.VMFilter{Search: "web%"}, "web%"},
			"not inside a name":     {broker.VMFilter{Search: "eb-"}, ""},
			"VMID":                  {broker.VMFilter{Search: "110"}, "db-1 WEB-2"},
			"long VMID":             {broker.VMFilter{Search: "999999999"}, "10gbit"},
			"address":               {broker.VMFilter{Search: address}, "db-1"},
			"name, VMID or address": {broker.VMFilter{Search: "10"}, "10gbit db-1 web-1"},
			"search and status":     {broker.VMFilter{Search: "10", Status: &running, OldestFirst: true}, "web-1 db-1 10gbit"},
			"too many digits":       {broker.VMFilter{Search: strings.Repeat("1", 40)}, ""},
			"hostile":               {broker.VMFilter{Search: "') OR 1=1 --"}, ""},
		} {
			var names []string
			for number := 1; number <= 3; number++ {
				page, total, err := s.ListVMs(ctx, row.filter, broker.Page{Number: number, Size: 2})
				if err != nil || int(total) != len(strings.Fields(row.want)) {
					t.Errorf("%s: total %d, %v", what, total, err)
				}
				for _, vm := range page {
					names = append(names, vm.Name)
				}
			}
			if got := strings.Join(names, " "); got != row.want {
				t.Errorf("%s: got %q, want %q", what, got, row.want)
			}
			if count, err := s.CountVMs(ctx, row.filter); err != nil || int(count) != len(names) {
				t.Errorf("%s: counted %d, %v", what, count, err)
			}
		}
		if page, total, err := s.ListVMs(ctx, broker.VMFilter{}, broker.Page{Number: 9, Size: 20}); err != nil || total != 5 || len(page) != 0 {
			t.Errorf("behind the last page: %d of %d, %v", len(page), total, err)
		}
	})
}

// BenchmarkVMLists lists pages of 20 among 100,000 VMs, by each filter that has an index.
func BenchmarkVMLists(b *testing.B) {
	const machines = 100_000
	for name, dsn := range databases {
		b.Run(name, func(b *testing.B) {
			s := open(b, dsn(b))
			cluster := addCluster(b, s, 100, 999_999)
			var nodes []*broker.Node
			for range 50 {
				nodes = append(nodes, addNode(b, s, cluster.ID))
			}
			for from := 0; from < machines; from += 1000 {
				check(b, s.Transact(b.Context(), func(tx broker.Tx) error {
					for i := from; i < from+1000; i++ {
						vm := newVM(cluster.ID, nodes[i%len(nodes)].ID)
						vm.Name, vm.VMID, vm.Tenant, vm.Status = fmt.Sprintf("customer-%d-vm-%d", i%1000, i), 100+i, int64(i%20), broker.VMStatus(i%10/9)
						vm.Spec.MAC = fmt.Sprintf("bc:24:11:%02x:%02x:%02x", i>>16, i>>8&255, i&255)
						if err := tx.InsertVM(b.Context(), vm); err != nil {
							return err
						}
					}
					return nil
				}))
			}
			stopped, tenant := broker.VMStopped, int64(7)
			for what, row := range map[string]struct {
				filter broker.VMFilter
				page   int
			}{
				"newest": {broker.VMFilter{}, 1}, "last page": {broker.VMFilter{}, machines / 20}, "status": {broker.VMFilter{Status: &stopped}, 3},
				"node": {broker.VMFilter{NodeID: nodes[3].ID}, 3}, "tenant": {broker.VMFilter{Tenant: &tenant}, 3},
				"narrow search": {broker.VMFilter{Search: "customer-77-"}, 1}, "broad search": {broker.VMFilter{Search: "customer-"}, 1},
				"search VMID": {broker.VMFilter{Search: "4711"}, 1},
			} {
				b.Run(what, func(b *testing.B) {
					for b.Loop() {
						if _, total, err := s.ListVMs(b.Context(), row.filter, broker.Page{Number: row.page, Size: 20}); err != nil || total == 0 {
							b.Fatal(total, err)
						}
					}
				})
			}
		})
	}
}

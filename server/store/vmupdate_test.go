package store_test

import (
	"reflect"
	"testing"
	"time"

	"gantry/server/broker"
	"gantry/server/store"
)

// TestUpdateVMInATransaction: what a transaction knows of a machine saves it columns, never a change: also of what the caller changes
// inside a slice that he gave, and of what another statement wrote in between.
func TestUpdateVMInATransaction(t *testing.T) {
	task, later := int64(7), start.Add(time.Hour)
	for name, change := range map[string]func(vm *broker.VM){
		"nothing":          func(*broker.VM) {},
		"status":           func(vm *broker.VM) { vm.Status, vm.StatusAt = broker.VMRunning, later },
		"name":             func(vm *broker.VM) { vm.Name = "renamed" },
		"VMID":             func(vm *broker.VM) { vm.VMID = 150 },
		"task":             func(vm *broker.VM) { vm.TaskID = &task },
		"password":         func(vm *broker.VM) { vm.Password = "another s3cret" },
		"pending password": func(vm *broker.VM) { vm.PendingPassword = "pending" },
		"console password": func(vm *broker.VM) { vm.ConsolePassword = "console" },
		"inside a slice":   func(vm *broker.VM) { vm.Spec.DataDisks[0].SizeGB = 20 },
		"longer slice":     func(vm *broker.VM) { vm.Spec.SSHKeys = append(vm.Spec.SSHKeys, "ssh-ed25519 AAAA") },
		"memory":           func(vm *broker.VM) { vm.Spec.MemoryMB = 4096 },
		"expiry":           func(vm *broker.VM) { vm.ExpiresAt = &later },
		"recycle bin":      func(vm *broker.VM) { vm.RecycledAt, vm.DestroyAt = &later, &later },
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, s *store.Store) {
				ctx := t.Context()
				cluster, node := place(t, s)
				for _, known := range []string{"inserted", "locked", "unknown"} {
					vm := newVM(cluster.ID, node.ID)
					vm.Spec.DataDisks = []broker.DataDisk{{Number: 1, SizeGB: 10}}
					if name == "VMID" {
						vm.VMID = 0
					}
					if known != "inserted" {
						check(t, s.InsertVM(ctx, vm))
					}
					check(t, s.Transact(ctx, func(tx broker.Tx) (err error) {
						switch known {
						case "inserted":
							err = tx.InsertVM(ctx, vm)
						case "locked":
							vm, err = tx.LockVM(ctx, vm.ID)
						}
						if err != nil {
							return err
						}
						change(vm)
						if err := tx.UpdateVM(ctx, vm); err != nil {
							return err
						}
						// What was written counts as known in turn.
						vm.LastError = "x"
						return tx.UpdateVM(ctx, vm)
					}))
					found, err := s.FindVM(ctx, vm.ID)
					check(t, err)
					if want := stored(*vm); !reflect.DeepEqual(stored(*found), want) {
						t.Errorf("%s: found\n%+v, want\n%+v", known, stored(*found), want)
					}
					check(t, s.MarkVMDeleted(ctx, vm.ID, later))
				}
			})
		})
	}
}

// stored makes empty slices alike.
func stored(vm broker.VM) broker.VM {
	if len(vm.Spec.SSHKeys) == 0 {
		vm.Spec.SSHKeys = nil
	}
	if len(vm.Spec.Addresses) == 0 {
		vm.Spec.Addresses = nil
	}
	return vm
}

// TestUpdateVMAfterAnotherStatement: the status that a poll wrote in the same transaction is not what was known.
func TestUpdateVMAfterAnotherStatement(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		cluster, node := place(t, s)
		vm := addVM(t, s, cluster.ID, node.ID)
		running := broker.VMRunning
		check(t, s.Transact(ctx, func(tx broker.Tx) error {
			locked, err := tx.LockVM(ctx, vm.ID)
			if err != nil {
				return err
			}
			observation := broker.VMObservation{VM: vm.ID, Observed: broker.Observed{Power: "running"}, Status: &running}
			if err := tx.SaveObservations(ctx, cluster.ID, []broker.VMObservation{observation}); err != nil {
				return err
			}
			return tx.UpdateVM(ctx, locked)
		}))
		if found, err := s.FindVM(ctx, vm.ID); err != nil || found.Status != broker.VMCreating {
			t.Errorf("status %d, %v: want what UpdateVM was given", found.Status, err)
		}
	})
}

package store

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"

	"gorm.io/gorm"

	"gantry/server/broker"
)

// knownVM is a VM as the present transaction has written it or read it under a lock: nobody else can have changed it since.
type knownVM struct {
	row  vmRow
	spec string // as it is stored; what row.Spec points to may be the caller's
	// secrets are what the encrypted columns hold; encrypting it anew gives another text each time.
	secrets map[string]string
}

func secretsOf(vm *broker.VM) map[string]string {
	return map[string]string{"password": vm.Password, "pending_password": vm.PendingPassword, "console_password": vm.ConsolePassword}
}

// know remembers a VM's row for UpdateVM. There is nothing to remember outside a transaction.
func (t *transaction) know(vm *broker.VM, row *vmRow) error {
	if t == nil {
		return nil
	}
	spec, err := json.Marshal(row.Spec.value)
	if err != nil {
		return err
	}
	known := &knownVM{row: *row, spec: string(spec), secrets: secretsOf(vm)}
	if row.TaskID != nil {
		task := *row.TaskID
		known.row.TaskID = &task
	}
	if t.vms == nil {
		t.vms = map[int64]*knownVM{}
	}
	t.vms[row.ID] = known
	return nil
}

// forget is for whatever changes a VM but UpdateVM.
func (t *transaction) forget(vm int64) {
	if t != nil {
		delete(t.vms, vm)
	}
}

// known gives what is known of a VM, nil when that is nothing.
func (t *transaction) known(vm int64) *knownVM {
	if t == nil {
		return nil
	}
	return t.vms[vm]
}

// observed tells that a column is written by SaveObservations only.
func observed(column string) bool { return strings.HasPrefix(column, "observed_") }

// UpdateVM sends only what differs from what the transaction knows: each further column costs SQLite the indexes that it is in, even
// when its value stays.
func (s *session) UpdateVM(ctx context.Context, vm *broker.VM) error {
	return s.record(ctx, "change virtual machine", func(db *gorm.DB) error {
		row, err := s.vmRow(vm)
		if err != nil {
			return err
		}
		known := s.tx.known(vm.ID)
		columns, arguments, err := changedColumns(row, vm, known)
		if err != nil || len(columns) == 0 {
			return err
		}
		// COALESCE: not by vms_newest, see SaveTask.
		statement := "UPDATE vms SET " + strings.Join(columns, " = ?, ") + " = ? WHERE id = ? AND COALESCE(deleted_at, 0) <= 0"
		met, err := affect(db, statement, append(arguments, vm.ID)...)
		if err != nil {
			return s.vmTaken(err, vm)
		}
		if met > 0 {
			return s.tx.know(vm, row)
		}
		var rows int64
		if err := db.Model(&vmRow{}).Where("id = ?", vm.ID).Count(&rows).Error; err != nil {
			return err
		}
		if rows == 0 {
			return broker.Because(broker.NotFound, broker.ReasonVMNotFound, vm.ID)
		}
		return broker.Errorf(broker.Conflict, "virtual machine %d was deleted", vm.ID)
	})
}

// changedColumns gives the columns of row that are not as known, and their values.
func changedColumns(row *vmRow, vm *broker.VM, known *knownVM) (columns []string, arguments []any, err error) {
	spec, err := json.Marshal(row.Spec.value)
	if err != nil {
		return nil, nil, err
	}
	var before reflect.Value
	if known != nil {
		before = reflect.ValueOf(&known.row).Elem()
	}
	now, secrets := reflect.ValueOf(row).Elem(), secretsOf(vm)
	for _, each := range vmTable.columns {
		secret, encrypted := secrets[each.name]
		value, same := now.FieldByIndex(each.field).Interface(), false
		switch {
		case each.numbered || each.name == "created_at" || observed(each.name):
			continue
		case each.name == "spec":
			value, same = string(spec), known != nil && known.spec == string(spec)
		case known == nil:
		case encrypted:
			same = known.secrets[each.name] == secret
		default:
			same = reflect.DeepEqual(before.FieldByIndex(each.field).Interface(), value)
		}
		if !same {
			columns, arguments = append(columns, each.name), append(arguments, value)
		}
	}
	return columns, arguments, nil
}

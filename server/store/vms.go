package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"gantry/server/broker"
)

type vmRow struct {
	ID              int64
	ClusterID       int64
	NodeID          int64
	Kind            string
	VMID            int  `gorm:"column:vmid"`
	LiveVMID        *int `gorm:"column:live_vmid"`
	Name            string
	LiveName        *string
	Owner           *string
	Tenant          int64
	Status          int
	StatusAt        micros
	TaskID          *int64
	Spec            document[broker.VMSpec]
	MAC             *string `gorm:"column:mac"`
	ImageID         int64
	Username        string
	Password        string
	PendingPassword string
	ConsolePassword string
	SystemVolume    string
	ExpiresAt       *micros
	CreatedAt       micros `gorm:"autoCreateTime:false"`
	DeletedAt       micros // 0 in service, recycled in the recycle bin, else when it was destroyed
	RecycledAt      *micros
	DestroyAt       *micros
	RecycledStatus  int
	RanUntilExpiry  bool
	StartedOnce     bool
	LastError       string
	Promised        promisedColumns `gorm:"embedded"`

	ObservedAt     *micros
	ObservedPower  string
	ObservedNode   string
	ObservedCPU    float64 `gorm:"column:observed_cpu"`
	ObservedMemory int64
	ObservedUptime int64
	ObservedNetIn  int64
	ObservedNetOut int64
	ObservedDrift  string
}

// recycled is deleted_at of a VM in the recycle bin: out of all lists by the indexes that they have anyway.
const recycled micros = -1

func (vmRow) TableName() string { return "vms" }

var vmTable = tableOf[vmRow]()

func vmPendingContext(id int64) string { return fmt.Sprintf("vms/pending_password/%d", id) }

func vmConsoleContext(id int64) string { return fmt.Sprintf("vms/console_password/%d", id) }

func vmPasswordContext(id int64) string { return fmt.Sprintf("vms/password/%d", id) }

// vmRow leaves the password empty while the id it is bound to is not known.
func (s *session) vmRow(vm *broker.VM) (row *vmRow, err error) {
	liveName := strings.ToLower(vm.Name)
	row = &vmRow{
		ID: vm.ID, ClusterID: vm.ClusterID, NodeID: vm.NodeID, Kind: vm.Kind, VMID: vm.VMID, Name: vm.Name, LiveName: &liveName,
		Owner: present(vm.Owner), Tenant: vm.Tenant, Status: int(vm.Status), StatusAt: fromTime(vm.StatusAt), TaskID: vm.TaskID,
		Spec: document[broker.VMSpec]{vm.Spec}, MAC: present(strings.ToLower(vm.Spec.MAC)), ImageID: vm.ImageID,
		Username: vm.Username, SystemVolume: vm.SystemVolume, ExpiresAt: fromTimePointer(vm.ExpiresAt),
		CreatedAt: fromTime(vm.CreatedAt), StartedOnce: vm.StartedOnce, LastError: vm.LastError,
		ObservedAt: fromTimePointer(vm.Observed.At), ObservedPower: vm.Observed.Power, ObservedNode: vm.Observed.Node,
		ObservedCPU: vm.Observed.CPU, ObservedMemory: vm.Observed.Memory, ObservedUptime: vm.Observed.Uptime,
		ObservedNetIn: vm.Observed.NetIn, ObservedNetOut: vm.Observed.NetOut, ObservedDrift: vm.Observed.Drift,
	}
	row.RecycledAt, row.DestroyAt = fromTimePointer(vm.RecycledAt), fromTimePointer(vm.DestroyAt)
	row.RecycledStatus, row.RanUntilExpiry = int(vm.RecycledStatus), vm.RanUntilExpiry
	if vm.RecycledAt != nil {
		row.DeletedAt = recycled
	}
	row.Promised = promisedTo(&vm.Spec)
	if vm.VMID != 0 {
		row.LiveVMID = &row.VMID
	}
	if row.ID == 0 {
		return row, nil
	}
	if row.Password, err = s.secrets.Encrypt(vm.Password, vmPasswordContext(row.ID)); err != nil {
		return nil, err
	}
	if row.PendingPassword, err = s.secrets.Encrypt(vm.PendingPassword, vmPendingContext(row.ID)); err != nil {
		return nil, err
	}
	row.ConsolePassword, err = s.secrets.Encrypt(vm.ConsolePassword, vmConsoleContext(row.ID))
	return row, err
}

func (s *session) vm(row *vmRow) (*broker.VM, error) {
	password, err := s.secrets.Decrypt(row.Password, vmPasswordContext(row.ID))
	if err != nil {
		return nil, err
	}
	pending, err := s.secrets.Decrypt(row.PendingPassword, vmPendingContext(row.ID))
	if err != nil {
		return nil, err
	}
	console, err := s.secrets.Decrypt(row.ConsolePassword, vmConsoleContext(row.ID))
	if err != nil {
		return nil, err
	}
	vm := &broker.VM{
		ID: row.ID, ClusterID: row.ClusterID, NodeID: row.NodeID, Kind: row.Kind, VMID: row.VMID, Name: row.Name, Tenant: row.Tenant,
		Status: broker.VMStatus(row.Status), StatusAt: row.StatusAt.time(), TaskID: row.TaskID, Spec: row.Spec.value, ImageID: row.ImageID, Username: row.Username,
		Password: password, PendingPassword: pending, ConsolePassword: console, SystemVolume: row.SystemVolume, ExpiresAt: row.ExpiresAt.timePointer(), CreatedAt: row.CreatedAt.time(),
		StartedOnce: row.StartedOnce, LastError: row.LastError, RecycledAt: row.RecycledAt.timePointer(),
		DestroyAt: row.DestroyAt.timePointer(), RecycledStatus: broker.VMStatus(row.RecycledStatus), RanUntilExpiry: row.RanUntilExpiry,
		Observed: broker.Observed{
			At: row.ObservedAt.timePointer(), Power: row.ObservedPower, Node: row.ObservedNode, CPU: row.ObservedCPU,
			Memory: row.ObservedMemory, Uptime: row.ObservedUptime, NetIn: row.ObservedNetIn, NetOut: row.ObservedNetOut,
			Drift: row.ObservedDrift,
		},
	}
	if row.Owner != nil {
		vm.Owner = *row.Owner
	}
	return vm, nil
}

// vmTaken says which of a VM's unique values another one has.
func (s *session) vmTaken(err error, vm *broker.VM) error {
	if err == nil || !s.engine.duplicate(err) {
		return err
	}
	taken := &broker.Error{Kind: broker.Exists, Err: err}
	switch {
	case violates(err, "vms", "live_name"):
		taken.Field, taken.Reason = "hostname", broker.ReasonHostnameTaken
		taken.Detail = broker.ReasonHostnameTaken.In(broker.English, vm.Name)
	case violates(err, "vms", "live_vmid"):
		taken.Field, taken.Detail = "vmid", fmt.Sprintf("VMID %d belongs to another virtual machine", vm.VMID)
	case violates(err, "vms", "mac"):
		taken.Field, taken.Detail = "mac", fmt.Sprintf("MAC address %s belongs to another virtual machine", vm.Spec.MAC)
	case violates(err, "vms", "owner"):
		taken.Detail = "the owner mark belongs to another virtual machine"
	default:
		return err
	}
	return taken
}

func (s *session) InsertVM(ctx context.Context, vm *broker.VM) error {
	return s.record(ctx, "add virtual machine", func(db *gorm.DB) error {
		inserted := *vm
		inserted.ID = 0
		row, err := s.vmRow(&inserted)
		if err != nil {
			return err
		}
		if row.ID, err = vmTable.add(db, row); err != nil {
			return s.vmTaken(err, vm)
		}
		if vm.Password != "" {
			password, err := s.secrets.Encrypt(vm.Password, vmPasswordContext(row.ID))
			if err != nil {
				return err
			}
			if _, err := execute(db, "UPDATE vms SET password = ? WHERE id = ?", password, row.ID); err != nil {
				return err
			}
			row.Password = password
		}
		vm.ID = row.ID
		inserted.ID, inserted.PendingPassword, inserted.ConsolePassword = row.ID, "", "" // what was stored
		return s.tx.know(&inserted, row)
	})
}

// FindVM does not find destroyed VMs; nor do the other methods. It finds those in the recycle bin.
func (s *session) FindVM(ctx context.Context, id int64) (*broker.VM, error) {
	return s.findVM(ctx, id, false, "WHERE id = ? AND deleted_at <= 0", id)
}

func (s *session) FindVMByVMID(ctx context.Context, cluster int64, vmid int) (*broker.VM, error) {
	return s.findVM(ctx, vmid, false, "WHERE cluster_id = ? AND live_vmid = ?", cluster, vmid)
}

func (s *session) LockVM(ctx context.Context, id int64) (*broker.VM, error) {
	return s.findVM(ctx, id, true, "WHERE id = ? AND COALESCE(deleted_at, 0) <= 0", id)
}

func (s *session) findVM(ctx context.Context, key any, lock bool, condition string, arguments ...any) (found *broker.VM, err error) {
	err = s.read(ctx, "find virtual machine", func(db *gorm.DB) error {
		condition += " LIMIT 1"
		if lock {
			condition += forUpdate(db)
		}
		rows, err := vmTable.find(db, condition, arguments...)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return broker.Because(broker.NotFound, broker.ReasonVMNotFound, key)
		}
		if found, err = s.vm(&rows[0]); err != nil || !lock {
			return err
		}
		return s.tx.know(found, &rows[0])
	})
	return found, err
}

// MarkVMDeleted frees the name, the MAC address and the place at its VMID; a VM that is deleted already stays as it is.
func (s *session) MarkVMDeleted(ctx context.Context, id int64, at time.Time) error {
	return s.record(ctx, "remove virtual machine", func(db *gorm.DB) error {
		var row vmRow
		query := db.Select("id", "deleted_at").Clauses(clause.Locking{Strength: "UPDATE"}).Where("id = ?", id).Limit(1).Find(&row)
		if query.Error != nil {
			return query.Error
		}
		if query.RowsAffected == 0 {
			return broker.Because(broker.NotFound, broker.ReasonVMNotFound, id)
		}
		if row.DeletedAt > 0 {
			return nil
		}
		s.tx.forget(id)
		return db.Model(&row).Updates(map[string]any{
			"deleted_at": fromTime(at), "live_name": nil, "live_vmid": nil, "mac": nil, "task_id": nil,
		}).Error
	})
}

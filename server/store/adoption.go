package store

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"gantry/server/broker"
)

type unmanagedRow struct {
	ClusterID   int64 `gorm:"primaryKey;autoIncrement:false"`
	VMID        int   `gorm:"column:vmid;primaryKey;autoIncrement:false"`
	Node        string
	Name        string
	Power       string
	CPUs        int `gorm:"column:cpus"`
	MemoryBytes int64
	DiskBytes   int64
	Template    bool
	LockWord    string
	SeenAt      micros
}

func (unmanagedRow) TableName() string { return "unmanaged_guests" }

func (r *unmanagedRow) noun() broker.UnmanagedGuest {
	return broker.UnmanagedGuest{
		ClusterID: r.ClusterID, VMID: r.VMID, Node: r.Node, Name: r.Name, Power: r.Power, CPUs: r.CPUs, MemoryBytes: r.MemoryBytes,
		DiskBytes: r.DiskBytes, Template: r.Template, Lock: r.LockWord, SeenAt: r.SeenAt.time(),
	}
}

// ReplaceUnmanaged writes only what changed.
func (s *session) ReplaceUnmanaged(ctx context.Context, cluster int64, guests []broker.UnmanagedGuest) error {
	return s.record(ctx, "store unmanaged guests", func(db *gorm.DB) error {
		var known []unmanagedRow
		if err := db.Where("cluster_id = ?", cluster).Find(&known).Error; err != nil {
			return err
		}
		before := make(map[int]unmanagedRow, len(known))
		gone := make(map[int]bool, len(known))
		for _, row := range known {
			before[row.VMID], gone[row.VMID] = row, true
		}
		var fresh []unmanagedRow
		for _, guest := range guests {
			delete(gone, guest.VMID)
			row := unmanagedRow{
				ClusterID: cluster, VMID: guest.VMID, Node: guest.Node, Name: bounded(guest.Name, 255), Power: guest.Power, CPUs: guest.CPUs,
				MemoryBytes: guest.MemoryBytes, DiskBytes: guest.DiskBytes, Template: guest.Template, LockWord: bounded(guest.Lock, 64),
				SeenAt: fromTime(guest.SeenAt),
			}
			same := before[guest.VMID]
			if same.SeenAt = row.SeenAt; same != row {
				fresh = append(fresh, row)
			}
		}
		slices.SortFunc(fresh, func(a, b unmanagedRow) int { return a.VMID - b.VMID })
		for chunk := range slices.Chunk(fresh, chunkLength) {
			if err := db.Clauses(clause.OnConflict{UpdateAll: true}).Create(&chunk).Error; err != nil {
				return err
			}
		}
		for chunk := range chunks(gone) {
			if err := db.Exec("DELETE FROM unmanaged_guests WHERE cluster_id = ? AND vmid IN ?", cluster, chunk).Error; err != nil {
				return err
			}
		}
		return nil
	})
}

// bounded cuts text that comes from outside to what a column holds.
func bounded(text string, runes int) string {
	if letters := []rune(strings.ToValidUTF8(text, "?")); len(letters) > runes {
		return string(letters[:runes])
	}
	return strings.ToValidUTF8(text, "?")
}

func (s *session) ListUnmanaged(ctx context.Context, filter broker.UnmanagedFilter, page broker.Page) (guests []broker.UnmanagedGuest, total int64, err error) {
	err = s.read(ctx, "list unmanaged guests", func(db *gorm.DB) error {
		query := db.Model(&unmanagedRow{})
		if filter.ClusterID != 0 {
			query = query.Where("cluster_id = ?", filter.ClusterID)
		}
		if filter.Node != "" {
			query = query.Where("node = ?", filter.Node)
		}
		if filter.Search != "" {
			query = query.Where("name >= ? AND name < ?", filter.Search, filter.Search+"\U0010FFFF")
		}
		query = query.Session(&gorm.Session{})
		if err := query.Count(&total).Error; err != nil || total == 0 {
			return err
		}
		var rows []unmanagedRow
		err := paged(query.Order("cluster_id, vmid"), page).Find(&rows).Error
		guests = nouns(rows, (*unmanagedRow).noun)
		return err
	})
	return guests, total, err
}

func (s *session) HoldVMID(ctx context.Context, cluster int64, vmid int, vm int64) error {
	return s.record(ctx, "hold VMID", func(db *gorm.DB) error {
		var row vmidRow
		result := db.Clauses(clause.Locking{Strength: "UPDATE"}).Where("cluster_id = ? AND vmid = ?", cluster, vmid).Limit(1).Find(&row)
		if result.Error != nil {
			return result.Error
		}
		if row.VM != nil && *row.VM != vm {
			return broker.Errorf(broker.Conflict, "VMID %d belongs to another virtual machine", vmid)
		}
		return holdVMID(db, &vmidRow{ClusterID: cluster, VMID: vmid, VM: &vm})
	})
}

func (s *session) FreeVMID(ctx context.Context, cluster int64, vmid int, vm int64) error {
	return s.record(ctx, "free VMID", func(db *gorm.DB) error {
		return db.Where("cluster_id = ? AND vmid = ? AND vm_id = ?", cluster, vmid, vm).Delete(&vmidRow{}).Error
	})
}

func (s *session) ReserveClusterAddress(ctx context.Context, cluster int64, ip string, vm int64) (reserved *broker.Address, err error) {
	parsed, err := netip.ParseAddr(ip)
	if err != nil {
		return nil, broker.InvalidField("ip", "%.60q is not an IP address", ip)
	}
	err = s.record(ctx, "reserve address", func(db *gorm.DB) error {
		var row addressRow
		query := db.Clauses(clause.Locking{Strength: "UPDATE"}).Where("ip = ? AND cluster_id = ?", parsed.Unmap().String(), cluster)
		if err := first(query, &row, "address", ip); err != nil {
			return err
		}
		if row.VM == nil || *row.VM != vm {
			if row.State != int(broker.AddressFree) {
				return broker.Errorf(broker.Conflict, "address %s is taken", row.IP)
			}
			if err := db.Model(&row).Updates(map[string]any{"state": broker.AddressUsed, "vm_id": vm}).Error; err != nil {
				return err
			}
		}
		var found joinedAddress
		if err := first(joined(db).Where("addresses.id = ?", row.ID), &found, "address", ip); err != nil {
			return err
		}
		address, err := found.noun()
		reserved = &address
		return err
	})
	return reserved, err
}

func (s *session) MarkVMReleased(ctx context.Context, id int64, at time.Time) error {
	return s.record(ctx, "release virtual machine", func(db *gorm.DB) error {
		result := db.Model(&vmRow{}).Where("id = ? AND COALESCE(deleted_at, 0) <= 0", id).Updates(map[string]any{
			"deleted_at": fromTime(at), "live_name": nil, "live_vmid": nil, "mac": nil, "task_id": nil, "owner": nil, "released": true,
		})
		if result.Error == nil && result.RowsAffected == 0 {
			return broker.Because(broker.NotFound, broker.ReasonVMNotFound, id)
		}
		return result.Error
	})
}

func (s *session) WasReleased(ctx context.Context, id int64) (released bool, err error) {
	err = s.read(ctx, "find released virtual machine", func(db *gorm.DB) error {
		var count int64
		err := db.Table("vms").Where("id = ? AND released = ?", id, true).Count(&count).Error
		released = count == 1
		return err
	})
	return released, err
}

package store

import (
	"context"
	"database/sql"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"gantry/server/broker"
)

// vmidRow is an id that may not be given out. Exactly one of VMID's holders is set: VM, or BlockedUntil.
type vmidRow struct {
	ClusterID    int64  `gorm:"primaryKey;autoIncrement:false"`
	VMID         int    `gorm:"column:vmid;primaryKey;autoIncrement:false"`
	VM           *int64 `gorm:"column:vm_id"`
	BlockedUntil *micros
}

func (vmidRow) TableName() string { return "vmids" }

type cursorRow struct {
	ClusterID int64 `gorm:"primaryKey;autoIncrement:false"`
	NextVMID  int   `gorm:"column:next_vmid"`
}

func (cursorRow) TableName() string { return "vmid_cursors" }

var cursorTable = tableOf[cursorRow]()

type guestRow struct {
	ClusterID int64 `gorm:"primaryKey;autoIncrement:false"`
	VMID      int   `gorm:"column:vmid;primaryKey;autoIncrement:false"`
}

func (guestRow) TableName() string { return "guests" }

// takenChunk is how many taken ids are looked at with one query on the way to a free one.
const takenChunk = 256

func (s *session) ReserveVMID(ctx context.Context, cluster int64, vm int64, now time.Time) (vmid int, err error) {
	err = s.record(ctx, "reserve VMID", func(db *gorm.DB) error {
		from, to := 0, 0
		err := query(db, func(rows *sql.Rows) error { return rows.Scan(&from, &to) },
			"SELECT vmid_from, vmid_to FROM clusters WHERE id = ?", cluster)
		if err != nil {
			return err
		}
		if to == 0 {
			return notFound("cluster", cluster)
		}
		next, err := lockCursor(db, cluster, from)
		if err != nil {
			return err
		}
		if next < from || next > to {
			next = from
		}
		if vmid, err = freeVMID(db, cluster, next, to, fromTime(now)); err == nil && vmid == 0 {
			vmid, err = freeVMID(db, cluster, from, next-1, fromTime(now))
		}
		if err != nil {
			return err
		}
		if vmid == 0 {
			return broker.Because(broker.Exhausted, broker.ReasonNoVMID, cluster)
		}
		if err := holdVMID(db, &vmidRow{ClusterID: cluster, VMID: vmid, VM: &vm}); err != nil {
			return err
		}
		_, err = execute(db, "UPDATE vmid_cursors SET next_vmid = ? WHERE cluster_id = ?", vmid+1, cluster)
		return err
	})
	return vmid, err
}

// lockCursor gives the id where the search goes on, and keeps all other reservations of the cluster waiting until the
// transaction ends. Without that they would all try the same id.
func lockCursor(db *gorm.DB, cluster int64, from int) (int, error) {
	for {
		cursors, err := cursorTable.find(db, "WHERE cluster_id = ?"+forUpdate(db), cluster)
		if err != nil {
			return 0, err
		}
		if len(cursors) == 1 {
			return cursors[0].NextVMID, nil
		}
		// The first reservation of the cluster. When another one is quicker, its row is the one to lock.
		err = db.Clauses(clause.OnConflict{DoNothing: true}).Create(&cursorRow{ClusterID: cluster, NextVMID: from}).Error
		if err != nil {
			return 0, err
		}
	}
}

// freeVMID gives the lowest id of from…to that nothing holds, 0 when there is none. It walks over taken ids in order, so its cost
// is that of the run of taken ids in front of the first gap.
func freeVMID(db *gorm.DB, cluster int64, from, to int, now micros) (int, error) {
	for candidate := from; candidate <= to; {
		taken, err := onlyColumn[int](db, `SELECT vmid FROM (
				SELECT vmid FROM vmids WHERE cluster_id = ? AND vmid BETWEEN ? AND ? AND (vm_id IS NOT NULL OR blocked_until > ?)
				UNION SELECT vmid FROM guests WHERE cluster_id = ? AND vmid BETWEEN ? AND ?
			) AS taken ORDER BY vmid`,
			cluster, candidate, min(to, candidate+takenChunk-1), now, cluster, candidate, min(to, candidate+takenChunk-1))
		if err != nil {
			return 0, err
		}
		end := min(to, candidate+takenChunk-1)
		for _, id := range taken {
			if id != candidate {
				break
			}
			candidate++
		}
		if candidate <= end {
			return candidate, nil
		}
	}
	return 0, nil
}

func holdVMID(db *gorm.DB, row *vmidRow) error {
	statement := `INSERT INTO vmids (cluster_id, vmid, vm_id, blocked_until) VALUES (?, ?, ?, ?) `
	if db.Name() == "mysql" {
		statement += "ON DUPLICATE KEY UPDATE vm_id = VALUES(vm_id), blocked_until = VALUES(blocked_until)"
	} else {
		statement += "ON CONFLICT (cluster_id, vmid) DO UPDATE SET vm_id = excluded.vm_id, blocked_until = excluded.blocked_until"
	}
	_, err := execute(db, statement, row.ClusterID, row.VMID, row.VM, row.BlockedUntil)
	return err
}

func (s *session) BurnVMID(ctx context.Context, cluster int64, vmid int, until time.Time) error {
	return s.blockVMID(ctx, "block VMID", cluster, vmid, until)
}

func (s *session) ReleaseVMID(ctx context.Context, cluster int64, vmid int, until time.Time) error {
	return s.blockVMID(ctx, "release VMID", cluster, vmid, until)
}

func (s *session) blockVMID(ctx context.Context, doing string, cluster int64, vmid int, until time.Time) error {
	blocked := fromTime(until)
	return s.record(ctx, doing, func(db *gorm.DB) error {
		return holdVMID(db, &vmidRow{ClusterID: cluster, VMID: vmid, BlockedUntil: &blocked})
	})
}

// ReplaceGuests writes only what changed since the last poll.
func (s *session) ReplaceGuests(ctx context.Context, cluster int64, vmids []int) error {
	return s.record(ctx, "store guests", func(db *gorm.DB) error {
		var known []int
		if err := db.Raw("SELECT vmid FROM guests WHERE cluster_id = ?", cluster).Scan(&known).Error; err != nil {
			return err
		}
		gone := make(map[int]bool, len(known))
		for _, vmid := range known {
			gone[vmid] = true
		}
		fresh := map[int]bool{}
		for _, vmid := range vmids {
			if gone[vmid] {
				delete(gone, vmid)
			} else if !fresh[vmid] {
				fresh[vmid] = true
			}
		}
		// A guest listed twice has left gone at its first mention and must not come back as fresh.
		for _, vmid := range known {
			delete(fresh, vmid)
		}
		for chunk := range chunks(fresh) {
			rows := make([]guestRow, 0, len(chunk))
			for _, vmid := range chunk {
				rows = append(rows, guestRow{ClusterID: cluster, VMID: vmid})
			}
			if err := db.Clauses(clause.OnConflict{DoNothing: true}).Create(&rows).Error; err != nil {
				return err
			}
		}
		for chunk := range chunks(gone) {
			if err := db.Exec("DELETE FROM guests WHERE cluster_id = ? AND vmid IN ?", cluster, chunk).Error; err != nil {
				return err
			}
		}
		return nil
	})
}

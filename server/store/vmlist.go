package store

import (
	"context"
	"strings"

	"gorm.io/gorm"

	"gantry/server/broker"
)

func (s *session) ListVMs(ctx context.Context, filter broker.VMFilter, page broker.Page) (vms []broker.VM, total int64, err error) {
	err = s.read(ctx, "list virtual machines", func(db *gorm.DB) error {
		if err := filterVMs(db, filter).Count(&total).Error; err != nil || total == 0 {
			return err
		}
		order := "vms.id DESC"
		if filter.OldestFirst {
			order = "vms.id"
		}
		// First the ids, which an index alone gives; then whole rows for one page only.
		var ids []int64
		if err := paged(filterVMs(db, filter).Order(order), page).Pluck("vms.id", &ids).Error; err != nil || len(ids) == 0 {
			return err
		}
		var rows []vmRow
		if err := db.Where("id IN ?", ids).Order(order).Find(&rows).Error; err != nil {
			return err
		}
		for i := range rows {
			vm, err := s.vm(&rows[i])
			if err != nil {
				return err
			}
			vms = append(vms, *vm)
		}
		return nil
	})
	return vms, total, err
}

func (s *session) CountVMs(ctx context.Context, filter broker.VMFilter) (count int64, err error) {
	err = s.read(ctx, "count virtual machines", func(db *gorm.DB) error {
		return filterVMs(db, filter).Count(&count).Error
	})
	return count, err
}

func filterVMs(db *gorm.DB, filter broker.VMFilter) *gorm.DB {
	query := db.Model(&vmRow{}).Where("vms.deleted_at = 0")
	if filter.Status != nil {
		query = query.Where("vms.status = ?", int(*filter.Status))
	}
	if filter.NodeID != 0 {
		query = query.Where("vms.node_id = ?", filter.NodeID)
	}
	if filter.Tenant != nil {
		query = query.Where("vms.tenant = ?", *filter.Tenant)
	}
	if filter.Search == "" {
		return query
	}
	branches, arguments := searchBranches(strings.ToLower(filter.Search))
	if len(branches) == 1 {
		return query.Where("vms.live_name >= ? AND vms.live_name < ?", arguments...)
	}
	// A join, because MySQL would evaluate IN (… UNION …) for each row.
	return query.Joins("JOIN ("+strings.Join(branches, " UNION ")+") AS hits ON hits.id = vms.id", arguments...)
}

// searchBranches are queries for the ids of VMs with a name, an address or a VMID that begins with text. All are ranges, which an
// index serves on both databases; LIKE is none on SQLite. Text that can begin no address is not looked for there.
func searchBranches(text string) (branches []string, arguments []any) {
	branches = append(branches, "SELECT id FROM vms WHERE live_name >= ? AND live_name < ?")
	arguments = append(arguments, text, text+"\U0010FFFF")
	if strings.Trim(text, "0123456789abcdef.:") == "" {
		branches = append(branches, "SELECT vm_id AS id FROM addresses WHERE ip >= ? AND ip < ? AND vm_id IS NOT NULL")
		arguments = append(arguments, text, text+"\U0010FFFF")
	}
	if from, to, ok := number(text); ok {
		var ranges []string
		for ; from <= maxVMID; from, to = from*10, to*10+9 {
			ranges = append(ranges, "live_vmid BETWEEN ? AND ?")
			arguments = append(arguments, from, to)
		}
		branches = append(branches, "SELECT id FROM vms WHERE "+strings.Join(ranges, " OR "))
	}
	return branches, arguments
}

// maxVMID is Proxmox VE's largest guest id (apidoc, vmid: maximum 999999999).
const maxVMID = 999_999_999

// number reads decimal digits that a VMID can begin with.
func number(text string) (from, to int, ok bool) {
	if len(text) > 9 || text[0] == '0' {
		return 0, 0, false
	}
	for _, digit := range []byte(text) {
		if digit < '0' || digit > '9' {
			return 0, 0, false
		}
		from = from*10 + int(digit-'0')
	}
	return from, from, true
}

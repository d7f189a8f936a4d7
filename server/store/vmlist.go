package store

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"gorm.io/gorm"

	"gantry/server/broker"
)

// broadSearch is how many hits make it cheaper to walk over the list in order and test each VM than to sort the hits.
const broadSearch = 2000

func (s *session) ListVMs(ctx context.Context, filter broker.VMFilter, page broker.Page) (vms []broker.VM, total int64, err error) {
	err = s.read(ctx, "list virtual machines", func(db *gorm.DB) error {
		counted := filter
		counted.ByName = false
		if err := filterVMs(db, counted).Count(&total).Error; err != nil {
			return err
		}
		ids, err := pageOfVMs(db, filter, page, total)
		if err != nil || len(ids) == 0 {
			return err
		}
		// Whole rows for one page only.
		var rows []vmRow
		if err := db.Where("id IN ?", ids).Find(&rows).Error; err != nil {
			return err
		}
		slices.SortFunc(rows, func(a, b vmRow) int { return slices.Index(ids, a.ID) - slices.Index(ids, b.ID) })
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

// pageOfVMs gives the ids of a page, which an index alone can tell. A page behind the middle is counted from the end.
func pageOfVMs(db *gorm.DB, filter broker.VMFilter, page broker.Page, total int64) (ids []int64, err error) {
	size := int64(max(page.Size, 1))
	offset := int64(max(page.Number-1, 0)) * size
	size = min(size, total-offset)
	if size <= 0 {
		return nil, nil
	}
	ascending, fromEnd := filter.OldestFirst || filter.ByName, offset > total/2
	if fromEnd {
		ascending, offset = !ascending, total-offset-size
	}
	order := "vms.id"
	query := filterVMs(db, filter)
	if filter.Search != "" && total > broadSearch {
		query = walkVMs(db, filter)
	} else if filter.Search != "" {
		order = "vms.id + 0" // sorts the hits: else SQLite likes to walk over all VMs in search of them
	}
	if filter.ByName {
		order, query = "vms.live_name", query.Where("vms.live_name IS NOT NULL") // VMs in service have one; it lets the index of names give the order
	}
	if !ascending {
		order += " DESC"
	}
	err = query.Order(order).Limit(int(size)).Offset(int(offset)).Pluck("vms.id", &ids).Error
	if fromEnd {
		slices.Reverse(ids)
	}
	return ids, err
}

func (s *session) CountVMs(ctx context.Context, filter broker.VMFilter) (count int64, err error) {
	err = s.read(ctx, "count virtual machines", func(db *gorm.DB) error {
		return filterVMs(db, filter).Count(&count).Error
	})
	return count, err
}

// filterVMs finds VMs by index.
func filterVMs(db *gorm.DB, filter broker.VMFilter) *gorm.DB {
	if filter.Search == "" {
		return filterColumns(db.Model(&vmRow{}), filter)
	}
	branches, arguments := searchBranches(filter)
	if filter.SearchIn == broker.SearchName || len(branches) == 1 && filter.SearchIn == broker.SearchEverywhere {
		return filterColumns(db.Model(&vmRow{}).Where("vms.live_name >= ? AND vms.live_name < ?", arguments...), filter)
	}
	// A join, because MySQL would evaluate IN (… UNION …) for each row; a CROSS JOIN, because SQLite takes its order for an order.
	hits := "(" + strings.Join(branches, " UNION ") + ") AS hits CROSS JOIN vms"
	return filterColumns(db.Table(hits, arguments...).Where("vms.id = hits.id"), filter)
}

// walkVMs finds the same by testing one VM after the other.
func walkVMs(db *gorm.DB, filter broker.VMFilter) *gorm.DB {
	branches, arguments := searchBranches(filter)
	for i, branch := range branches {
		branches[i] = "vms.id IN (" + branch + ")"
	}
	if filter.SearchIn == broker.SearchName || len(branches) == 1 && filter.SearchIn == broker.SearchEverywhere {
		// COALESCE keeps the databases from using the index of names.
		branches[0] = "COALESCE(vms.live_name, '') >= ? AND COALESCE(vms.live_name, '') < ?"
	}
	return filterColumns(db.Model(&vmRow{}).Where("vms.deleted_at = ?", binOf(filter)), filter).Where(strings.Join(branches, " OR "), arguments...)
}

func filterColumns(query *gorm.DB, filter broker.VMFilter) *gorm.DB {
	inService := "vms.deleted_at = ?"
	if filter.Search != "" || filter.ByName {
		inService = "vms.deleted_at + 0 = ?" // keeps the databases from walking over all VMs by the index of it
	}
	query = query.Where(inService, binOf(filter))
	if filter.Status != nil {
		query = query.Where("vms.status IN ?", shownAs(*filter.Status))
	}
	if filter.NodeID != 0 {
		query = query.Where("vms.node_id = ?", filter.NodeID)
	}
	if filter.Tenant != nil {
		query = query.Where("vms.tenant = ?", *filter.Tenant)
	}
	return query
}

// binOf gives deleted_at of the VMs that are meant.
func binOf(filter broker.VMFilter) micros {
	if filter.Recycled {
		return recycled
	}
	return 0
}

// shownAs gives the statuses that people see as one.
func shownAs(status broker.VMStatus) []broker.VMStatus {
	switch status {
	case broker.VMStopped:
		return []broker.VMStatus{status, broker.VMFailed}
	case broker.VMForceStopping:
		return []broker.VMStatus{status, broker.VMDeleting}
	}
	return []broker.VMStatus{status}
}

// searchBranches are queries for the ids of VMs with a name, an address or a VMID that begins with text. All are ranges, which an
// index serves on both databases; LIKE is none on SQLite. Text that can begin no address is not looked for there.
func searchBranches(filter broker.VMFilter) (branches []string, arguments []any) {
	text, place := strings.ToLower(filter.Search), filter.SearchIn
	if place == broker.SearchEverywhere || place == broker.SearchName {
		branches = append(branches, "SELECT id FROM vms WHERE live_name >= ? AND live_name < ?")
		arguments = append(arguments, text, text+"\U0010FFFF")
	}
	if place == broker.SearchAddress || place == broker.SearchEverywhere && strings.Trim(text, "0123456789abcdef.:") == "" {
		branches = append(branches, "SELECT vm_id AS id FROM addresses WHERE ip >= ? AND ip < ? AND vm_id IS NOT NULL")
		arguments = append(arguments, text, text+"\U0010FFFF")
	}
	if place == broker.SearchVMID {
		vmid, _ := strconv.Atoi(text) // what is no number is the VMID of nobody
		return []string{"SELECT id FROM vms WHERE live_vmid = ?"}, []any{vmid}
	}
	if from, to, ok := number(text); ok && place == broker.SearchEverywhere {
		// A branch for each number of digits: SQLite would scan for a chain of OR.
		for ; from <= maxVMID; from, to = from*10, to*10+9 {
			branches = append(branches, "SELECT id FROM vms WHERE live_vmid BETWEEN ? AND ?")
			arguments = append(arguments, from, to)
		}
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

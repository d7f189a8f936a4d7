package store

import (
	"context"
	"database/sql"
	"fmt"
	"net/netip"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"gantry/server/broker"
)

type addressRow struct {
	ID        int64
	PoolID    int64
	ClusterID int64
	NodeID    int64
	Version   int
	IP        string `gorm:"column:ip"`
	State     int
	VM        *int64 `gorm:"column:vm_id"`
	DNS1      string `gorm:"column:dns1"`
	DNS2      string `gorm:"column:dns2"`
}

func (addressRow) TableName() string { return "addresses" }

// joinedAddress is an address with what readers want of its pool.
type joinedAddress struct {
	Row     addressRow `gorm:"embedded"` // exported: gorm passes over other fields
	Gateway string
	Prefix  int
	// What the pool says; the address's own come first.
	PoolDNS1 string `gorm:"column:pool_dns1"`
	PoolDNS2 string `gorm:"column:pool_dns2"`
}

func (r *joinedAddress) noun() (broker.Address, error) {
	ip, err := netip.ParseAddr(r.Row.IP)
	if err != nil {
		return broker.Address{}, err
	}
	gateway, err := netip.ParseAddr(r.Gateway)
	dns1, dns2 := r.PoolDNS1, r.PoolDNS2
	if r.Row.DNS1 != "" {
		dns1, dns2 = r.Row.DNS1, r.Row.DNS2
	}
	return broker.Address{
		ID: r.Row.ID, PoolID: r.Row.PoolID, NodeID: r.Row.NodeID, ClusterID: r.Row.ClusterID, IP: ip,
		State: broker.AddressState(r.Row.State), VM: r.Row.VM,
		Gateway: gateway, Prefix: r.Prefix, DNS1: dns1, DNS2: dns2, OwnDNS1: r.Row.DNS1, OwnDNS2: r.Row.DNS2,
	}, err
}

func addressNouns(rows []joinedAddress) ([]broker.Address, error) {
	addresses := make([]broker.Address, 0, len(rows))
	for i := range rows {
		address, err := rows[i].noun()
		if err != nil {
			return nil, err
		}
		addresses = append(addresses, address)
	}
	return addresses, nil
}

// joined reads addresses with their pools.
func joined(db *gorm.DB) *gorm.DB {
	return db.Table("addresses").Select("addresses.*, pools.gateway, pools.prefix, pools.dns1 AS pool_dns1, pools.dns2 AS pool_dns2").
		Joins("JOIN pools ON pools.id = addresses.pool_id")
}

// InsertAddresses takes IP, State and own name servers of each address, the rest is the pool's. All or none are added.
func (s *session) InsertAddresses(ctx context.Context, pool *broker.AddressPool, addresses []broker.Address) error {
	return s.record(ctx, "add addresses", func(db *gorm.DB) error {
		known, err := findPool(db, pool.ID)
		if err != nil {
			return err
		}
		for chunk := range slices.Chunk(addresses, chunkLength) {
			rows := make([]addressRow, len(chunk))
			for i, address := range chunk {
				if address.State != broker.AddressFree && address.State != broker.AddressReserved {
					return broker.InvalidField("status", "a new address is free or reserved")
				}
				rows[i] = addressRow{
					PoolID: known.ID, ClusterID: known.ClusterID, NodeID: known.NodeID, Version: versionOf(address.IP),
					IP: address.IP.Unmap().String(), State: int(address.State), DNS1: address.OwnDNS1, DNS2: address.OwnDNS2,
				}
			}
			if err := db.Create(&rows).Error; err != nil {
				if s.engine.duplicate(err) {
					return &broker.Error{Kind: broker.Exists, Field: "ip",
						Detail: "one of the addresses is known in the cluster already", Err: err}
				}
				return err
			}
		}
		return nil
	})
}

func versionOf(ip netip.Addr) int {
	if ip.Unmap().Is4() {
		return 4
	}
	return 6
}

func (s *session) ListAddresses(ctx context.Context, pool int64, page broker.Page) (list []broker.Address, total int64, err error) {
	err = s.read(ctx, "list addresses", func(db *gorm.DB) error {
		if err := db.Model(&addressRow{}).Where("pool_id = ?", pool).Count(&total).Error; err != nil {
			return err
		}
		var rows []joinedAddress
		if err := paged(joined(db).Where("pool_id = ?", pool).Order("addresses.id"), page).Find(&rows).Error; err != nil {
			return err
		}
		list, err = addressNouns(rows)
		return err
	})
	return list, total, err
}

func (s *session) FreeAddresses(ctx context.Context, node, pool int64, version int, page broker.Page) (list []broker.Address, total int64, err error) {
	err = s.read(ctx, "list free addresses", func(db *gorm.DB) error {
		narrow := func(query *gorm.DB) *gorm.DB {
			query = query.Where("addresses.node_id = ? AND addresses.state = ?", node, broker.AddressFree)
			if pool != 0 {
				query = query.Where("addresses.pool_id = ?", pool)
			}
			if version != 0 {
				query = query.Where("addresses.version = ?", version)
			}
			return query
		}
		if err := narrow(db.Model(&addressRow{})).Count(&total).Error; err != nil || total == 0 {
			return err
		}
		var rows []joinedAddress
		if err := paged(narrow(joined(db)).Order("addresses.id"), page).Find(&rows).Error; err != nil {
			return err
		}
		list, err = addressNouns(rows)
		return err
	})
	return list, total, err
}

func (s *session) FindPoolAddress(ctx context.Context, pool int64, ip string) (found *broker.Address, err error) {
	err = s.read(ctx, "find address", func(db *gorm.DB) error {
		var row joinedAddress
		if err := first(joined(db).Where("addresses.ip = ? AND addresses.pool_id = ?", ip, pool), &row, "address", ip); err != nil {
			return err
		}
		address, err := row.noun()
		found = &address
		return err
	})
	return found, err
}

func (s *session) FindAddress(ctx context.Context, id int64) (found *broker.Address, err error) {
	err = s.read(ctx, "find address", func(db *gorm.DB) error {
		var row joinedAddress
		if err := first(joined(db).Where("addresses.id = ?", id), &row, "address", id); err != nil {
			return err
		}
		address, err := row.noun()
		found = &address
		return err
	})
	return found, err
}

// UpdateAddress changes own name servers, IP, and State between free and reserved. An address becomes used by being reserved for
// a VM only.
func (s *session) UpdateAddress(ctx context.Context, address *broker.Address) error {
	return s.record(ctx, "change address", func(db *gorm.DB) error {
		var row addressRow
		err := first(db.Clauses(clause.Locking{Strength: "UPDATE"}).Where("id = ?", address.ID), &row, "address", address.ID)
		if err != nil {
			return err
		}
		ip := address.IP.Unmap().String()
		if row.State == int(broker.AddressUsed) {
			if address.State != broker.AddressUsed || ip != row.IP {
				return broker.Errorf(broker.Conflict, "address %s is in use", row.IP)
			}
		} else if address.State != broker.AddressFree && address.State != broker.AddressReserved {
			return broker.Errorf(broker.Conflict, "address %s is not in use by any virtual machine", row.IP)
		}
		row.IP, row.Version, row.State = ip, versionOf(address.IP), int(address.State)
		row.DNS1, row.DNS2 = address.OwnDNS1, address.OwnDNS2
		if err := db.Select("ip", "version", "state", "dns1", "dns2").Updates(&row).Error; err != nil {
			if s.engine.duplicate(err) {
				return &broker.Error{Kind: broker.Exists, Field: "ip",
					Detail: fmt.Sprintf("address %s is known in the cluster already", ip), Err: err}
			}
			return err
		}
		return nil
	})
}

func (s *session) ReserveAddresses(ctx context.Context, node, pool int64, version, count int, vm int64) (reserved []broker.Address, err error) {
	if count <= 0 {
		return nil, nil
	}
	err = s.record(ctx, "reserve addresses", func(db *gorm.DB) error {
		free := func(lock string) (ids []any, err error) {
			condition, arguments := "node_id = ? AND version = ? AND state = ?", []any{node, version, broker.AddressFree, count}
			if pool != 0 {
				// By addresses_pool, which is in the order of ids.
				condition = "pool_id = ? AND state = ? AND COALESCE(node_id, 0) = ? AND COALESCE(version, 0) = ?"
				arguments = []any{pool, broker.AddressFree, node, version, count}
			}
			return onlyColumn[any](db, "SELECT id FROM addresses WHERE "+condition+" ORDER BY id LIMIT ?"+lock, arguments...)
		}
		// Orders that come together pass over each other's addresses instead of queueing for the same ones.
		lock, passing := forUpdate(db), ""
		if lock != "" {
			passing = lock + " SKIP LOCKED"
		}
		ids, err := free(passing)
		if err == nil && len(ids) < count && lock != "" {
			// What was passed over may be given back yet: only who waited for it knows that there is too little.
			ids, err = free(lock)
		}
		if err != nil {
			return err
		}
		if len(ids) < count {
			reason := broker.ReasonNoIPv4
			if version == 6 {
				reason = broker.ReasonNoIPv6
			}
			return broker.Because(broker.Exhausted, reason, count)
		}
		these := parameters(len(ids))
		_, err = execute(db, "UPDATE addresses SET state = ?, vm_id = ? WHERE id IN "+these, append([]any{broker.AddressUsed, vm}, ids...)...)
		if err != nil {
			return err
		}
		var rows []joinedAddress
		err = query(db, func(found *sql.Rows) error {
			var row joinedAddress
			err := found.Scan(&row.Row.ID, &row.Row.PoolID, &row.Row.ClusterID, &row.Row.NodeID, &row.Row.Version, &row.Row.IP, &row.Row.State,
				&row.Row.VM, &row.Row.DNS1, &row.Row.DNS2, &row.Gateway, &row.Prefix, &row.PoolDNS1, &row.PoolDNS2)
			rows = append(rows, row)
			return err
		}, `SELECT a.id, a.pool_id, a.cluster_id, a.node_id, a.version, a.ip, a.state, a.vm_id, a.dns1, a.dns2, p.gateway, p.prefix, p.dns1, p.dns2
			FROM addresses AS a JOIN pools AS p ON p.id = a.pool_id WHERE a.id IN `+these+" ORDER BY a.id", ids...)
		if err != nil {
			return err
		}
		reserved, err = addressNouns(rows)
		return err
	})
	return reserved, err
}

// ReserveAddress gives an address that vm holds already without a change.
func (s *session) ReserveAddress(ctx context.Context, node int64, ip string, vm int64) (reserved *broker.Address, err error) {
	parsed, err := netip.ParseAddr(ip)
	if err != nil {
		return nil, broker.InvalidField("ip", "%q is not an IP address", ip)
	}
	err = s.record(ctx, "reserve address", func(db *gorm.DB) error {
		wanted := parsed.Unmap().String()
		var row addressRow
		query := db.Clauses(clause.Locking{Strength: "UPDATE"}).Where("ip = ? AND COALESCE(node_id, 0) = ?", wanted, node)
		if err := first(query, &row, "address", wanted); err != nil {
			return err
		}
		if row.VM == nil || *row.VM != vm {
			if row.State != int(broker.AddressFree) {
				return broker.Errorf(broker.Conflict, "address %s is taken", wanted)
			}
			err := db.Model(&row).Updates(map[string]any{"state": broker.AddressUsed, "vm_id": vm}).Error
			if err != nil {
				return err
			}
		}
		var found joinedAddress
		if err := first(joined(db).Where("addresses.id = ?", row.ID), &found, "address", wanted); err != nil {
			return err
		}
		address, err := found.noun()
		reserved = &address
		return err
	})
	return reserved, err
}

func (s *session) ReleaseAddresses(ctx context.Context, vm int64) error {
	return s.record(ctx, "release addresses", func(db *gorm.DB) error {
		return db.Model(&addressRow{}).Where("vm_id = ?", vm).
			Updates(map[string]any{"state": broker.AddressFree, "vm_id": nil}).Error
	})
}

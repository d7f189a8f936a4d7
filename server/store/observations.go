package store

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"gorm.io/gorm"

	"gantry/server/broker"
)

// observationChunk is how many VMs one transaction updates: few enough that an order does not wait behind a poll.
const observationChunk = 200

// SaveObservations writes in several transactions, each all or nothing. A NodeID of 0 leaves the node.
func (s *session) SaveObservations(ctx context.Context, cluster int64, observations []broker.VMObservation) error {
	// In order of id, so that two writers do not meet in a deadlock.
	sorted := slices.SortedFunc(slices.Values(observations), func(a, b broker.VMObservation) int { return int(a.VM - b.VM) })
	for chunk := range slices.Chunk(sorted, observationChunk) {
		err := s.record(ctx, "store observations", func(db *gorm.DB) error {
			for _, observation := range chunk {
				s.tx.forget(observation.VM)
			}
			if db.Name() == "mysql" {
				return observeTogether(db, cluster, chunk)
			}
			return observeJSON(db, cluster, chunk)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

const (
	// The + keeps SQLite from any index but the primary key: it once chose vms_by_cluster, looked at the JSON text anew for each VM
	// of the cluster, and kept the writer for seconds.
	fromJSON = " FROM json_each(?) WHERE vms.id = value ->> 12 AND +cluster_id = ? AND +deleted_at <= 0"
	// sawJSON touches no column of an index.
	sawJSON = `UPDATE vms SET observed_at = value ->> 0, observed_power = value ->> 1, observed_node = value ->> 2,
		observed_cpu = value ->> 3, observed_memory = value ->> 4, observed_uptime = value ->> 5, observed_net_in = value ->> 6,
		observed_net_out = value ->> 7, observed_drift = value ->> 8` + fromJSON
	changedJSON = `UPDATE vms SET node_id = CASE WHEN value ->> 9 = 0 THEN node_id ELSE value ->> 9 END,
		status = CASE WHEN value ->> 10 IS NULL OR task_id IS NOT NULL OR status_at > value ->> 11 THEN status ELSE value ->> 10 END` + fromJSON
)

// observeJSON suits SQLite: one statement for all, and always the same one, so that it stays compiled. The values come as JSON, a row
// each in the order of observedValues. What concerns indexes is written for the few VMs where it is new.
func observeJSON(db *gorm.DB, cluster int64, observations []broker.VMObservation) error {
	var all, news [][]any
	for _, observation := range observations {
		values := observedValues(observation)
		all = append(all, values)
		if observation.NodeID != 0 || observation.Status != nil {
			news = append(news, values)
		}
	}
	for _, each := range []struct {
		statement string
		rows      [][]any
	}{{sawJSON, all}, {changedJSON, news}} {
		if len(each.rows) == 0 {
			continue
		}
		text, err := json.Marshal(each.rows)
		if err != nil {
			return err
		}
		if err := db.Exec(each.statement, string(text), cluster).Error; err != nil {
			return err
		}
	}
	return nil
}

// observeTogether joins the rows with a table made of the values: one round trip for all.
func observeTogether(db *gorm.DB, cluster int64, observations []broker.VMObservation) error {
	const columns = `SELECT ? AS at, ? AS power, ? AS node, ? AS cpu, ? AS memory, ? AS uptime, ? AS net_in, ? AS net_out, ? AS drift,
		? AS node_id, ? AS status, ? AS settled, ? AS id`
	selects := columns + strings.Repeat(" UNION ALL SELECT ?,?,?,?,?,?,?,?,?,?,?,?,?", len(observations)-1)
	var arguments []any
	for _, observation := range observations {
		arguments = append(arguments, observedValues(observation)...)
	}
	return db.Exec("UPDATE vms JOIN ("+selects+`) AS seen ON seen.id = vms.id SET
		observed_at = seen.at, observed_power = seen.power, observed_node = seen.node, observed_cpu = seen.cpu,
		observed_memory = seen.memory, observed_uptime = seen.uptime, observed_net_in = seen.net_in,
		observed_net_out = seen.net_out, observed_drift = seen.drift,
		vms.node_id = CASE WHEN seen.node_id = 0 THEN vms.node_id ELSE seen.node_id END,
		vms.status = CASE WHEN seen.status IS NULL OR task_id IS NOT NULL OR status_at > seen.settled THEN vms.status ELSE seen.status END
		WHERE COALESCE(cluster_id, 0) = ? AND COALESCE(deleted_at, 0) <= 0`, append(arguments, cluster)...).Error
}

func observedValues(observation broker.VMObservation) []any {
	seen := observation.Observed
	// A status that was set later is none that the inventory may contradict, see broker.StatusGrace.
	var settled *micros
	if seen.At != nil {
		before := fromTime(seen.At.Add(-broker.StatusGrace))
		settled = &before
	}
	return []any{
		fromTimePointer(seen.At), seen.Power, seen.Node, seen.CPU, seen.Memory, seen.Uptime, seen.NetIn, seen.NetOut, seen.Drift,
		observation.NodeID, statusOf(observation), settled, observation.VM,
	}
}

func statusOf(observation broker.VMObservation) *int {
	if observation.Status == nil {
		return nil
	}
	status := int(*observation.Status)
	return &status
}

func (s *session) ListClusterVMs(ctx context.Context, cluster int64) (vms []broker.VM, err error) {
	err = s.read(ctx, "list virtual machines", func(db *gorm.DB) error {
		var rows []struct {
			ID            int64
			VMID          int `gorm:"column:vmid"`
			NodeID        int64
			Owner         *string
			Status        int
			StatusAt      micros
			TaskID        *int64
			ObservedPower string
			RecycledAt    *micros
		}
		err := db.Raw(`SELECT id, vmid, node_id, owner, status, status_at, task_id, observed_power, recycled_at FROM vms
			WHERE cluster_id = ? AND deleted_at <= 0 ORDER BY id`, cluster).Scan(&rows).Error
		if err != nil {
			return err
		}
		vms = make([]broker.VM, 0, len(rows))
		for _, row := range rows {
			vm := broker.VM{
				ID: row.ID, ClusterID: cluster, VMID: row.VMID, NodeID: row.NodeID, Status: broker.VMStatus(row.Status),
				StatusAt: row.StatusAt.time(), TaskID: row.TaskID, Observed: broker.Observed{Power: row.ObservedPower},
				RecycledAt: row.RecycledAt.timePointer(),
			}
			if row.Owner != nil {
				vm.Owner = *row.Owner
			}
			vms = append(vms, vm)
		}
		return nil
	})
	return vms, err
}

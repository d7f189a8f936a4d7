package store_test

import (
	"testing"
	"time"

	"gantry/server/broker"
	"gantry/server/store"
)

func TestOverview(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		cluster, node := place(t, s)
		running, failed, gone := addVM(t, s, cluster.ID, node.ID), addVM(t, s, cluster.ID, node.ID), addVM(t, s, cluster.ID, node.ID)
		running.Status, failed.Status, failed.LastError = broker.VMRunning, broker.VMFailed, "no space left"
		check(t, s.UpdateVM(ctx, running))
		check(t, s.UpdateVM(ctx, failed))
		check(t, s.MarkVMDeleted(ctx, gone.ID, start))
		check(t, s.SaveObservations(ctx, cluster.ID, []broker.VMObservation{
			{VM: running.ID, Observed: broker.Observed{At: &start, Power: "running", CPU: 0.5, Drift: "cores"}},
		}))
		// start is noon in UTC.
		for _, each := range []struct {
			kind  string
			state broker.TaskState
			ended time.Duration
		}{
			{"create", broker.TaskDone, 0}, {"create", broker.TaskDone, -5 * time.Hour}, {"create", broker.TaskUndone, 0},
			{"delete", broker.TaskDone, -24 * time.Hour}, {"power", broker.TaskDone, 0}, {"create", broker.TaskDone, -8 * 24 * time.Hour},
		} {
			ended := start.Add(each.ended)
			check(t, s.InsertTask(ctx, &broker.Task{Kind: each.kind, State: each.state, ClusterID: cluster.ID, NodeID: node.ID, CreatedAt: start, UpdatedAt: ended, FinishedAt: &ended}))
		}
		for _, zone := range []struct {
			east             time.Duration
			created, deleted []int64
		}{
			{0, []int64{0, 0, 0, 0, 0, 0, 2}, []int64{0, 0, 0, 0, 0, 1, 0}},
			{-8 * time.Hour, []int64{0, 0, 0, 0, 0, 1, 1}, []int64{0, 0, 0, 0, 0, 1, 0}}, // 07:00 in UTC is 23:00 of the day before there
			{8 * time.Hour, []int64{0, 0, 0, 0, 0, 0, 2}, []int64{0, 0, 0, 0, 0, 1, 0}},
		} {
			got, err := s.Overview(ctx, start, zone.east)
			check(t, err)
			for i, day := range got.Days {
				if day.Created != zone.created[i] || day.Deleted != zone.deleted[i] {
					t.Errorf("%v east, day %d: %+v", zone.east, i, day)
				}
				if shifted := day.Day.Add(zone.east); !shifted.Equal(shifted.Truncate(24 * time.Hour)) {
					t.Errorf("%v east, day %d begins at %v", zone.east, i, day.Day)
				}
			}
			if got.Statuses[broker.VMRunning] != 1 || got.Statuses[broker.VMFailed] != 1 || got.Drifted != 1 || got.Nodes[node.ID].VMs != 2 {
				t.Errorf("%+v", got)
			}
			if len(got.Busiest) != 1 || got.Busiest[0].ID != running.ID || len(got.Drifting) != 1 || len(got.Failing) != 1 || got.Failing[0].ID != failed.ID {
				t.Errorf("busiest %d, drifting %d, failing %d", len(got.Busiest), len(got.Drifting), len(got.Failing))
			}
		}
		tasks, err := s.TasksFinishedAfter(ctx, start.Add(-time.Hour), 2)
		if err != nil || len(tasks) != 2 || tasks[0].ID < tasks[1].ID {
			t.Errorf("tasks %+v, %v", tasks, err)
		}
	})
}

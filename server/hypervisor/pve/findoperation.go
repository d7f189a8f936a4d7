package pve

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"strconv"
	"time"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// taskRow is a row of GET …/tasks. Status is the exit status, "RUNNING" for active tasks.
type taskRow struct {
	UPID   string `json:"upid"`
	Status string `json:"status"`
	task   upid
}

// after tells whether the row's task began after another one.
func (r taskRow) after(other upid) bool {
	if !r.task.started.Equal(other.started) {
		return r.task.started.After(other.started)
	}
	return r.task.pstart > other.pstart
}

// taskRows is how many rows of a guest are looked at. They come newest first.
const taskRows = "50"

// tasks lists tasks of a node, running and ended, newest first. PVE shows our own, and others' with Sys.Audit.
func (d *driver) tasks(ctx context.Context, node string, query url.Values) ([]taskRow, error) {
	path, err := nodePath(node, "/tasks")
	if err != nil {
		return nil, err
	}
	query.Set("source", "all")
	query.Set("limit", taskRows)
	var rows []taskRow
	if err := d.client.get(ctx, path, query, &rows); err != nil {
		return nil, err
	}
	known := rows[:0]
	for _, row := range rows {
		if row.task, err = parseUPID(row.UPID); err == nil {
			known = append(known, row)
		}
	}
	slices.SortStableFunc(known, func(a, b taskRow) int {
		return cmp.Or(b.task.started.Compare(a.task.started), cmp.Compare(b.task.pstart, a.task.pstart))
	})
	return known, nil
}

// clockTolerance allows for whole seconds in UPIDs and in the Date header that measures the difference between the clocks.
const clockTolerance = 2 * time.Second

// FindOperation takes one request for each of PVE's task types that the kind may have. It looks on ref.Node, then where the guest is
// now, and without either on all nodes.
func (d *driver) FindOperation(ctx context.Context, ref hypervisor.GuestRef, kind hypervisor.OperationKind, since time.Time) (hypervisor.Operation, error) {
	types, known := taskTypes[kind]
	if !known {
		return hypervisor.Operation{}, broker.InvalidField("kind", "unknown kind of operation %q", string(kind))
	}
	looked := map[string]bool{}
	look := func(node string) (hypervisor.Operation, error) {
		looked[node] = true
		return d.findOn(ctx, node, ref.ID, types, since)
	}
	if nodeName.MatchString(ref.Node) {
		operation, err := look(ref.Node)
		if !broker.Is(err, broker.NotFound) || kind == hypervisor.OperationFetch {
			return operation, err
		}
	}
	nodes, err := d.whereabouts(ctx, ref)
	if err != nil {
		return hypervisor.Operation{}, err
	}
	for _, node := range nodes {
		if looked[node] {
			continue
		}
		if operation, err := look(node); !broker.Is(err, broker.NotFound) {
			return operation, err
		}
	}
	return hypervisor.Operation{}, broker.Errorf(broker.NotFound, "no %s of guest %d since %s", kind, ref.ID, since.UTC().Format(time.RFC3339))
}

// whereabouts are the nodes to look on when ref.Node did not know: the guest's node, or all when its own is not known.
func (d *driver) whereabouts(ctx context.Context, ref hypervisor.GuestRef) ([]string, error) {
	rows, err := d.resources(ctx, "")
	if err != nil {
		return nil, err
	}
	var all []string
	for i := range rows {
		switch {
		case rows[i].Type == "qemu" && rows[i].VMID == ref.ID && ref.ID != 0:
			return []string{rows[i].Node}, nil
		case rows[i].Type == "node" && rows[i].Status == "online":
			all = append(all, rows[i].Node)
		}
	}
	if ref.Node != "" {
		return nil, nil
	}
	return all, nil
}

func (d *driver) findOn(ctx context.Context, node string, id int, types []string, since time.Time) (hypervisor.Operation, error) {
	var newest *taskRow
	for _, kind := range types {
		query := url.Values{"typefilter": {kind}}
		if id != 0 {
			query.Set("vmid", strconv.Itoa(id))
		}
		rows, err := d.tasks(ctx, node, query)
		if err != nil {
			return hypervisor.Operation{}, err
		}
		earliest := d.client.onTheirClock(since).Add(-clockTolerance)
		for i := range rows {
			if rows[i].task.user == d.client.credential.identity() && !rows[i].task.started.Before(earliest) {
				if newest == nil || rows[i].after(newest.task) {
					newest = &rows[i]
				}
				break
			}
		}
	}
	if newest == nil {
		return hypervisor.Operation{}, broker.Errorf(broker.NotFound, "no such task on %s", node)
	}
	return newest.task.operation(), nil
}

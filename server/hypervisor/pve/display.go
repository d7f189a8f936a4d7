package pve

import (
	"context"
	"net/url"
	"strings"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// Status takes one request.
func (d *driver) Status(ctx context.Context, ref hypervisor.GuestRef) (hypervisor.Status, error) {
	var raw map[string]any
	err := d.atGuest(ctx, ref, func(node string) error {
		path, err := guestPath(node, ref.ID, "/status/current")
		if err != nil {
			return err
		}
		raw = nil
		return d.client.get(ctx, path, nil, &raw)
	})
	if err != nil {
		return hypervisor.Status{}, err
	}
	text := func(key string) string {
		value, _ := raw[key].(string)
		return value
	}
	status := guestStatus{Status: text("status"), QMPStatus: text("qmpstatus"), Lock: text("lock")}
	return hypervisor.Status{Power: status.power(), Raw: raw}, nil
}

const hidden = "**********"

// Config takes one request. PVE hides the cloud-init password itself; it is hidden here as well, in case a version does not.
func (d *driver) Config(ctx context.Context, ref hypervisor.GuestRef) (map[string]any, error) {
	_, config, err := d.readConfig(ctx, ref)
	if err != nil {
		return nil, err
	}
	if _, has := config["cipassword"]; has {
		config["cipassword"] = hidden
	}
	return config, nil
}

// History takes one request. A guest that pvestatd has not sampled yet has no rows.
func (d *driver) History(ctx context.Context, ref hypervisor.GuestRef, timeframe, consolidation string) ([]hypervisor.Sample, error) {
	if err := hypervisor.CheckHistory(timeframe, consolidation); err != nil {
		return nil, err
	}
	var rows []hypervisor.Sample
	err := d.atGuest(ctx, ref, func(node string) error {
		path, err := guestPath(node, ref.ID, "/rrddata")
		if err != nil {
			return err
		}
		rows, err = d.samples(ctx, path, timeframe, consolidation)
		if missing := err != nil && strings.Contains(broker.DetailOf(err), "RRD error"); missing {
			_, err = d.status(ctx, node, ref.ID) // no file: a new guest, or none
		}
		return err
	})
	return rows, err
}

// NodeHistory takes one request.
func (d *driver) NodeHistory(ctx context.Context, node, timeframe, consolidation string) ([]hypervisor.Sample, error) {
	if err := hypervisor.CheckHistory(timeframe, consolidation); err != nil {
		return nil, err
	}
	path, err := nodePath(node, "/rrddata")
	if err != nil {
		return nil, err
	}
	return d.samples(ctx, path, timeframe, consolidation)
}

// samples reads rrddata. Rows have only "time" where nothing was sampled; values that are no numbers are left out.
func (d *driver) samples(ctx context.Context, path, timeframe, consolidation string) ([]hypervisor.Sample, error) {
	var rows []map[string]any
	if err := d.client.get(ctx, path, url.Values{"timeframe": {timeframe}, "cf": {consolidation}}, &rows); err != nil {
		return nil, err
	}
	out := make([]hypervisor.Sample, 0, len(rows))
	for _, row := range rows {
		sample := hypervisor.Sample{}
		for key, value := range row {
			if number, is := value.(float64); is {
				sample[key] = number
			}
		}
		if _, has := sample["time"]; has {
			out = append(out, sample)
		}
	}
	return out, nil
}

// NodeStatus takes one request.
func (d *driver) NodeStatus(ctx context.Context, node string) (map[string]any, error) {
	path, err := nodePath(node, "/status")
	if err != nil {
		return nil, err
	}
	var status map[string]any
	return status, d.client.get(ctx, path, nil, &status)
}

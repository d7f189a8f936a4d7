package pve

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/luthermonson/go-proxmox"
	"golang.org/x/sync/errgroup"

	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// discoverAtOnce is how many nodes are asked side by side, so that a large cluster's discovery leaves room for its other requests.
const discoverAtOnce = 4

// Discover takes two requests, and two for every node that is online. A node that breaks off meanwhile counts as offline.
func (d *driver) Discover(ctx context.Context) (hypervisor.Discovery, error) {
	version, err := d.askVersion(ctx)
	if err != nil {
		return hypervisor.Discovery{}, err
	}
	nodes, err := d.nodes(ctx)
	if err != nil {
		return hypervisor.Discovery{}, err
	}
	out := hypervisor.Discovery{Version: version, Nodes: make([]hypervisor.NodeDetail, len(nodes))}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(discoverAtOnce)
	for i, node := range nodes {
		group.Go(func() error {
			detail, err := d.nodeDetail(ctx, node)
			out.Nodes[i] = detail
			return err
		})
	}
	return out, group.Wait()
}

// nodes lists the cluster's nodes by name.
func (d *driver) nodes(ctx context.Context) (proxmox.NodeStatuses, error) {
	var nodes proxmox.NodeStatuses
	if err := d.client.get(ctx, "/nodes", nil, &nodes); err != nil {
		return nil, err
	}
	nodes = slices.DeleteFunc(nodes, func(each *proxmox.NodeStatus) bool { return each == nil || !nodeName.MatchString(each.Node) })
	slices.SortFunc(nodes, func(a, b *proxmox.NodeStatus) int { return strings.Compare(a.Node, b.Node) })
	return nodes, nil
}

func (d *driver) nodeDetail(ctx context.Context, node *proxmox.NodeStatus) (hypervisor.NodeDetail, error) {
	out := hypervisor.NodeDetail{Name: node.Node, Online: node.Status == "online", CPUs: node.MaxCPU, MemoryBytes: int64(node.MaxMem)}
	if !out.Online {
		return out, nil
	}
	var err error
	if out.Storages, err = d.storages(ctx, node.Node); err == nil {
		out.Bridges, err = d.bridges(ctx, node.Node)
	}
	if broker.Is(err, broker.Unreachable) && ctx.Err() == nil {
		return hypervisor.NodeDetail{Name: out.Name, CPUs: out.CPUs, MemoryBytes: out.MemoryBytes}, nil
	}
	return out, err
}

func (d *driver) storages(ctx context.Context, node string) ([]hypervisor.Storage, error) {
	var rows proxmox.Storages
	if err := d.client.get(ctx, "/nodes/"+node+"/storage", nil, &rows); err != nil {
		return nil, err
	}
	out := make([]hypervisor.Storage, 0, len(rows))
	for _, row := range rows {
		content := strings.FieldsFunc(row.Content, func(r rune) bool { return r == ',' || r == ' ' })
		slices.Sort(content) // PVE's order is random
		out = append(out, hypervisor.Storage{
			Name: row.Name, Type: row.Type, Content: content, Shared: row.Shared == 1, Enabled: row.Enabled == 1, Active: row.Active == 1,
			Total: int64(row.Total), Available: int64(row.Avail),
		})
	}
	slices.SortFunc(out, func(a, b hypervisor.Storage) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// networkRow is a row of GET …/network. go-proxmox's type breaks on SDN rows, whose numbers come as strings and the other way round.
type networkRow struct {
	Interface string               `json:"iface"`
	CIDR      string               `json:"cidr"`
	Active    *proxmox.StringOrInt `json:"active"`
	Type      string               `json:"type"`
}

// bridges lists Linux and OVS bridges, and the vnets of SDN, which guests use like bridges.
func (d *driver) bridges(ctx context.Context, node string) ([]hypervisor.Bridge, error) {
	var rows []networkRow
	if err := d.client.get(ctx, "/nodes/"+node+"/network", url.Values{"type": {"any_bridge"}}, &rows); err != nil {
		return nil, err
	}
	out := make([]hypervisor.Bridge, 0, len(rows))
	for _, row := range rows {
		// PVE leaves "active" out for a bridge that is down; vnets have no such field.
		active := row.Type == "vnet" || row.Active != nil && *row.Active == 1
		out = append(out, hypervisor.Bridge{Name: row.Interface, CIDR: row.CIDR, Active: active})
	}
	slices.SortFunc(out, func(a, b hypervisor.Bridge) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

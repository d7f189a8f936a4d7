package pve

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/luthermonson/go-proxmox"

	"gantry/internal/tlspin"
	"gantry/server/broker"
	"gantry/server/hypervisor"
)

// Probe takes three or four requests. With no certificate pinned it is the one call that may be made: it reports the one it met and holds
// itself to it.
func (d *driver) Probe(ctx context.Context) (hypervisor.Probe, error) {
	ctx = context.WithValue(ctx, probing{}, true)
	version, err := d.askVersion(ctx)
	if err != nil {
		return hypervisor.Probe{}, err
	}
	out := hypervisor.Probe{Version: version, TLSPin: d.metPin(), Problems: versionProblems(version)}
	nodes, err := d.nodes(ctx)
	if err != nil {
		return hypervisor.Probe{}, err
	}
	for _, node := range nodes {
		out.Nodes = append(out.Nodes, node.Node)
	}
	var permissions proxmox.Permissions
	if err := d.client.get(ctx, "/access/permissions", nil, &permissions); err != nil {
		return hypervisor.Probe{}, err
	}
	out.Problems = append(out.Problems, missingPrivileges(version, permissions, d.client.credential.identity())...)
	out.ThisNode, err = d.thisNode(ctx, nodes)
	if err != nil {
		return hypervisor.Probe{}, err
	}
	if d.options.node != "" && !slices.Contains(out.Nodes, d.options.node) {
		out.Problems = append(out.Problems, unknownNode(d.options.node, out.Nodes))
	}
	return out, nil
}

// metPin is the certificate's SHA-256 in lower-case hex.
func (d *driver) metPin() string {
	if d.pin != "" {
		return d.pin
	}
	d.learnt.Lock()
	defer d.learnt.Unlock()
	return hex.EncodeToString(d.learnt.pin[:])
}

// thisNode is the node that answers: the only one with the certificate that we met; else, when several have the same, the one that
// /cluster/status calls local. That needs Sys.Audit on /; without it the node is the one that the operator named, or the first.
func (d *driver) thisNode(ctx context.Context, nodes proxmox.NodeStatuses) (string, error) {
	var same []string
	for _, node := range nodes {
		if pin, err := tlspin.Parse(node.SSLFingerprint); err == nil && hex.EncodeToString(pin[:]) == d.metPin() {
			same = append(same, node.Node)
		}
	}
	if len(same) == 1 {
		return same[0], nil
	}
	var rows proxmox.NodeStatuses
	err := d.client.get(ctx, "/cluster/status", nil, &rows)
	if err != nil && !broker.Is(err, broker.HypervisorAuth) {
		return "", err
	}
	for _, row := range rows {
		if row != nil && row.Type == "node" && row.Local == 1 {
			return row.Name, nil
		}
	}
	if d.options.node != "" || len(nodes) == 0 {
		return d.options.node, nil
	}
	return nodes[0].Node, nil
}

func versionProblems(version string) []hypervisor.Problem {
	switch {
	case !atLeast(version, 8, 0):
		return []hypervisor.Problem{{Reason: "old_version", Fatal: true, Text: map[broker.Language]string{
			broker.English: fmt.Sprintf("Proxmox VE %s is too old: 8.0 is needed. Before it bridges, cloud-init and API tokens have other privileges and parameters.", version),
			broker.Chinese: fmt.Sprintf("Proxmox VE %s 版本过低，至少需要 8.0：更早版本的网桥、cloud-init 和 API 令牌使用不同的权限与参数。", version),
		}}}
	case !atLeast(version, 8, 4):
		return []hypervisor.Problem{{Reason: "no_image_import", Text: map[broker.Language]string{
			broker.English: fmt.Sprintf("Proxmox VE %s can't import disk images by its API (8.4 can): install `gantry controlled` on its nodes, or upgrade.", version),
			broker.Chinese: fmt.Sprintf("Proxmox VE %s 无法通过 API 导入磁盘镜像（8.4 起支持）：请在节点上安装 `gantry controlled`，或升级。", version),
		}}}
	}
	return nil
}

func unknownNode(name string, nodes []string) hypervisor.Problem {
	return hypervisor.Problem{Reason: "node_not_found", Fatal: true, Text: map[broker.Language]string{
		broker.English: fmt.Sprintf("the cluster has no node %q: its nodes are %v. Use the name that Proxmox VE shows, without a domain.", name, nodes),
		broker.Chinese: fmt.Sprintf("集群中没有节点 %q，现有节点：%v。请使用 Proxmox VE 中显示的名称（不含域名）。", name, nodes),
	}}
}

package ams

import (
	"context"

	"gantry/server/api/route"
	"gantry/server/broker"
	"gantry/server/console"
)

// maxConsoleNodes bounds how many links one call issues.
const maxConsoleNodes = 100

// VNCRequest asks for console links.
type VNCRequest struct {
	HostRef
	Paging
}

// VNC issues a one-time link through every console proxy that is in use and answers: one record, {name: url}, as the original answers.
// ReasonVMNotRunning where the machine is off, ReasonNoConsoleNode where there is no such proxy.
func (m *Machines) VNC(ctx context.Context, call *route.Call, request VNCRequest) (ShortList[map[string]string], error) {
	var none ShortList[map[string]string]
	vm, err := m.find(ctx, call, request.HostID)
	if err != nil {
		return none, err
	}
	if vm.Status != broker.VMRunning {
		return none, broker.Because(broker.Conflict, broker.ReasonVMNotRunning, vm.ID)
	}
	if !m.Live.Supports(ctx, vm.ClusterID, broker.CapabilityConsole) {
		return none, broker.Because(broker.Unsupported, broker.ReasonUnsupported, "screens over this connection")
	}
	nodes, _, err := m.Store.ListConsoleNodes(ctx, broker.Page{Number: 1, Size: maxConsoleNodes})
	if err != nil {
		return none, broker.Wrap(err, "list console proxies")
	}
	links := map[string]string{}
	for _, node := range nodes {
		if node.Disabled || (node.Healthy != nil && !*node.Healthy) {
			continue
		}
		// No ClientIP: a billing system asks for a customer whose address it does not tell.
		link, err := m.Links.Issue(ctx, console.IssueRequest{VMID: vm.ID, ProxyURL: node.URL, IssuedTo: call.Actor.Name})
		if err != nil {
			return none, broker.Wrap(err, "issue a console link")
		}
		links[node.Name] = link.URL
	}
	if len(links) == 0 {
		return none, broker.Because(broker.Unsupported, broker.ReasonNoConsoleNode)
	}
	return ShortListOf([]map[string]string{links}, 1, request.Paging.Wanted()), nil
}

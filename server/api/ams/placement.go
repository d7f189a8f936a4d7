package ams

import (
	"context"
	"strings"

	"gantry/server/api/route"
	"gantry/server/broker"
)

// PlacementParams is the order of a machine that goes to whatever node suits it.
type PlacementParams struct {
	MachineParams
	Area         int64     `json:"area" rule:"min=1" doc:"region: the node is in it or in one below it; default anywhere"`
	AntiAffinity string    `json:"antiAffinityGroup" rule:"max=63" doc:"never on a node that has a machine of the same group ordered with the same key; default no group"`
	Needs        NeedsList `json:"needs" doc:"what must be there, as a list or separated by commas: ipv6, cloud_init, console, snapshots, guest_agent, suspend_to_disk, history, cpu_limit, io_limits, bandwidth_limit, nested_virtualization, smbios, architectures, arguments. What the order itself takes is needed anyway."`
}

// NeedsList reads ["ipv6","console"] or "ipv6,console".
type NeedsList []broker.Capability

// maxNeeds bounds the list: no more words exist.
const maxNeeds = 32

// ReadField implements route.Reader. Words are checked by the broker, which knows them.
func (l *NeedsList) ReadField(field string, value any) error {
	var words []string
	if list, is := value.([]any); is {
		for _, each := range list {
			word, err := route.ReadText(field, each)
			if err != nil {
				return err
			}
			words = append(words, word)
		}
	} else {
		text, err := route.ReadText(field, value)
		if err != nil {
			return err
		}
		if len(text) > 1024 {
			return route.Unacceptable(field, "must have 1024 characters at most", "最多 1024 个字符")
		}
		words = strings.Split(text, ",")
	}
	if len(words) > maxNeeds {
		return route.Unacceptable(field, "has too many entries", "条目过多")
	}
	for _, word := range words {
		if word = strings.ReplaceAll(strings.TrimSpace(word), "-", "_"); word != "" {
			*l = append(*l, broker.Capability(word))
		}
	}
	return nil
}

// Schema implements route.Documented.
func (NeedsList) Schema() map[string]any {
	words := make([]string, 0, maxNeeds)
	for _, need := range broker.PlacementNeeds() {
		words = append(words, string(need))
	}
	return map[string]any{"type": []string{"array", "null"}, "items": map[string]any{"type": "string", "enum": words}}
}

// OrderAnywhere places an order on the node that suits it best.
func (m *Machines) OrderAnywhere(ctx context.Context, call *route.Call, params PlacementParams) (OrderReply, error) {
	order, err := params.Order(call)
	if err != nil {
		return OrderReply{}, err
	}
	order.Placement = &broker.Placement{AreaID: params.Area, Needs: params.Needs, AntiAffinity: params.AntiAffinity}
	vm, task, err := m.Orders.PlaceAnywhere(ctx, order, call.Actor)
	if err != nil {
		return OrderReply{}, err
	}
	call.NoteTask(task)
	return OrderReplyOf(&params.MachineParams, vm, task), nil
}

// PlacementSummary describes the calls of both surfaces.
const PlacementSummary = "Orders a machine on the node that suits it best, of whatever hypervisor: nodeType of the answer tells which. Gantry's own. " +
	"Nodes are refused that are disabled or offline, are not in the area, lack the bridge, a capability, the image (and can't download it), " +
	"the addresses or the room, or have a machine of the anti-affinity group. Of the rest, those with the image come first; then those with " +
	"most left of the scarcest of CPU, memory and disk, in steps of a tenth; then those with fewest machines of the same key. When none is " +
	"left, code 1011 and data.refused tell why, node by node. The same Idempotency-Key with the same order gives the same machine."

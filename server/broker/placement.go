package broker

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Placement lets an order go to whatever node suits it, of whatever hypervisor.
type Placement struct {
	// AreaID keeps it to an area and the areas below; 0 = anywhere.
	AreaID int64 `json:",omitempty"`
	// Needs must be there, see PlacementNeeds; what the order itself takes (limits, architecture, …) is needed anyway.
	Needs []Capability `json:",omitempty"`
	// AntiAffinity keeps machines of one tenant that name the same group off each other's nodes; "" = none.
	AntiAffinity string `json:",omitempty"`
}

// PlaceAnywhere is PlaceOrder for an order that names no node; request.Placement says what the node must be like. Candidates come in
// a fixed order: nodes that have the image before those that would have to download it; then by what would be left of the scarcest of
// CPU, memory and disk, in steps of a tenth; among equals first the node with fewest machines of the tenant, then the one with most left,
// then the lowest id. What the machine takes is checked again and reserved in the order's own transaction; who comes too late tries the
// next node. Exhausted with ReasonNoNodeFits, and Refused, when no node is left.
func (b *Broker) PlaceAnywhere(ctx context.Context, request OrderRequest, actor Actor) (*VM, *Task, error) {
	if err := checkName(&request, nil); err != nil {
		return nil, nil, err
	}
	if err := checkPlacement(&request); err != nil {
		return nil, nil, err
	}
	fingerprint, err := orderFingerprint(request)
	if err != nil {
		return nil, nil, err
	}
	if vm, task, err := b.earlierOrder(ctx, request, fingerprint, actor); vm != nil || err != nil {
		return vm, task, err
	}
	p, err := b.newPlacing(ctx, request, actor)
	if err != nil {
		return nil, nil, err
	}
	p.fingerprint = fingerprint
	vm, task, err := p.place(ctx)
	if Is(err, Exists) && request.IdempotencyKey != "" {
		// Another request with the same key may have won the race: its VM is ours, too.
		if earlier, task, again := b.earlierOrder(ctx, request, fingerprint, actor); earlier != nil || again != nil {
			return earlier, task, again
		}
	}
	if err != nil {
		return nil, nil, err
	}
	b.queue.Wake()
	return vm, task, nil
}

func checkPlacement(request *OrderRequest) error {
	switch {
	case request.Placement == nil:
		return Errorf(Internal, "an order without a node needs a placement")
	case request.NodeID != 0 || request.Kind != "":
		return InvalidField("nodeid", "is chosen by the placement: leave it out, or order through the hypervisor's own path")
	case request.Placement.AntiAffinity != "" && !namePattern.MatchString(request.Placement.AntiAffinity):
		return InvalidField("antiAffinityGroup", "letters, digits, '_', '.', '-', at most 63, beginning with a letter or digit")
	}
	return nil
}

// placing is an order on the way to its node.
type placing struct {
	broker      *Broker
	request     OrderRequest
	actor       Actor
	fingerprint string
	spec        VMSpec
	image       *Image
	needs       []Capability
	question    PlacementQuestion
	settings    PlacementSettings
	supported   map[int64]map[Capability]bool
	refusals    []NodeRefusal
}

func (b *Broker) newPlacing(ctx context.Context, request OrderRequest, actor Actor) (*placing, error) {
	p := &placing{broker: b, request: request, actor: actor, supported: map[int64]map[Capability]bool{}}
	err := b.withPlan(ctx, &p.request)
	if err != nil {
		return nil, err
	}
	if p.spec, err = b.specification(&p.request); err != nil {
		return nil, err
	}
	p.spec.AntiAffinity = request.Placement.AntiAffinity
	if p.image, err = b.installableImage(ctx, request.Image); err != nil {
		return nil, err
	}
	if p.spec.SystemDiskGB == 0 {
		settings, err := b.Settings(ctx)
		if err != nil {
			return nil, err
		}
		p.spec.SystemDiskGB = settings.LinuxDiskGB
		if firstOf(p.spec.OSFamily, p.image.Family) == "windows" {
			p.spec.SystemDiskGB = settings.WindowsDiskGB
		}
	}
	if p.needs, err = b.needsOf(ctx, &p.request, &p.spec, p.image); err != nil {
		return nil, err
	}
	var wanted orderPlan
	if err := wanted.countAddresses(p.request); err != nil {
		return nil, err
	}
	p.question = PlacementQuestion{
		Tenant: actor.APIKeyID, Group: p.spec.AntiAffinity, Bridge: p.spec.Bridge, AnyBridge: request.Bridge == "", Image: p.image.ID, IPv4: wanted.ipv4, IPv6: wanted.ipv6,
		Named: wanted.named,
	}
	if slices.Contains(p.needs, NeedIPv6) {
		p.question.IPv6 = max(1, p.question.IPv6)
	}
	p.settings, err = b.PlacementSettings(ctx)
	return p, err
}

// candidate is a node that could take the order.
type candidate struct {
	node     *PlacementNode
	room     room
	download bool
	ofTenant int
}

func (p *placing) place(ctx context.Context) (*VM, *Task, error) {
	facts, err := p.broker.store.PlacementFacts(ctx, p.question)
	if err != nil {
		return nil, nil, err
	}
	nodes, err := p.inArea(ctx, facts.Nodes)
	if err != nil {
		return nil, nil, err
	}
	shared := sharedPromises(facts.Nodes)
	var candidates []candidate
	for i := range nodes {
		found, refusal := p.look(ctx, &nodes[i], shared)
		if refusal != nil {
			p.refusals = append(p.refusals, *refusal)
			continue
		}
		candidates = append(candidates, found)
	}
	slices.SortFunc(candidates, compareCandidates)
	for _, each := range candidates {
		vm, task, err := p.try(ctx, each, facts.Nodes)
		if refusal := p.refusalOf(each.node, err); refusal != nil {
			p.refusals = append(p.refusals, *refusal)
			continue
		}
		return vm, task, err
	}
	return nil, nil, noNodeFits(p.refusals)
}

// compareCandidates is the order of preference, see PlaceAnywhere.
func compareCandidates(a, b candidate) int {
	tenth := func(c candidate) int { return int(math.Floor(c.room.left * 10)) }
	missing := func(c candidate) int {
		if c.download {
			return 1
		}
		return 0
	}
	return cmp.Or(
		cmp.Compare(missing(a), missing(b)), cmp.Compare(tenth(b), tenth(a)), cmp.Compare(a.ofTenant, b.ofTenant),
		cmp.Compare(b.room.left, a.room.left), cmp.Compare(a.node.ID, b.node.ID),
	)
}

// inArea keeps the nodes of the order's area and of the areas below it.
func (p *placing) inArea(ctx context.Context, nodes []PlacementNode) ([]PlacementNode, error) {
	if p.request.Placement.AreaID == 0 {
		return nodes, nil
	}
	if _, err := p.broker.store.FindArea(ctx, p.request.Placement.AreaID); err != nil {
		return nil, named("area", err)
	}
	areas, _, err := p.broker.store.ListAreas(ctx, nil, Page{Number: 1, Size: math.MaxInt32})
	if err != nil {
		return nil, err
	}
	wanted := map[int64]bool{p.request.Placement.AreaID: true}
	for grown := true; grown; {
		grown = false
		for _, area := range areas {
			if area.ParentID != nil && wanted[*area.ParentID] && !wanted[area.ID] {
				wanted[area.ID], grown = true, true
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(nodes), func(node PlacementNode) bool { return node.AreaID == nil || !wanted[*node.AreaID] }), nil
}

// look makes a node a candidate, or says why it is none.
func (p *placing) look(ctx context.Context, node *PlacementNode, shared map[storagePlace]sharedPromise) (candidate, *NodeRefusal) {
	measure := &capacity{node: node, settings: p.settings, shared: shared}
	found := candidate{node: node, download: node.Image != ImageReady}
	switch {
	case node.Status == NodeDisabled:
		return found, measure.refuse(ReasonNodeDisabled, nil)
	case node.Status != NodeOnline:
		return found, measure.refuse(ReasonNodeOffline, nil)
	case !node.HasBridge:
		return found, measure.refuse(ReasonNodeNoBridge, nil, p.spec.Bridge)
	}
	for _, need := range p.needs {
		if need != NeedIPv6 && need != NeedCloudInit && !p.supports(ctx, node.ClusterID, need) {
			return found, measure.refuse(ReasonNodeLacks, nil, string(need))
		}
	}
	if found.download && (p.image.Source != ImageFromURL || (!node.HasDaemon && !p.supports(ctx, node.ClusterID, CapabilityImageFetch))) {
		return found, measure.refuse(ReasonNodeNoImage, nil)
	}
	for _, promise := range node.Promises {
		found.ofTenant += promise.OfTenant
		if promise.OfGroup > 0 {
			return found, measure.refuse(ReasonNodeGroup, nil)
		}
	}
	switch {
	case !node.HasIPv4:
		return found, measure.refuse(ReasonNoIPv4, nil, p.question.IPv4)
	case !node.HasIPv6:
		return found, measure.refuse(ReasonNoIPv6, nil, p.question.IPv6)
	case !node.HasNamed:
		return found, measure.refuse(ReasonNodeNoAddress, nil)
	}
	var refusal *NodeRefusal
	found.room, refusal = measure.fits(&p.spec)
	return found, refusal
}

func (p *placing) supports(ctx context.Context, cluster int64, need Capability) bool {
	if p.supported[cluster] == nil {
		p.supported[cluster] = map[Capability]bool{}
	}
	known, found := p.supported[cluster][need]
	if !found {
		known = p.broker.fleet.Supports(ctx, cluster, need)
		p.supported[cluster][need] = known
	}
	return known
}

// try orders on one node. What the node has left is looked at again under a lock that others who want it wait for.
func (p *placing) try(ctx context.Context, on candidate, all []PlacementNode) (vm *VM, task *Task, err error) {
	request := p.request
	request.NodeID, request.Storage, request.downloadImage = on.node.ID, on.room.storage, on.download
	spec := p.spec
	spec.Storage, spec.DataDisks = on.room.storage, slices.Clone(p.spec.DataDisks)
	plan, err := p.broker.planOrder(ctx, request, spec)
	if err != nil {
		return nil, nil, err
	}
	defer p.broker.queue.Arriving()()
	err = p.broker.store.Transact(ctx, func(tx Tx) error {
		if err := p.recheck(ctx, tx, on, all); err != nil {
			return err
		}
		if vm, task, err = p.broker.reserveOrder(ctx, tx, request, plan, p.fingerprint, p.actor); err != nil {
			return err
		}
		if !on.download {
			return nil
		}
		data, err := json.Marshal(DownloadImageData{ImageID: p.image.ID})
		if err != nil {
			return Wrap(err, "describe the download task")
		}
		_, err = p.broker.queueDownload(ctx, tx, p.image, plan.node, data, p.actor)
		return err
	})
	return vm, task, err
}

// refused carries a refusal out of the transaction that found it.
type refused struct{ NodeRefusal }

func (r *refused) Error() string { return r.In(English) }

// recheck locks what the order takes room of and looks at it again.
func (p *placing) recheck(ctx context.Context, tx Tx, on candidate, all []PlacementNode) error {
	places, nodes := []string{fmt.Sprintf("node:%d", on.node.ID)}, []int64{on.node.ID}
	for _, storage := range on.node.Storages {
		if !storage.Shared || !p.uses(storage.Name, on.room.storage) {
			continue
		}
		places = append(places, storageKey(on.node.ClusterID, storage.Name))
		for i := range all {
			if all[i].ClusterID == on.node.ClusterID && all[i].ID != on.node.ID && !slices.Contains(nodes, all[i].ID) {
				nodes = append(nodes, all[i].ID)
			}
		}
	}
	slices.Sort(places)
	if err := tx.LockPlaces(ctx, places...); err != nil {
		return err
	}
	promises, err := tx.NodePromises(ctx, p.question, nodes...)
	if err != nil {
		return err
	}
	fresh := make([]PlacementNode, 0, len(nodes))
	for i := range all {
		if !slices.Contains(nodes, all[i].ID) {
			continue
		}
		node := all[i]
		node.Promises = nil
		for _, promise := range promises {
			if promise.NodeID == node.ID {
				node.Promises = append(node.Promises, promise)
			}
		}
		fresh = append(fresh, node)
	}
	index := slices.IndexFunc(fresh, func(node PlacementNode) bool { return node.ID == on.node.ID })
	measure := &capacity{node: &fresh[index], settings: p.settings, shared: sharedPromises(fresh)}
	for _, promise := range fresh[index].Promises {
		if promise.OfGroup > 0 {
			return &refused{*measure.refuse(ReasonNodeGroup, nil)}
		}
	}
	spec := p.spec
	spec.Storage = on.room.storage
	if _, refusal := measure.fits(&spec); refusal != nil {
		return &refused{*refusal}
	}
	return nil
}

// uses tells whether the order has a disk on a storage, its system disk being on system.
func (p *placing) uses(storage, system string) bool {
	return storage == system || slices.ContainsFunc(p.spec.DataDisks, func(disk DataDisk) bool { return disk.Storage == storage })
}

// refusalOf makes a failure that is the node's a refusal; nil for success and for what is wrong with the order itself.
func (p *placing) refusalOf(node *PlacementNode, err error) *NodeRefusal {
	if err == nil {
		return nil
	}
	if late, is := err.(*refused); is {
		return &late.NodeRefusal
	}
	known, is := err.(*Error)
	if !is {
		return nil
	}
	refusal := &NodeRefusal{NodeID: node.ID, NodeName: node.Name, Kind: node.Kind, Reason: known.Reason, Args: known.Args}
	switch known.Reason {
	case ReasonNodeNotFound, ReasonNodeUnavailable:
		refusal.Reason, refusal.Args = ReasonNodeOffline, nil
	case ReasonImageNotOnNode:
		refusal.Reason, refusal.Args = ReasonNodeNoImage, nil
	case ReasonStorageNotFound, ReasonStorageFull:
		refusal.Reason, refusal.Args = ReasonNodeNoStorage, []any{p.request.Storage}
	case ReasonUnsupported:
		refusal.Reason, refusal.Args = ReasonNodeLacks, []any{known.Field}
	case ReasonNoIPv4, ReasonNoIPv6, ReasonNoVMID:
	default:
		if !strings.HasPrefix(known.Field, "ipConfig") || known.Kind == Invalid {
			return nil
		}
		refusal.Reason, refusal.Args = ReasonNodeNoAddress, nil
	}
	return refusal
}

// installableImage finds an image that may be installed, wherever it is.
func (b *Broker) installableImage(ctx context.Context, name string) (*Image, error) {
	name = strings.TrimSpace(name)
	if name == "" {
		failure := Because(Invalid, ReasonImageMissing)
		failure.Field = "os"
		return nil, failure
	}
	image, err := b.store.FindImageByName(ctx, name)
	if Is(err, NotFound) || (err == nil && image.Disabled) {
		failure := Because(NotFound, ReasonImageNotFound, bounded(name))
		failure.Field = "os"
		return nil, failure
	}
	return image, err
}

// imageOf finds the image of an order: on the node, unless it will be downloaded.
func (b *Broker) imageOf(ctx context.Context, request *OrderRequest, node *Node) (*Image, error) {
	if request.downloadImage {
		return b.installableImage(ctx, request.Image)
	}
	return b.usableImage(ctx, request.Image, node)
}

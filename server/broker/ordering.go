package broker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
)

// CreateKind and friends name the workflows (server/task) that the domain queues.
const (
	CreateKind        = "create"
	PowerKind         = "power"
	ReinstallKind     = "reinstall"
	DeleteKind        = "delete"
	RecycleKind       = "recycle"
	DownloadImageKind = "download-image"
)

// PlaceOrder checks the order, reserves VMID, addresses and MAC in one transaction with the create task, and returns.
// The same idempotency key with the same request gives the same VM again (with the create task); with another request Exists
// (ReasonOrderDiffers). A key is free again when its VM was undone or deleted.
func (b *Broker) PlaceOrder(ctx context.Context, request OrderRequest, actor Actor) (*VM, *Task, error) {
	if err := checkName(&request, nil); err != nil {
		return nil, nil, err
	}
	fingerprint, err := orderFingerprint(request)
	if err != nil {
		return nil, nil, err
	}
	// Before the plan is looked up: it may have changed since an order that is sent again.
	vm, task, err := b.earlierOrder(ctx, request, fingerprint, actor)
	if vm != nil || err != nil {
		return vm, task, err
	}
	if err := b.withPlan(ctx, &request); err != nil {
		return nil, nil, err
	}
	spec, err := b.specification(&request)
	if err != nil {
		return nil, nil, err
	}
	plan, err := b.planOrder(ctx, request, spec)
	if err != nil {
		return nil, nil, err
	}
	defer b.queue.Arriving()()
	err = b.store.Transact(ctx, func(tx Tx) error {
		vm, task, err = b.reserveOrder(ctx, tx, request, plan, fingerprint, actor)
		return err
	})
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

// orderFingerprint tells two orders with one key apart. The password counts: its hash only is kept.
func orderFingerprint(request OrderRequest) (string, error) {
	request.IdempotencyKey = ""
	text, err := json.Marshal(request)
	if err != nil {
		return "", Wrap(err, "fingerprint the order")
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// earlierOrder finds the VM that the order's idempotency key already stands for; nil when there is none.
func (b *Broker) earlierOrder(ctx context.Context, request OrderRequest, fingerprint string, actor Actor) (*VM, *Task, error) {
	if request.IdempotencyKey == "" {
		return nil, nil, nil
	}
	order, err := b.store.FindOrder(ctx, actor.APIKeyID, request.IdempotencyKey)
	if Is(err, NotFound) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if order.RequestHash != fingerprint {
		failure := Because(Exists, ReasonOrderDiffers)
		failure.Field = "Idempotency-Key"
		return nil, nil, failure
	}
	vm, err := b.store.FindVM(ctx, order.VMID)
	if err != nil {
		return nil, nil, err
	}
	task, err := b.store.FindTaskByKey(ctx, createKey(vm.ID))
	if err != nil {
		return nil, nil, err
	}
	return vm, task, nil
}

func createKey(vm int64) string { return fmt.Sprintf("create:%d", vm) }

// orderPlan is an order with everything looked up that needs no reservation.
type orderPlan struct {
	spec    VMSpec
	cluster *Cluster
	node    *Node
	image   *Image
	shared  string // name of the shared storage that the system disk goes to, "" = local
	ipv4    int
	ipv6    int
	named   []string
}

func (b *Broker) planOrder(ctx context.Context, request OrderRequest, spec VMSpec) (*orderPlan, error) {
	node, cluster, err := b.usableNode(ctx, request.NodeID, request.Kind)
	if err != nil {
		return nil, err
	}
	image, err := b.imageOf(ctx, &request, node)
	if err != nil {
		return nil, err
	}
	plan := &orderPlan{spec: spec, cluster: cluster, node: node, image: image}
	plan.spec.Image, plan.spec.ImageName, plan.spec.CloudInit = image.FileName, image.Name, image.CloudInit
	plan.spec.GuestAgent = image.GuestAgent
	if plan.spec.OSFamily == "" {
		plan.spec.OSFamily = image.Family
	}
	if image.Arch != "" && image.Arch != plan.spec.Arch {
		return nil, InvalidField("arch", "image %s is for %s, not %s", image.Name, image.Arch, plan.spec.Arch)
	}
	if plan.spec.SystemDiskGB == 0 {
		settings, err := b.Settings(ctx)
		if err != nil {
			return nil, err
		}
		plan.spec.SystemDiskGB = settings.LinuxDiskGB
		if plan.spec.OSFamily == "windows" {
			plan.spec.SystemDiskGB = settings.WindowsDiskGB
		}
	}
	if err := b.chooseStorages(ctx, plan); err != nil {
		return nil, err
	}
	if err := b.chooseModels(ctx, request, plan); err != nil {
		return nil, err
	}
	if plan.spec.Bridge, err = b.chooseBridge(ctx, request.Bridge, node, plan.spec.Bridge); err != nil {
		return nil, err
	}
	return plan, plan.countAddresses(request)
}

func (b *Broker) usableNode(ctx context.Context, id int64, kind string) (*Node, *Cluster, error) {
	if id <= 0 {
		return nil, nil, InvalidField("nodeid", "is missing or not a node id")
	}
	node, err := b.store.FindNode(ctx, id)
	if Is(err, NotFound) {
		failure := Because(NotFound, ReasonNodeNotFound, id)
		failure.Field = "nodeid"
		return nil, nil, failure
	}
	if err != nil {
		return nil, nil, err
	}
	cluster, err := b.store.FindCluster(ctx, node.ClusterID)
	if err != nil {
		return nil, nil, err
	}
	if kind != "" && cluster.Kind != kind {
		failure := Errorf(Invalid, "node %d is on %s, not on %s", id, cluster.Kind, bounded(kind))
		failure.Field = "nodeid"
		return nil, nil, failure
	}
	if node.Status != NodeOnline || cluster.Disabled {
		why := "it is offline"
		if node.Status == NodeDisabled || cluster.Disabled {
			why = "it was disabled by the operator"
		}
		failure := Because(Conflict, ReasonNodeUnavailable, id, why)
		failure.Field = "nodeid"
		return nil, nil, failure
	}
	return node, cluster, nil
}

// usableImage finds an image that may be installed and is on the node.
func (b *Broker) usableImage(ctx context.Context, name string, node *Node) (*Image, error) {
	image, err := b.installableImage(ctx, name)
	if err != nil {
		return nil, err
	}
	imageCopy, err := b.store.FindImageCopy(ctx, image.ID, node.ID)
	if Is(err, NotFound) || (err == nil && imageCopy.State != ImageReady) {
		failure := Because(Conflict, ReasonImageNotOnNode, image.Name, node.ID)
		failure.Field = "os"
		return nil, failure
	}
	return image, err
}

// chooseStorages turns "auto" into the storage for disk images with most room and checks the named ones.
func (b *Broker) chooseStorages(ctx context.Context, plan *orderPlan) error {
	storages, err := b.store.ListStorages(ctx, plan.node.ID)
	if err != nil {
		return err
	}
	takesImages := map[string]Storage{}
	var roomiest *Storage
	for i, storage := range storages {
		if !storage.Enabled || !storage.Active || !storage.Holds("images") {
			continue
		}
		takesImages[storage.Name] = storage
		if roomiest == nil || storage.Available > roomiest.Available {
			roomiest = &storages[i]
		}
	}
	if plan.spec.Storage == "" {
		plan.spec.Storage = plan.node.DefaultStorage
	}
	if plan.spec.Storage == "" {
		if roomiest == nil {
			return Because(Exhausted, ReasonStorageFull, plan.node.ID, plan.spec.SystemDiskGB)
		}
		plan.spec.Storage = roomiest.Name
	}
	system, known := takesImages[plan.spec.Storage]
	if !known {
		failure := Because(NotFound, ReasonStorageNotFound, plan.spec.Storage, plan.node.ID)
		failure.Field = "storage"
		return failure
	}
	if system.Shared {
		plan.shared = system.Name
	}
	for i, disk := range plan.spec.DataDisks {
		if disk.Storage == "" || disk.Storage == "auto" {
			plan.spec.DataDisks[i].Storage = plan.spec.Storage
			continue
		}
		if _, known := takesImages[disk.Storage]; !known {
			failure := Because(NotFound, ReasonStorageNotFound, disk.Storage, plan.node.ID)
			failure.Field = fmt.Sprintf("dataDisk.%d", disk.Number)
			return failure
		}
	}
	return nil
}

// chooseBridge refuses a bridge that the node does not have: PVE would accept it and fail at start. Where none was asked for and the node
// has no default one, its only active bridge is meant.
func (b *Broker) chooseBridge(ctx context.Context, asked string, node *Node, bridge string) (string, error) {
	bridges, err := b.store.ListBridges(ctx, node.ID)
	if err != nil {
		return "", err
	}
	var active []string
	for _, each := range bridges {
		if each.Name == bridge {
			return bridge, nil
		}
		if each.Active {
			active = append(active, each.Name)
		}
	}
	if asked == "" && len(active) == 1 {
		return active[0], nil
	}
	failure := Errorf(NotFound, "node %d has no bridge %q", node.ID, bridge)
	if asked != "" {
		failure.Field = "bridge"
	} else if len(active) > 1 {
		failure.Detail += ": name one of " + strings.Join(active, ", ")
	}
	return "", failure
}

// countAddresses works out how many addresses of each version are wanted: explicit counts win over the slots of ipConfig.
func (p *orderPlan) countAddresses(request OrderRequest) error {
	for _, address := range request.Addresses {
		if address == "" {
			p.ipv4++
			continue
		}
		p.named = append(p.named, address)
	}
	if request.IPv4Count != nil || request.IPv6Count != nil {
		p.ipv4 = max(0, given(request.IPv4Count, 0)-namedOf(p.named, 4))
		p.ipv6 = max(0, given(request.IPv6Count, 0)-namedOf(p.named, 6))
		if p.ipv4+p.ipv6+len(p.named) == 0 {
			return InvalidField("ipv4num", "at least one address is needed: ipv4num and ipv6num are both 0")
		}
		return nil
	}
	if len(request.Addresses) == 0 {
		p.ipv4 = 1
	}
	return nil
}

func namedOf(addresses []string, version int) int {
	count := 0
	for _, text := range addresses {
		if address, err := netip.ParseAddr(text); err == nil && address.Is4() == (version == 4) {
			count++
		}
	}
	return count
}

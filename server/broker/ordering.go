package broker

import (
	"context"
	"errors"
)

var errUnwritten = errors.New("being written by the lead")

// PlaceOrder checks the order, reserves VMID, addresses and MAC in one transaction with the create task, and returns.
// The same idempotency key with the same request gives the same VM again; with another request Exists (ReasonOrderDiffers).
func (b *Broker) PlaceOrder(ctx context.Context, request OrderRequest, actor Actor) (*VM, *Task, error) {
	return nil, nil, errUnwritten
}

// Power queues a power action.
func (b *Broker) Power(ctx context.Context, vm int64, action PowerAction, actor Actor) (*Task, error) {
	return nil, errUnwritten
}

// Reinstall queues a reinstall.
func (b *Broker) Reinstall(ctx context.Context, request ReinstallRequest, actor Actor) (*Task, error) {
	return nil, errUnwritten
}

// Delete queues the end of a VM.
func (b *Broker) Delete(ctx context.Context, vm int64, actor Actor) (*Task, error) {
	return nil, errUnwritten
}

// AddNode checks the endpoint live and stores cluster, nodes, storages and bridges.
func (b *Broker) AddNode(ctx context.Context, request AddNodeRequest, actor Actor) (*Node, []ClusterProblem, error) {
	return nil, nil, errUnwritten
}

// AddPoolByMask makes a pool and its addresses.
func (b *Broker) AddPoolByMask(ctx context.Context, request PoolByMask) (*AddressPool, error) {
	return nil, errUnwritten
}

// AddPoolRange adds a range of addresses to a pool and tells how many.
func (b *Broker) AddPoolRange(ctx context.Context, request PoolByRange) (int, error) {
	return 0, errUnwritten
}

// AddImage checks and stores an image.
func (b *Broker) AddImage(ctx context.Context, image *Image) error { return errUnwritten }

// DownloadImage queues the download of an image to a node.
func (b *Broker) DownloadImage(ctx context.Context, image, node int64, actor Actor) (*Task, error) {
	return nil, errUnwritten
}

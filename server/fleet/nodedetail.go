package fleet

import (
	"context"

	"gantry/server/broker"
)

// nodeNetworks is what drivers have that can list a node's interfaces.
type nodeNetworks interface {
	NodeNetworks(ctx context.Context, node string) ([]map[string]any, error)
}

// NodeNetworks lists a node's network interfaces as the hypervisor describes them; Unsupported where the driver can't.
func (f *Fleet) NodeNetworks(ctx context.Context, node *broker.Node) ([]map[string]any, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	driver, err := f.Driver(ctx, node.ClusterID)
	if err != nil {
		return nil, err
	}
	lister, able := driver.(nodeNetworks)
	if !able {
		return nil, broker.Because(broker.Unsupported, broker.ReasonUnsupported, "network interfaces")
	}
	return lister.NodeNetworks(ctx, node.Name)
}

// NodeFile reads a small text file through the node's daemon; Unsupported where it has none.
func (f *Fleet) NodeFile(ctx context.Context, node *broker.Node, folder, file string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	daemon, err := f.Daemon(ctx, node.ID)
	if err != nil {
		return "", err
	}
	content, err := daemon.ReadFile(ctx, folder, file)
	if err != nil {
		return "", DaemonError(err)
	}
	return content, nil
}

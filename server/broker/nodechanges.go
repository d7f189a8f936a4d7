package broker

import (
	"context"
	"maps"
	"net/url"
)

// NodeChange changes a node and the cluster behind it (AMS updateNodeInfo); nil and absent = as it is.
type NodeChange struct {
	ID    int64
	Label *string
	// AreaID of 0 takes the node out of its area.
	AreaID *int64
	// Options are merged into the cluster's. A password replaces an API token, and the other way round.
	Options map[string]string
	// TLSPin is the SHA-256 of the hypervisor's certificate or SSH host key; "" = as it is, and learnt anew where Options lead elsewhere.
	TLSPin string
	// NodeName must be the node's own: it is the hypervisor's.
	NodeName                 string
	Disabled                 *bool
	DefaultStorage           *string
	SSHPort                  *int
	SSHUsername, SSHPassword *string
	// DaemonURL "" with Daemon set forgets the daemon.
	Daemon *Daemon
}

// ChangeNode changes a node. The hypervisor is asked only when the way to it changes, as AddNode asks it; problems that are not
// fatal are returned. With the hypervisor down everything else can be changed.
func (b *Broker) ChangeNode(ctx context.Context, change NodeChange) ([]ClusterProblem, error) {
	node, err := b.store.FindNode(ctx, change.ID)
	if err != nil {
		return nil, named("id", err)
	}
	if change.NodeName != "" && change.NodeName != node.Name {
		return nil, InvalidField("nodeName", "is %s on the hypervisor and can't be changed: add another node with insertNodeMaster", node.Name)
	}
	cluster, err := b.store.FindCluster(ctx, node.ClusterID)
	if err != nil {
		return nil, err
	}
	report, err := b.reinspect(ctx, cluster, node, change.Options, change.TLSPin)
	if err != nil {
		return nil, err
	}
	if change.Daemon != nil && change.Daemon.URL != "" {
		if err := b.checkDaemon(ctx, change.Daemon); err != nil {
			return nil, err
		}
	}
	err = b.store.Transact(ctx, func(tx Tx) error {
		if report != nil {
			if err := tx.UpdateCluster(ctx, cluster); err != nil {
				return named("host", err)
			}
			if err := StoreDiscovery(ctx, tx, cluster.ID, report); err != nil {
				return err
			}
		}
		fresh, err := tx.FindNode(ctx, node.ID)
		if err != nil {
			return err
		}
		if err := change.apply(ctx, tx, fresh); err != nil {
			return err
		}
		return tx.UpdateNode(ctx, fresh)
	})
	if err != nil {
		return nil, err
	}
	b.fleet.Forget(cluster.ID)
	if report == nil {
		return nil, nil
	}
	return report.Problems, nil
}

// reinspect asks the hypervisor whether it takes the changed options, and puts them and what it said into cluster. Nil where
// nothing changes.
func (b *Broker) reinspect(ctx context.Context, cluster *Cluster, node *Node, changes map[string]string, pin string) (*ClusterReport, error) {
	options := mergedOptions(cluster.Options, changes)
	if maps.Equal(options, cluster.Options) && (pin == "" || pin == cluster.TLSPin) {
		return nil, nil
	}
	endpoint, err := b.fleet.Endpoint(cluster.Kind, options)
	if err != nil {
		return nil, err
	}
	if endpoint != cluster.Endpoint {
		cluster.TLSPin = "" // another endpoint shows another certificate: learnt now
	}
	cluster.Options, cluster.Endpoint, cluster.TLSPin = options, endpoint, firstOf(pin, cluster.TLSPin)
	report, err := b.fleet.Inspect(ctx, cluster)
	if err != nil {
		return nil, err
	}
	for _, problem := range report.Problems {
		if problem.Fatal {
			return nil, &Error{Kind: HypervisorAuth, Reason: Reason(problem.Reason), Detail: problem.Text[English]}
		}
	}
	if !reported(report, node.Name) {
		return nil, InvalidField("host", "the cluster there has no node %s; it has %s", node.Name, nodeNames(report))
	}
	now := b.now().UTC()
	cluster.TLSPin, cluster.Version, cluster.SeenAt, cluster.LastError = report.TLSPin, report.Version, &now, ""
	return report, nil
}

// mergedOptions keeps one credential: what is sent replaces the other kind, and a name without a password changes nothing where a
// token is used.
func mergedOptions(known, changes map[string]string) map[string]string {
	merged := maps.Clone(known)
	token := known["tokenId"] != ""
	switch {
	case changes["tokenSecret"] != "":
		for _, name := range []string{"username", "password", "realm"} {
			delete(merged, name)
		}
		token = true
	case changes["password"] != "":
		delete(merged, "tokenId")
		delete(merged, "tokenSecret")
		token = false
	}
	for name, value := range changes {
		if token && (name == "username" || name == "realm" || name == "password") {
			continue
		}
		merged[name] = value
	}
	return merged
}

func (b *Broker) checkDaemon(ctx context.Context, daemon *Daemon) error {
	address, err := url.Parse(daemon.URL)
	if err != nil || address.Scheme != "https" || address.Host == "" || address.User != nil {
		return InvalidField("controllerUrl", "must be an https URL")
	}
	pin, _, err := b.fleet.CheckDaemon(ctx, *daemon)
	if err != nil {
		return named("controllerUrl", err)
	}
	fine := 0
	daemon.TLSPin, daemon.Status = pin, &fine
	return nil
}

func (c *NodeChange) apply(ctx context.Context, tx Tx, node *Node) error {
	if c.Label != nil {
		node.Label = *c.Label
	}
	if c.AreaID != nil {
		if node.AreaID = c.AreaID; *c.AreaID == 0 {
			node.AreaID = nil
		}
		if err := lockAreaOf(ctx, tx, "area", node.AreaID); err != nil {
			return err
		}
	}
	switch {
	case c.Disabled == nil:
	case *c.Disabled:
		node.Status = NodeDisabled
	case node.Status == NodeDisabled:
		node.Status = NodeOnline // the poller corrects it
	}
	if c.DefaultStorage != nil {
		if err := checkDefaultStorage(ctx, tx, node, *c.DefaultStorage); err != nil {
			return err
		}
		node.DefaultStorage = *c.DefaultStorage
	}
	if c.SSHPort != nil {
		node.SSHPort = *c.SSHPort
	}
	if c.SSHUsername != nil {
		node.SSHUsername = *c.SSHUsername
	}
	if c.SSHPassword != nil {
		node.SSHPassword = *c.SSHPassword
	}
	if c.Daemon != nil {
		node.Daemon = *c.Daemon
	}
	return nil
}

func checkDefaultStorage(ctx context.Context, tx Tx, node *Node, name string) error {
	if name == "" {
		return nil
	}
	storages, err := tx.ListStorages(ctx, node.ID)
	if err != nil {
		return err
	}
	for _, storage := range storages {
		if storage.Name == name && storage.Holds("images") {
			return nil
		}
	}
	failure := Because(Invalid, ReasonStorageNotFound, bounded(name), node.Name)
	failure.Field = "autoStorage"
	return failure
}

// DeleteNode forgets a node, and its cluster with the last one. Conflict with ReasonNodeInUse while machines are on it, without a
// reason while address pools belong to it. Nothing changes on the hypervisor.
func (b *Broker) DeleteNode(ctx context.Context, id int64) error {
	cluster := int64(0)
	err := b.store.Transact(ctx, func(tx Tx) error {
		node, err := tx.FindNode(ctx, id)
		if err != nil {
			return named("nodeId", err)
		}
		cluster = node.ClusterID
		if err := tx.DeleteNode(ctx, id); err != nil {
			return named("nodeId", err)
		}
		others, err := tx.ListClusterNodes(ctx, cluster)
		if err != nil {
			return err
		}
		if len(others) == 0 {
			return tx.DeleteCluster(ctx, cluster)
		}
		return tx.SetNodeRemoved(ctx, cluster, node.Name, true)
	})
	if err == nil {
		b.fleet.Forget(cluster)
	}
	return err
}
